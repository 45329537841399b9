//! Rows and columns of a matrix, shared out among the threads of a cube, and sums of what the
//! threads have.

use cubecl::prelude::*;

/// Threads of a cube.
pub(super) const THREADS: usize = 256;

/// Columns that a cube sums down.
pub(super) const COLUMNS: usize = 32;

/// Threads that share a column.
pub(super) const PER_COLUMN: usize = THREADS / COLUMNS;

/// Threads that share a row of `width` values: for about four values each, and a power of two, so
/// that sums halve evenly.
pub(super) fn lanes(width: usize) -> usize {
    width.div_ceil(4).next_power_of_two().clamp(8, THREADS)
}

/// One cube for each of `count`, which finds its number in `CUBE_POS`. Some devices count to 65,535
/// along an axis.
pub(super) fn cubes(count: usize) -> CubeCount {
    let along = count.clamp(1, 32_768);
    CubeCount::Static(along as u32, count.div_ceil(along) as u32, 1)
}

/// The threads of a cube.
pub(super) fn threads() -> CubeDim {
    CubeDim::new_1d(THREADS as u32)
}

/// Into how many slices a sum over `rows` rows is cut: by the shape alone, so that the same shape
/// gives the same bits.
pub(super) fn slices(rows: usize) -> usize {
    const ROWS: usize = 512;
    const MOST: usize = 256;
    rows.div_ceil(ROWS).clamp(1, MOST)
}

/// The sum of `value` over each `lanes` neighbouring threads, for all of them; every thread of the
/// cube takes part.
///
/// `scratch` [THREADS]. The order of additions is a tree's, whatever the device.
#[cube]
pub(super) fn sum_of_lanes(
    value: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] lanes: usize,
) -> f32 {
    let unit = UNIT_POS as usize;
    let lane = unit % lanes;
    sync_cube();
    scratch[unit] = value;
    sync_cube();
    let mut half = comptime!(lanes / 2).runtime();
    while half > 0 {
        if lane < half {
            let sum = scratch[unit] + scratch[unit + half];
            scratch[unit] = sum;
        }
        sync_cube();
        half /= 2;
    }
    scratch[unit - lane]
}

/// As [`sum_of_lanes`] for the largest value among all threads.
#[cube]
pub(super) fn largest_of_cube(value: f32, scratch: &mut Shared<[f32]>) -> f32 {
    let unit = UNIT_POS as usize;
    sync_cube();
    scratch[unit] = value;
    sync_cube();
    let mut half = comptime!(THREADS / 2).runtime();
    while half > 0 {
        if unit < half {
            let one = scratch[unit];
            let other = scratch[unit + half];
            scratch[unit] = select(other > one, other, one);
        }
        sync_cube();
        half /= 2;
    }
    scratch[0]
}

/// The sum of `value` over the threads of a column, right for those with `UNIT_POS < COLUMNS`,
/// which are the columns; every thread of the cube takes part.
#[cube]
pub(super) fn sum_of_column(value: f32, scratch: &mut Shared<[f32]>) -> f32 {
    let unit = UNIT_POS as usize;
    sync_cube();
    scratch[unit] = value;
    sync_cube();
    let mut half = comptime!(PER_COLUMN / 2).runtime();
    while half > 0 {
        if unit < half * COLUMNS {
            let sum = scratch[unit] + scratch[unit + half * COLUMNS];
            scratch[unit] = sum;
        }
        sync_cube();
        half /= 2;
    }
    scratch[unit % COLUMNS]
}
