//! How the threads of a cube share a tile of scores when matrix units work them out: four
//! neighbours a row.

use cubecl::cmma::Matrix;
use cubecl::prelude::*;

use crate::cube::units::{Operand, Units, multiply, no_sums, results_stride};

/// Threads that share a row; each takes every fourth column.
pub(super) const LANES: usize = 4;

/// Enough rows for a plane that each of its threads has a quarter of one.
pub(super) fn sharing(units: Units) -> Units {
    units.sharing((units.plane / LANES).div_ceil(units.side).max(1))
}

/// Threads of a cube for a tile of `tile` rows.
pub(super) fn threads(tile: usize, units: Units) -> usize {
    tile / units.rows() * units.plane
}

/// Rows of a tile that a thread has a share of.
pub(super) fn passes(tile: usize, units: Units) -> usize {
    tile * LANES / threads(tile, units)
}

/// The largest tile whose buffers, `bytes` of it, fit into a cube's shared memory.
pub(super) fn largest_tile(
    shared_memory: usize,
    units: Units,
    bytes: impl Fn(usize) -> usize,
) -> Option<usize> {
    [64, 32, 16]
        .into_iter()
        .filter(|&tile: &usize| tile.is_multiple_of(units.padded(units.rows())))
        .find(|&tile| bytes(tile) <= shared_memory)
}

/// The highest value among a row's threads.
#[cube]
pub(super) fn best_of_lanes(value: f32) -> f32 {
    let other = plane_shuffle_xor(value, 1u32);
    let best = select(other > value, other, value);
    let other = plane_shuffle_xor(best, 2u32);
    select(other > best, other, best)
}

/// The sum over a row's threads.
#[cube]
pub(super) fn sum_of_lanes(value: f32) -> f32 {
    let sum = value + plane_shuffle_xor(value, 1u32);
    sum + plane_shuffle_xor(sum, 2u32)
}

/// `Σ_w left[i, w] · right[j, w]` for the plane's rows i of a tile and all its rows j; both [tile,
/// width] as they are staged.
#[cube]
pub(super) fn rows_by_rows<F: Float, N: Size>(
    left: &Shared<[Vector<F, N>]>,
    right: &Shared<[Vector<F, N>]>,
    #[comptime] width: usize,
    #[comptime] tile: usize,
    #[comptime] units: Units,
) -> Sequence<Matrix<f32>> {
    let size = N::value().comptime();
    let operand = comptime!(Operand {
        stride: units.stride(width),
        vector: size,
    });
    let columns = comptime!(units.results(tile));
    let mut products = no_sums(columns, units);
    multiply::<F, Vector<F, N>, Vector<F, N>>(
        &mut products,
        left.as_slice(),
        operand,
        right.as_slice(),
        operand,
        true,
        comptime!(units.padded(width)),
        columns,
        units,
    );
    products
}

/// `sums[i, c] += Σ_j weights[i, j] · right[j, c]` for the plane's rows i: weights [tile, tile],
/// right [tile, width] as it is staged.
#[cube]
pub(super) fn weights_by_rows<F: Float, N: Size>(
    sums: &mut Sequence<Matrix<f32>>,
    weights: &Shared<[F]>,
    right: &Shared<[Vector<F, N>]>,
    #[comptime] width: usize,
    #[comptime] tile: usize,
    #[comptime] units: Units,
) {
    let size = N::value().comptime();
    multiply::<F, F, Vector<F, N>>(
        sums,
        weights.as_slice(),
        comptime!(Operand {
            stride: units.stride(tile),
            vector: 1
        }),
        right.as_slice(),
        comptime!(Operand {
            stride: units.stride(width),
            vector: size,
        }),
        false,
        tile,
        comptime!(units.results(width)),
        units,
    );
}

/// Bytes of shared memory that forward's kernel takes.
pub(super) fn forward_bytes(tile: usize, width: usize, value_width: usize, units: Units) -> usize {
    2 * units.staged(tile, width)
        + units.staged(tile, value_width)
        + units.staged(tile, tile)
        + 4 * tile * results_stride(tile)
        + 4 * tile
        + 4
}

/// Bytes of shared memory that each of backward's two kernels takes.
pub(super) fn backward_bytes(tile: usize, width: usize, value_width: usize, units: Units) -> usize {
    2 * units.staged(tile, width)
        + 2 * units.staged(tile, value_width)
        + units.staged(tile, tile)
        + 4 * tile * results_stride(tile)
        + 3 * 4 * tile
}
