//! Sums down the columns of a matrix on CubeCL devices: gradients of biases.

use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::rows::{COLUMNS, PER_COLUMN, THREADS, slices, sum_of_column, threads};
use super::tensor::{addresses, element, unwritten, zeros};

/// `partial[s, c] = Σ x[r, c]` over the rows r of slice s; `partial` [S, C]. One cube `COLUMNS`
/// columns, x, of one slice, y.
#[cube(launch, address_type = "dynamic")]
fn column_partials<F: Float>(
    x: &Tensor<F>,
    partial: &mut Tensor<f32>,
    rows_of_slice: u32,
    #[define(F)] _element: ElemType,
) {
    let width = partial.shape(1);
    let rows = x.len() / width;
    let unit = UNIT_POS as usize;
    let column = CUBE_POS_X as usize * COLUMNS + unit % COLUMNS;
    let slice = CUBE_POS_Y as usize;
    let begin = slice * rows_of_slice as usize;
    let mut end = begin + rows_of_slice as usize;
    if end > rows {
        end = rows;
    }
    let mut sum = f32::new(0.0);
    if column < width {
        let mut row = begin + unit / COLUMNS;
        while row < end {
            sum += f32::cast_from(x[row * width + column]);
            row += PER_COLUMN;
        }
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let sum = sum_of_column(sum, &mut scratch);
    if unit < COLUMNS && column < width {
        partial[slice * width + column] = sum;
    }
}

/// `sums[i] = Σ partial[s, first + i]` over the slices, in their order; one thread a value.
#[cube(launch, address_type = "dynamic")]
fn sum_slices<F: Float>(
    partial: &Tensor<f32>,
    sums: &mut Tensor<F>,
    stride: u32,
    first: u32,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= sums.len() {
        terminate!();
    }
    let mut sum = f32::new(0.0);
    for slice in 0..partial.shape(0) {
        sum += partial[slice * stride as usize + first as usize + ABSOLUTE_POS];
    }
    sums[ABSOLUTE_POS] = F::cast_from(sum);
}

/// The sums over the slices of `partial` [S, ..], whose slices hold `stride` values, of as many
/// values from `first` on as `shape` has.
pub(super) fn add_slices(
    partial: &CubeTensor,
    stride: usize,
    first: usize,
    shape: impl Into<Shape>,
    dtype: DType,
) -> CubeTensor {
    let sums = unwritten(partial, shape, dtype);
    let values = sums.meta.num_elements();
    if values > 0 {
        sum_slices::launch(
            &partial.client,
            calculate_cube_count_elemwise(&partial.client, values, threads()),
            threads(),
            addresses(&[partial, &sums]),
            partial.clone().into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            stride as u32,
            first as u32,
            element(&sums),
        );
    }
    sums
}

/// The sums of `x` [.., C] over all axes but the last: `[C]`, in x's type.
pub(crate) fn column_sums(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    let width = x.meta.shape().last().copied().unwrap_or(1);
    let rows = x.meta.num_elements() / width.max(1);
    let slices = slices(rows);
    if rows == 0 {
        return zeros(&x, [width], x.dtype);
    }
    let partial = unwritten(&x, [slices, width], DType::F32);
    if width > 0 {
        column_partials::launch(
            &x.client,
            CubeCount::Static(width.div_ceil(COLUMNS) as u32, slices as u32, 1),
            threads(),
            addresses(&[&x, &partial]),
            x.clone().into_tensor_arg(),
            partial.clone().into_tensor_arg(),
            rows.div_ceil(slices) as u32,
            element(&x),
        );
    }
    add_slices(&partial, width, 0, [width], x.dtype)
}
