//! Rows of a tensor on their way into shared memory and out of registers, several values at a time.

use burn_cubecl::tensor::CubeTensor;
use cubecl::cmma::Matrix;
use cubecl::prelude::*;

use super::tile::rows_of;
use super::units::{Units, results_stride, store_results};

/// Bytes that a thread reads at once, at most: what rows in shared memory are aligned to.
const VECTOR_BYTES: usize = 16;

/// How many neighbouring features of every one of these tensors a thread may read or write at once.
pub(super) fn vector_size(tensors: &[&CubeTensor]) -> usize {
    let fits = |x: &CubeTensor, size: usize| {
        let (&last, others) = x.meta.strides().split_last().expect("a tensor with axes");
        let width = x.meta.shape()[x.meta.num_dims() - 1];
        let begin = x.handle.offset_start.unwrap_or(0) as usize;
        last == 1
            && width.is_multiple_of(size)
            && others.iter().all(|stride| stride.is_multiple_of(size))
            && begin.is_multiple_of(size * x.dtype.size())
    };
    let Some(first) = tensors.first() else {
        return 1;
    };
    first
        .client
        .io_optimized_vector_sizes(first.dtype.size())
        .filter(|&size| size * first.dtype.size() <= VECTOR_BYTES)
        .filter(|&size| tensors.iter().all(|x| fits(x, size)))
        .max()
        .unwrap_or(1)
}

/// Shared memory for `count` rows of `width` values, [`Units::stride`] apart.
#[cube]
pub(super) fn staged_rows<F: Float, N: Size>(
    #[comptime] count: usize,
    #[comptime] width: usize,
    #[comptime] units: Units,
) -> Shared<[Vector<F, N>]> {
    let size = N::value().comptime();
    Shared::<[Vector<F, N>]>::new_aligned_slice(
        comptime!(count * units.stride(width) / size),
        32usize,
    )
}

/// Sets `count` rows of `width` values of head `head` of sequence `batch` of `x` into `into`, from
/// row `first` on, [`Units::stride`] apart; zeros stand for rows that are not there and beyond the
/// width. All threads of the cube take part.
#[cube]
pub(super) fn stage_rows<F: Float, N: Size>(
    into: &mut Shared<[Vector<F, N>]>,
    x: &Tensor<Vector<F, N>>,
    batch: usize,
    head: usize,
    first: usize,
    #[comptime] count: usize,
    #[comptime] width: usize,
    #[comptime] threads: usize,
    #[comptime] units: Units,
) {
    let size = N::value().comptime();
    let across = comptime!(units.padded(width) / size);
    let stride = comptime!(units.stride(width) / size);
    let rows = rows_of::<Vector<F, N>>(x, batch, head, first);
    let mut place = UNIT_POS as usize;
    while place < comptime!(count * across) {
        let row = place / across;
        let column = place % across;
        let token = rows.first + row;
        let mut value = Vector::<F, N>::zeroed();
        if token < rows.end && column < comptime!(width.div_ceil(size)) {
            value = x[(rows.base + token * rows.row_stride) / size + column * rows.feature_stride];
        }
        into[row * stride + column] = value;
        place += threads;
    }
}

/// Writes a cube's sums of products [tile, width], each row times its factor, to those rows of head
/// `head` of sequence `batch` of `y` that there are, from `first` on. All threads of the cube take
/// part, and nobody may be reading `scratch` any more.
#[cube]
pub(super) fn write_sums<F: Float, N: Size>(
    y: &mut Tensor<Vector<F, N>>,
    batch: usize,
    head: usize,
    first: usize,
    sums: &Sequence<Matrix<f32>>,
    factors: &Shared<[f32]>,
    scratch: &mut Shared<[f32]>,
    #[comptime] width: usize,
    #[comptime] tile: usize,
    #[comptime] threads: usize,
    #[comptime] units: Units,
) {
    let size = N::value().comptime();
    let results = comptime!(units.results(width));
    let at_once = comptime!(units.results(tile));
    let stride = comptime!(results_stride(tile));
    let across = comptime!(tile / size);
    let base = batch * y.stride(0) + head * y.stride(1);
    #[unroll]
    for group in 0..comptime!(results.div_ceil(at_once)) {
        sync_cube();
        store_results(
            scratch,
            sums,
            comptime!(group * at_once),
            comptime!(at_once.min(results - group * at_once)),
            results,
            stride,
            false,
            units,
        );
        sync_cube();
        let mut place = UNIT_POS as usize;
        while place < comptime!(tile * across) {
            let row = place / across;
            let column = place % across;
            let vector = comptime!(group * across) + column;
            if first + row < y.shape(2) && vector < comptime!(width / size) {
                let mut value = Vector::<F, N>::empty();
                #[unroll]
                for i in 0..size {
                    let result = scratch[row * stride + column * size + i] * factors[row];
                    value.insert(i, F::cast_from(result));
                }
                let at = (base + (first + row) * y.stride(2)) / size + vector * y.stride(3);
                y[at] = value;
            }
            place += threads;
        }
    }
}
