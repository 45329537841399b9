//! Which thread of a plane holds which value in `mma.m16n8k16`, and which address it gives to
//! `ldmatrix`.
//!
//! A product has 16 rows and 8 columns and sums over 16 terms. Operands are read from rows in shared
//! memory, 16 bytes (a chunk) to an address. This file uses nothing else of the crate:
//! `tests/tensor_core_lanes.rs` includes it and computes attention and products with it on a model of
//! both instructions, without a GPU.

#[cfg(feature = "cube")]
use cubecl::prelude::*;

/// Rows of a product, and the terms of its sums.
pub const SIDE: usize = 16;

/// Columns of a product.
pub const COLUMNS: usize = 8;

/// Values of two bytes in a chunk.
pub const CHUNK: usize = 8;

/// Threads of a plane.
pub const PLANE: usize = 32;

/// Chunks from one row of `width` values in shared memory to the next: one more than it has, which
/// is an odd number for every multiple of 16. So eight rows below one another, which `ldmatrix`
/// reads at once, lie in different banks.
pub const fn row_chunks(width: usize) -> usize {
    width / CHUNK + 1
}

/// Of a left operand, the row whose chunk thread `lane` gives the address of.
#[cfg_attr(feature = "cube", cube)]
pub fn left_row(lane: usize) -> usize {
    lane % 16
}

/// Of a left operand, the chunk in that row: terms 0 to 7 or 8 to 15.
#[cfg_attr(feature = "cube", cube)]
pub fn left_chunk(lane: usize) -> usize {
    lane / 16
}

/// Of a left operand whose terms are rows in memory, the term whose chunk thread `lane` gives the
/// address of; `ldmatrix` turns it.
#[cfg_attr(feature = "cube", cube)]
pub fn turned_left_row(lane: usize) -> usize {
    lane / 16 * 8 + lane % 8
}

/// The chunk in that row: rows 0 to 7 or 8 to 15 of the operand.
#[cfg_attr(feature = "cube", cube)]
pub fn turned_left_chunk(lane: usize) -> usize {
    lane / 8 % 2
}

/// Of two right operands beside one another whose columns are rows in memory, the column whose chunk
/// thread `lane` gives the address of.
#[cfg_attr(feature = "cube", cube)]
pub fn right_row(lane: usize) -> usize {
    lane / 16 * 8 + lane % 8
}

/// The chunk in that row: terms 0 to 7 or 8 to 15.
#[cfg_attr(feature = "cube", cube)]
pub fn right_chunk(lane: usize) -> usize {
    lane / 8 % 2
}

/// Of two right operands beside one another whose terms are rows in memory, the term whose chunk
/// thread `lane` gives the address of; `ldmatrix` turns them.
#[cfg_attr(feature = "cube", cube)]
pub fn turned_row(lane: usize) -> usize {
    lane % 16
}

/// The chunk in that row: columns 0 to 7 or 8 to 15.
#[cfg_attr(feature = "cube", cube)]
pub fn turned_chunk(lane: usize) -> usize {
    lane / 16
}

/// The row of a thread's results, which are two halves of two neighbouring columns each.
#[cfg_attr(feature = "cube", cube)]
pub fn sum_row(lane: usize, half: usize) -> usize {
    lane / 4 + half * 8
}

/// The first of the two columns of a thread's results.
#[cfg_attr(feature = "cube", cube)]
pub fn sum_column(lane: usize) -> usize {
    lane % 4 * 2
}

/// Results as a left operand: of the two products beside one another that make 16 terms, the one
/// that has register `register` of the operand.
pub const fn product_of_register(register: usize) -> usize {
    register / 2
}

/// The half of that product.
pub const fn half_of_register(register: usize) -> usize {
    register % 2
}

/// The register of half `half` of product `product`, the inverse of both.
pub const fn register_of(product: usize, half: usize) -> usize {
    product % 2 * 2 + half
}
