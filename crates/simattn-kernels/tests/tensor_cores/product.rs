//! A block of a product of matrices as a plane of `cube/product/kernel.rs` works it out.

use super::instructions::{Chunk, Operand, Sum, ldmatrix, mma};
use super::lanes::{
    CHUNK, COLUMNS, SIDE, left_chunk, left_row, right_chunk, right_row, row_chunks, turned_chunk,
    turned_left_chunk, turned_left_row, turned_row,
};
use super::plane::{Rows, each, no_sums};

/// Rows of a cube, and its columns: as many or twice as many.
const ROWS: usize = 128;
const DEPTH: usize = 32;
const OF_PLANE: usize = 64;
const PARTS: usize = OF_PLANE / SIDE;
const PRODUCTS: usize = OF_PLANE / COLUMNS;

/// A block of one operand in shared memory: `lines` rows or columns of the results, whose terms are
/// rows there if it is `turned`.
struct Block {
    memory: Vec<Chunk>,
    lines: usize,
    turned: bool,
}

impl Block {
    fn new(lines: &Rows, turned: bool) -> Self {
        let count = lines.len();
        let memory = match turned {
            false => lines.staged(0, count),
            true => {
                let value = |term: usize, line: usize| lines.row(line)[term];
                let values =
                    (0..DEPTH).flat_map(|term| (0..count).map(move |line| value(term, line)));
                let terms = Rows {
                    values: values.collect(),
                    width: count,
                };
                terms.staged(0, DEPTH)
            }
        };
        Self {
            memory,
            lines: count,
            turned,
        }
    }

    /// Where 16 lines begin, of 16 terms.
    fn place(&self, lines: usize, terms: usize) -> usize {
        match self.turned {
            true => terms * SIDE * row_chunks(self.lines) + lines * SIDE / CHUNK,
            false => lines * SIDE * row_chunks(DEPTH) + terms * SIDE / CHUNK,
        }
    }

    fn left(&self, first: usize, part: usize, group: usize) -> Operand {
        let of_lane = |lane: usize| match self.turned {
            true => {
                turned_left_row(lane) * row_chunks(self.lines)
                    + first / CHUNK
                    + turned_left_chunk(lane)
            }
            false => (first + left_row(lane)) * row_chunks(DEPTH) + left_chunk(lane),
        };
        let at = self.place(part, group);
        ldmatrix(&self.memory, |lane| at + of_lane(lane), self.turned)
    }

    fn right(&self, first: usize, both: usize, group: usize) -> Operand {
        let of_lane = |lane: usize| match self.turned {
            true => turned_row(lane) * row_chunks(self.lines) + first / CHUNK + turned_chunk(lane),
            false => (first + right_row(lane)) * row_chunks(DEPTH) + right_chunk(lane),
        };
        let at = self.place(both, group);
        ldmatrix(&self.memory, |lane| at + of_lane(lane), self.turned)
    }
}

/// The sums of the plane whose first row and column are given.
fn multiply_block(left: &Block, right: &Block, [row, column]: [usize; 2]) -> Vec<Sum> {
    let mut sums = no_sums(PARTS * PRODUCTS);
    for group in 0..DEPTH / SIDE {
        let of_part = |part| left.left(row, part, group);
        let operands: Vec<Operand> = (0..PARTS).map(of_part).collect();
        for both in 0..PRODUCTS / 2 {
            let right = right.right(column, both, group);
            for (part, left) in operands.iter().enumerate() {
                for half in 0..2 {
                    let sum = &mut sums[part * PRODUCTS + 2 * both + half];
                    mma(sum, left, &right, half);
                }
            }
        }
    }
    sums
}

#[test]
fn products_of_operands_that_stand_either_way() {
    let lines = |count: usize, seed: usize| Rows {
        values: (0..count * DEPTH)
            .map(|at| ((at * 7 + seed * at * at) % 19) as f32 - 9.0)
            .collect(),
        width: DEPTH,
    };
    for columns in [ROWS, 2 * ROWS] {
        let (left, right) = (lines(ROWS, 3), lines(columns, 5));
        for turned in [[false, false], [true, false], [false, true], [true, true]] {
            let blocks = [Block::new(&left, turned[0]), Block::new(&right, turned[1])];
            for first in [
                [0, 0],
                [OF_PLANE, 0],
                [0, OF_PLANE],
                [OF_PLANE, columns - OF_PLANE],
            ] {
                let mut sums = multiply_block(&blocks[0], &blocks[1], first);
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
}
