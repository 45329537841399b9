//! How the threads of a cube share a tile of scores when matrix units work them out: four neighbours a row.

use cubecl::prelude::*;

use crate::cube::units::{Units, results_stride};

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
