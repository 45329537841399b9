//! Products of tiles: rows by rows and weights by rows.

use cubecl::prelude::*;

/// Threads along each side of a cube.
pub(super) const SIDE: usize = 16;

/// Features, or tokens, that stand in shared memory at a time.
pub(super) const DEPTH: usize = 16;

/// Words between two rows of a strip: one more than it holds, so that a column's words lie in
/// different banks.
pub(super) const STRIP: usize = DEPTH + 1;

/// Rows and columns of a tile: the larger one where its three buffers fit into the cube's shared
/// memory.
pub(super) fn tile_for(shared_memory: usize) -> usize {
    [64, 32]
        .into_iter()
        .find(|&tile| 4 * (tile * (tile + 1) + 2 * tile * STRIP) <= shared_memory)
        .unwrap_or(16)
}

/// The place as far from the end as `place` is from the beginning of `count` places.
#[cube]
pub(super) fn mirrored(count: usize, place: usize) -> usize {
    count - 1 - place
}

/// Rows `first .. end` of one head of a tensor [B, H, T, D].
#[derive(CubeType, Clone, Copy)]
pub(super) struct Rows {
    /// Where the head's first value is.
    pub base: usize,
    /// Words between two rows.
    pub row_stride: usize,
    /// Words between two features of a row.
    pub feature_stride: usize,
    /// The tile's first row.
    pub first: usize,
    /// One past the head's last row: what lies beyond reads as zero.
    pub end: usize,
}

/// The rows of head `head` of sequence `batch`, from `first` on.
#[cube]
pub(super) fn rows_of<E: CubePrimitive>(
    x: &Tensor<E>,
    batch: usize,
    head: usize,
    first: usize,
) -> Rows {
    Rows {
        base: batch * x.stride(0) + head * x.stride(1),
        row_stride: x.stride(2),
        feature_stride: x.stride(3),
        first,
        end: x.shape(2),
    }
}

/// Sets `DEPTH` features of a tile's rows, from `feature` on, into `strip` [tile, STRIP].
#[cube]
fn load_features<F: Float>(
    strip: &mut Shared<[f32]>,
    x: &Tensor<F>,
    rows: &Rows,
    feature: usize,
    #[comptime] width: usize,
    #[comptime] tile: usize,
) {
    #[unroll]
    for turn in 0..comptime!(tile * DEPTH / (SIDE * SIDE)) {
        let place = UNIT_POS as usize + turn * comptime!(SIDE * SIDE);
        let row = place / DEPTH;
        let column = place % DEPTH;
        let token = rows.first + row;
        let wanted = feature + column;
        let mut value = f32::new(0.0);
        if token < rows.end && wanted < width {
            value = f32::cast_from(
                x[rows.base + token * rows.row_stride + wanted * rows.feature_stride],
            );
        }
        strip[row * STRIP + column] = value;
    }
}

/// `sums[i, j] += Σ_w left[i, w] · right[j, w]` over `width` features, for this thread's rows and
/// columns.
///
/// Both strips are free again once the cube has met after this.
#[cube]
pub(super) fn rows_by_rows<F: Float>(
    sums: &mut Array<f32>,
    left: &Tensor<F>,
    left_rows: &Rows,
    right: &Tensor<F>,
    right_rows: &Rows,
    left_strip: &mut Shared<[f32]>,
    right_strip: &mut Shared<[f32]>,
    #[comptime] width: usize,
    #[comptime] tile: usize,
) {
    let per_thread = comptime!(tile / SIDE);
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let mut values = Array::<f32>::new(per_thread);
    // The number of strips is `width`'s, but read from the tensor: where both products of a
    // backward kernel have a single strip, a loop that is known to run once lets SwiftShader's
    // compiler never end.
    for strip in 0..left.shape(3).div_ceil(DEPTH) {
        sync_cube();
        load_features::<F>(left_strip, left, left_rows, strip * DEPTH, width, tile);
        load_features::<F>(right_strip, right, right_rows, strip * DEPTH, width, tile);
        sync_cube();
        for w in 0..DEPTH {
            #[unroll]
            for i in 0..per_thread {
                values[i] = left_strip[(y + i * SIDE) * STRIP + w];
            }
            #[unroll]
            for j in 0..per_thread {
                let value = right_strip[(x + j * SIDE) * STRIP + w];
                #[unroll]
                for i in 0..per_thread {
                    sums[i * per_thread + j] += values[i] * value;
                }
            }
        }
    }
}

/// `sums[i, c] += Σ_j weights[i, j] · right[j, c]` for this thread's rows and features, `weights`
/// [tile, tile + 1] in shared memory, over `tile` rows of `right`. `sums` has ⌈width / 16⌉ features
/// a row.
#[cube]
pub(super) fn weights_by_rows<F: Float>(
    sums: &mut Array<f32>,
    weights: &Shared<[f32]>,
    right: &Tensor<F>,
    rows: &Rows,
    strip: &mut Shared<[f32]>,
    #[comptime] width: usize,
    #[comptime] tile: usize,
) {
    let per_thread = comptime!(tile / SIDE);
    let columns = comptime!(width.div_ceil(SIDE));
    let x = UNIT_POS_X as usize;
    let y = UNIT_POS_Y as usize;
    let mut values = Array::<f32>::new(per_thread);
    #[unroll]
    for group in 0..comptime!(columns.div_ceil(per_thread)) {
        let here = comptime!(per_thread.min(columns - group * per_thread));
        for step in 0..comptime!(tile / DEPTH) {
            sync_cube();
            #[unroll]
            for turn in 0..comptime!(tile * DEPTH / (SIDE * SIDE)) {
                let place = UNIT_POS as usize + turn * comptime!(SIDE * SIDE);
                let row = place / tile;
                let column = place % tile;
                let token = rows.first + step * DEPTH + row;
                let wanted = comptime!(group * tile) + column;
                let mut value = f32::new(0.0);
                if token < rows.end && wanted < width {
                    value = f32::cast_from(
                        right[rows.base + token * rows.row_stride + wanted * rows.feature_stride],
                    );
                }
                strip[row * tile + column] = value;
            }
            sync_cube();
            for depth in 0..DEPTH {
                #[unroll]
                for i in 0..per_thread {
                    values[i] =
                        weights[(y + i * SIDE) * comptime!(tile + 1) + step * DEPTH + depth];
                }
                #[unroll]
                for j in 0..here {
                    let value = strip[depth * tile + x + j * SIDE];
                    #[unroll]
                    for i in 0..per_thread {
                        sums[i * columns + comptime!(group * per_thread) + j] += values[i] * value;
                    }
                }
            }
        }
    }
}

/// `len` zeros.
#[cube]
pub(super) fn zeros(#[comptime] len: usize) -> Array<f32> {
    let mut sums = Array::<f32>::new(len);
    #[unroll]
    for i in 0..len {
        sums[i] = f32::new(0.0);
    }
    sums
}

/// Sets this thread's `factor · sums` into the rows of head `head` of sequence `batch` of `y`, from
/// `first` on, those that it has.
#[cube]
pub(super) fn write_rows<F: Float>(
    y: &mut Tensor<F>,
    batch: usize,
    head: usize,
    first: usize,
    sums: &Array<f32>,
    factors: &Array<f32>,
    #[comptime] width: usize,
    #[comptime] tile: usize,
) {
    let columns = comptime!(width.div_ceil(SIDE));
    let base = batch * y.stride(0) + head * y.stride(1);
    #[unroll]
    for i in 0..comptime!(tile / SIDE) {
        let token = first + UNIT_POS_Y as usize + i * SIDE;
        if token < y.shape(2) {
            #[unroll]
            for c in 0..columns {
                let feature = UNIT_POS_X as usize + c * SIDE;
                if feature < width {
                    let at = base + token * y.stride(2) + feature * y.stride(3);
                    y[at] = F::cast_from(sums[i * columns + c] * factors[i]);
                }
            }
        }
    }
}
