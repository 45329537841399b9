//! Products of tiles whose results stay in the registers of a plane.

use cubecl::cmma::{MatrixIdent, MmaDefinition};
use cubecl::prelude::*;

use super::Chunk;
use super::lanes::{
    COLUMNS, PLANE, SIDE, half_of_register, left_chunk, left_row, product_of_register, right_chunk,
    right_row, row_chunks, turned_chunk, turned_row,
};

/// Two neighbouring values of a thread.
pub(in crate::cube) type Pair<F> = Vector<F, Const<2>>;

/// A thread's registers of a left operand, or of two right operands beside one another.
pub(in crate::cube) type Operand<F> = Array<Pair<F>>;

/// Products, each a pair of neighbouring columns for both of a thread's rows; those of a part, 16
/// rows, are beside one another.
pub(in crate::cube) type Sums = Sequence<Array<Pair<f32>>>;

/// `mma.m16n8k16` with float32 sums.
#[cube]
pub(in crate::cube) fn tensor_cores<F: Float>() -> MmaDefinition<F, F, f32> {
    MmaDefinition::<F, F, f32>::new(SIDE, COLUMNS, SIDE)
}

/// This thread's number in its plane.
#[cube]
pub(in crate::cube) fn lane() -> usize {
    UNIT_POS as usize % PLANE
}

/// `count` products, all zero.
#[cube]
pub(in crate::cube) fn no_sums(#[comptime] count: usize) -> Sums {
    let mut sums = Sequence::new();
    #[unroll]
    for _ in 0..count {
        let mut zeros = Array::<Pair<f32>>::new(2usize);
        zeros[0] = Vector::zeroed();
        zeros[1] = Vector::zeroed();
        sums.push(zeros);
    }
    sums
}

/// Rows from `first` on as left operands, 16 terms each: those of a part are beside one another.
#[cube]
pub(in crate::cube) fn load_left<F: Float>(
    rows: &Shared<[Chunk<F>]>,
    first: usize,
    #[comptime] parts: usize,
    #[comptime] width: usize,
) -> Sequence<Operand<F>> {
    let mma = tensor_cores::<F>();
    let begin = (first + left_row(lane())) * comptime!(row_chunks(width)) + left_chunk(lane());
    let mut operands = Sequence::new();
    #[unroll]
    for part in 0..parts {
        #[unroll]
        for term in 0..comptime!(width / SIDE) {
            let place = begin + comptime!(part * SIDE * row_chunks(width) + 2 * term);
            operands.push(mma.load_matrix::<Chunk<F>, Const<2>>(
                &rows[place..place + 1],
                MatrixIdent::A,
                4usize,
                false,
            ));
        }
    }
    operands
}

/// `sums[i, j] += Σ_w left[i, w] · rows[first + j, w]` for `count` rows of shared memory.
#[cube]
pub(in crate::cube) fn multiply_rows<F: Float>(
    sums: &mut Sums,
    left: &Sequence<Operand<F>>,
    rows: &Shared<[Chunk<F>]>,
    first: usize,
    #[comptime] count: usize,
    #[comptime] parts: usize,
    #[comptime] width: usize,
) {
    let mma = tensor_cores::<F>();
    let terms = comptime!(width / SIDE);
    let begin = (first + right_row(lane())) * comptime!(row_chunks(width)) + right_chunk(lane());
    #[unroll]
    for term in 0..terms {
        #[unroll]
        for both in 0..comptime!(count / SIDE) {
            let place = begin + comptime!(both * SIDE * row_chunks(width) + 2 * term);
            let right = mma.load_matrix::<Chunk<F>, Const<2>>(
                &rows[place..place + 1],
                MatrixIdent::B,
                4usize,
                false,
            );
            #[unroll]
            for part in 0..parts {
                multiply_both::<F>(
                    left.index(comptime!(part * terms + term)),
                    &right,
                    sums,
                    comptime!(part * count / COLUMNS + 2 * both),
                );
            }
        }
    }
}

/// `sums[i, c] += Σ_j left[i, j] · rows[first + j, c]` for 16 rows of shared memory; an operand for
/// each part.
#[cube]
pub(in crate::cube) fn multiply_turned<F: Float>(
    sums: &mut Sums,
    left: &Sequence<Operand<F>>,
    rows: &Shared<[Chunk<F>]>,
    first: usize,
    #[comptime] parts: usize,
    #[comptime] width: usize,
) {
    let mma = tensor_cores::<F>();
    let begin = (first + turned_row(lane())) * comptime!(row_chunks(width)) + turned_chunk(lane());
    #[unroll]
    for both in 0..comptime!(width / SIDE) {
        let place = begin + comptime!(2 * both);
        let right = mma.load_matrix::<Chunk<F>, Const<2>>(
            &rows[place..place + 1],
            MatrixIdent::B,
            4usize,
            true,
        );
        #[unroll]
        for part in 0..parts {
            multiply_both::<F>(
                left.index(part),
                &right,
                sums,
                comptime!(part * width / COLUMNS + 2 * both),
            );
        }
    }
}

/// Adds the products of `left` with two right operands, which one `ldmatrix` brought, to two
/// neighbouring sums.
#[cube]
pub(in crate::cube) fn multiply_both<F: Float>(
    left: &Operand<F>,
    right: &Operand<F>,
    sums: &mut Sums,
    #[comptime] first: usize,
) {
    multiply_some::<F>(left, right, sums, first, 2usize);
}

/// The same with the first `count` of the two right operands.
#[cube]
pub(in crate::cube) fn multiply_some<F: Float>(
    left: &Operand<F>,
    right: &Operand<F>,
    sums: &mut Sums,
    #[comptime] first: usize,
    #[comptime] count: usize,
) {
    let mma = tensor_cores::<F>();
    #[unroll]
    for nth in 0..count {
        let mut one = Operand::<F>::new(2usize);
        one[0] = right[comptime!(2 * nth)];
        one[1] = right[comptime!(2 * nth + 1)];
        mma.execute_inplace(left, &one, sums.index_mut(comptime!(first + nth)));
    }
}

/// Two products beside one another, from number `first` on, as a left operand of 16 terms. They are
/// where such an operand's values are, so none is moved to another thread.
#[cube]
pub(in crate::cube) fn as_left<F: Float>(sums: &Sums, #[comptime] first: usize) -> Operand<F> {
    let mut operand = Operand::<F>::new(4usize);
    #[unroll]
    for register in 0..4usize {
        let product = sums.index(comptime!(first + product_of_register(register)));
        operand[register] = Vector::cast_from(product[comptime!(half_of_register(register))]);
    }
    operand
}
