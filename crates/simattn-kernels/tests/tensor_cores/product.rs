//! A block of a product of matrices as a plane of `cube/product/kernel.rs` works it out.

use super::instructions::{Chunk, Operand, Sum, ldmatrix, mma};
use super::lanes::{
    CHUNK, COLUMNS, SIDE, left_chunk, left_row, right_chunk, right_row, row_chunks, turned_chunk,
    turned_left_chunk, turned_left_row, turned_row,
};
use super::plane::{Rows, each, no_sums};

const TILE: usize = 128;
const DEPTH: usize = 32;
const OF_PLANE: usize = 64;
const PARTS: usize = OF_PLANE / SIDE;
const PRODUCTS: usize = OF_PLANE / COLUMNS;

/// Chunks from 16 rows or columns of an operand to the next 16, and from 16 terms to the next.
fn steps(turned: bool) -> [usize; 2] {
    match turned {
        true => [SIDE / CHUNK, SIDE * row_chunks(TILE)],
        false => [SIDE * row_chunks(DEPTH), SIDE / CHUNK],
    }
}

fn left_place(lane: usize, first: usize, turned: bool) -> usize {
    match turned {
        true => turned_left_row(lane) * row_chunks(TILE) + first / CHUNK + turned_left_chunk(lane),
        false => (first + left_row(lane)) * row_chunks(DEPTH) + left_chunk(lane),
    }
}

fn right_place(lane: usize, first: usize, turned: bool) -> usize {
    match turned {
        true => turned_row(lane) * row_chunks(TILE) + first / CHUNK + turned_chunk(lane),
        false => (first + right_row(lane)) * row_chunks(DEPTH) + right_chunk(lane),
    }
}

/// The sums of the plane whose first row and column are given.
fn multiply_block(
    left: &[Chunk],
    right: &[Chunk],
    [row, column]: [usize; 2],
    [left_turned, right_turned]: [bool; 2],
) -> Vec<Sum> {
    let mut sums = no_sums(PARTS * PRODUCTS);
    let ([left_part, left_group], [right_part, right_group]) =
        (steps(left_turned), steps(right_turned));
    for group in 0..DEPTH / SIDE {
        let operand = |part: usize| -> Operand {
            let at = part * left_part + group * left_group;
            ldmatrix(
                left,
                |lane| at + left_place(lane, row, left_turned),
                left_turned,
            )
        };
        let operands: Vec<Operand> = (0..PARTS).map(operand).collect();
        for both in 0..PRODUCTS / 2 {
            let at = both * right_part + group * right_group;
            let address = |lane| at + right_place(lane, column, right_turned);
            let right = ldmatrix(right, address, right_turned);
            for (part, left) in operands.iter().enumerate() {
                for half in 0..2 {
                    mma(
                        &mut sums[part * PRODUCTS + 2 * both + half],
                        left,
                        &right,
                        half,
                    );
                }
            }
        }
    }
    sums
}

/// A matrix [lines, terms] in shared memory, as it stands or with its terms as rows.
fn staged(lines: &Rows, turned: bool) -> Vec<Chunk> {
    if !turned {
        return lines.staged(0, TILE);
    }
    let value = |term: usize, line: usize| lines.row(line)[term];
    let values = (0..DEPTH).flat_map(|term| (0..TILE).map(move |line| value(term, line)));
    let terms = Rows {
        values: values.collect(),
        width: TILE,
    };
    terms.staged(0, DEPTH)
}

#[test]
fn products_of_operands_that_stand_either_way() {
    let lines = |seed: usize| Rows {
        values: (0..TILE * DEPTH)
            .map(|at| ((at * 7 + seed * at * at) % 19) as f32 - 9.0)
            .collect(),
        width: DEPTH,
    };
    let (left, right) = (lines(3), lines(5));
    for turned in [[false, false], [true, false], [false, true], [true, true]] {
        let memory = [staged(&left, turned[0]), staged(&right, turned[1])];
        for first in [[0, 0], [OF_PLANE, 0], [0, OF_PLANE], [OF_PLANE, OF_PLANE]] {
            let mut sums = multiply_block(&memory[0], &memory[1], first, turned);
            let mut seen = 0;
            each(&mut sums, PRODUCTS, |row, column, found| {
                let (a, b) = (left.row(first[0] + row), right.row(first[1] + column));
                let expected: f32 = a.iter().zip(b).map(|(a, b)| a * b).sum();
                assert_eq!(*found, expected, "{turned:?}, {first:?}, {row}, {column}");
                seen += 1;
            });
            assert_eq!(seen, OF_PLANE * OF_PLANE);
        }
    }
}
