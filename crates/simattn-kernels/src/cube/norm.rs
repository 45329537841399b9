//! LayerNorm (arXiv 1607.06450) and RMSNorm (arXiv 1910.07467) over the last axis on CubeCL
//! devices.
//!
//! A row [C] belongs to some neighbouring threads of a cube. Forward reads it three times (two for
//! RMSNorm), all but the first from cache, and writes it once; backward reads x and dy and writes
//! dx likewise, with the row's mean and scale beside it for the weights' gradients, which one more
//! pass over x and dy sums in slices of rows, and a small launch adds the slices up in order.

use burn::tensor::DType;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::columns::add_slices;
use super::rows::{
    COLUMNS, PER_COLUMN, THREADS, cubes, lanes, slices, sum_of_column, sum_of_lanes, threads,
};
use super::tensor::{addresses, element, unwritten, zeros};

/// What the kernels of a norm are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct NormPlan {
    /// Whether the mean is taken off and a bias added: LayerNorm.
    centred: bool,
    /// Threads that share a row.
    lanes: usize,
}

/// What a row is normalised by: (x − mean) · scale.
#[derive(CubeType, Clone, Copy)]
struct Moments {
    mean: f32,
    scale: f32,
}

/// The moments of row `row`, for each of its threads. Beyond the last row the result means nothing.
#[cube]
fn moments<X: Float>(
    x: &Tensor<X>,
    row: usize,
    rows: usize,
    width: usize,
    epsilon: f32,
    scratch: &mut Shared<[f32]>,
    #[comptime] plan: NormPlan,
) -> Moments {
    let lane = UNIT_POS as usize % comptime!(plan.lanes);
    let mut mean = f32::new(0.0);
    if comptime!(plan.centred) {
        let mut sum = f32::new(0.0);
        if row < rows {
            let mut c = lane;
            while c < width {
                sum += f32::cast_from(x[row * width + c]);
                c += comptime!(plan.lanes);
            }
        }
        mean = sum_of_lanes(sum, scratch, comptime!(plan.lanes)) / f32::cast_from(width);
    }
    let mut squares = f32::new(0.0);
    if row < rows {
        let mut c = lane;
        while c < width {
            let centred = f32::cast_from(x[row * width + c]) - mean;
            squares += centred * centred;
            c += comptime!(plan.lanes);
        }
    }
    let square = sum_of_lanes(squares, scratch, comptime!(plan.lanes)) / f32::cast_from(width);
    Moments {
        mean,
        scale: f32::new(1.0) / (square + epsilon).sqrt(),
    }
}

/// `y[r, c] = (x[r, c] − mean) · scale · weight[c] + bias[c]`; without mean and bias for RMSNorm.
#[cube(launch, address_type = "dynamic")]
fn normalise_rows<X: Float, W: Float>(
    x: &Tensor<X>,
    weight: &Tensor<W>,
    bias: &Tensor<W>,
    y: &mut Tensor<X>,
    epsilon: f32,
    #[comptime] plan: NormPlan,
    #[define(X, W)] _elements: [ElemType; 2],
) {
    let width = weight.len();
    let rows = y.len() / width;
    let unit = UNIT_POS as usize;
    let row = CUBE_POS * comptime!(THREADS / plan.lanes) + unit / comptime!(plan.lanes);
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let of_row = moments::<X>(x, row, rows, width, epsilon, &mut scratch, plan);
    if row < rows {
        let mut c = unit % comptime!(plan.lanes);
        while c < width {
            let centred = f32::cast_from(x[row * width + c]) - of_row.mean;
            let mut value = centred * of_row.scale * f32::cast_from(weight[c]);
            if comptime!(plan.centred) {
                value += f32::cast_from(bias[c]);
            }
            y[row * width + c] = X::cast_from(value);
            c += comptime!(plan.lanes);
        }
    }
}

/// With n = (x − mean) · scale and g = dy · weight: `dx = scale · (g − mean(g) − n · mean(g·n))`,
/// without mean(g) for RMSNorm. `stats` [N, 2] gets each row's mean and scale.
#[cube(launch, address_type = "dynamic")]
fn norm_input_gradient<X: Float, W: Float>(
    x: &Tensor<X>,
    weight: &Tensor<W>,
    dy: &Tensor<X>,
    dx: &mut Tensor<X>,
    stats: &mut Tensor<f32>,
    epsilon: f32,
    #[comptime] plan: NormPlan,
    #[define(X, W)] _elements: [ElemType; 2],
) {
    let width = weight.len();
    let rows = dx.len() / width;
    let unit = UNIT_POS as usize;
    let lane = unit % comptime!(plan.lanes);
    let row = CUBE_POS * comptime!(THREADS / plan.lanes) + unit / comptime!(plan.lanes);
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let of_row = moments::<X>(x, row, rows, width, epsilon, &mut scratch, plan);
    let mut sum = f32::new(0.0);
    let mut product = f32::new(0.0);
    if row < rows {
        let mut c = lane;
        while c < width {
            let at = row * width + c;
            let g = f32::cast_from(dy[at]) * f32::cast_from(weight[c]);
            sum += g;
            product += g * (f32::cast_from(x[at]) - of_row.mean) * of_row.scale;
            c += comptime!(plan.lanes);
        }
    }
    let mut mean_g = f32::new(0.0);
    if comptime!(plan.centred) {
        mean_g = sum_of_lanes(sum, &mut scratch, comptime!(plan.lanes)) / f32::cast_from(width);
    }
    let mean_product =
        sum_of_lanes(product, &mut scratch, comptime!(plan.lanes)) / f32::cast_from(width);
    if row < rows {
        let mut c = lane;
        while c < width {
            let at = row * width + c;
            let g = f32::cast_from(dy[at]) * f32::cast_from(weight[c]);
            let n = (f32::cast_from(x[at]) - of_row.mean) * of_row.scale;
            dx[at] = X::cast_from(of_row.scale * (g - mean_g - n * mean_product));
            c += comptime!(plan.lanes);
        }
        if lane == 0 {
            stats[2 * row] = of_row.mean;
            stats[2 * row + 1] = of_row.scale;
        }
    }
}

/// `partial[s, 0, c] = Σ dy[r, c] · n[r, c]` and `partial[s, 1, c] = Σ dy[r, c]` over the rows r of
/// slice s; `partial` [S, 2, C].
///
/// One cube `COLUMNS` columns, x, of one slice, y.
#[cube(launch, address_type = "dynamic")]
fn norm_weight_partials<X: Float>(
    x: &Tensor<X>,
    dy: &Tensor<X>,
    stats: &Tensor<f32>,
    partial: &mut Tensor<f32>,
    rows_of_slice: u32,
    #[define(X)] _element: ElemType,
) {
    let width = partial.shape(2);
    let rows = stats.shape(0);
    let unit = UNIT_POS as usize;
    let column = CUBE_POS_X as usize * COLUMNS + unit % COLUMNS;
    let slice = CUBE_POS_Y as usize;
    let begin = slice * rows_of_slice as usize;
    let mut end = begin + rows_of_slice as usize;
    if end > rows {
        end = rows;
    }
    let mut products = f32::new(0.0);
    let mut sums = f32::new(0.0);
    if column < width {
        let mut row = begin + unit / COLUMNS;
        while row < end {
            let at = row * width + column;
            let g = f32::cast_from(dy[at]);
            products += g * (f32::cast_from(x[at]) - stats[2 * row]) * stats[2 * row + 1];
            sums += g;
            row += PER_COLUMN;
        }
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let products = sum_of_column(products, &mut scratch);
    let sums = sum_of_column(sums, &mut scratch);
    if unit < COLUMNS && column < width {
        partial[2 * slice * width + column] = products;
        partial[(2 * slice + 1) * width + column] = sums;
    }
}

/// LayerNorm with a bias, RMSNorm without: `x` [.., C], `weight` and `bias` `[C]`.
pub(crate) fn normalised(
    x: CubeTensor,
    weight: CubeTensor,
    bias: Option<CubeTensor>,
    epsilon: f64,
) -> CubeTensor {
    let [x, weight] = [x, weight].map(into_contiguous);
    let bias = bias.map(into_contiguous);
    let y = unwritten(&x, x.meta.shape().clone(), x.dtype);
    let width = weight.meta.num_elements();
    check(&x, width);
    let plan = NormPlan {
        centred: bias.is_some(),
        lanes: lanes(width),
    };
    if y.meta.num_elements() > 0 {
        let rows = y.meta.num_elements() / width;
        normalise_rows::launch(
            &x.client,
            cubes(rows.div_ceil(THREADS / plan.lanes)),
            threads(),
            addresses(&[&x, &y]),
            x.clone().into_tensor_arg(),
            weight.clone().into_tensor_arg(),
            bias.unwrap_or_else(|| weight.clone()).into_tensor_arg(),
            y.clone().into_tensor_arg(),
            epsilon as f32,
            plan,
            [element(&x), element(&weight)],
        );
    }
    y
}

/// The gradients of x, in its type, and of weight and, where there is one, bias, in the weight's.
pub(crate) fn norm_gradients(
    x: CubeTensor,
    weight: CubeTensor,
    dy: CubeTensor,
    centred: bool,
    epsilon: f64,
) -> [CubeTensor; 3] {
    let [x, weight, dy] = [x, weight, dy].map(into_contiguous);
    let width = weight.meta.num_elements();
    check(&x, width);
    let dx = unwritten(&x, x.meta.shape().clone(), x.dtype);
    let rows = dx.meta.num_elements() / width.max(1);
    if rows == 0 || width == 0 {
        let of_weight = || zeros(&x, [width], weight.dtype);
        return [dx, of_weight(), of_weight()];
    }
    let slices = slices(rows);
    let stats = unwritten(&x, [rows, 2], DType::F32);
    let partial = unwritten(&x, [slices, 2, width], DType::F32);
    let plan = NormPlan {
        centred,
        lanes: lanes(width),
    };
    let address = addresses(&[&x, &dy, &dx, &partial]);
    norm_input_gradient::launch(
        &x.client,
        cubes(rows.div_ceil(THREADS / plan.lanes)),
        threads(),
        address,
        x.clone().into_tensor_arg(),
        weight.clone().into_tensor_arg(),
        dy.clone().into_tensor_arg(),
        dx.clone().into_tensor_arg(),
        stats.clone().into_tensor_arg(),
        epsilon as f32,
        plan,
        [element(&x), element(&weight)],
    );
    norm_weight_partials::launch(
        &x.client,
        CubeCount::Static(width.div_ceil(COLUMNS) as u32, slices as u32, 1),
        threads(),
        address,
        x.clone().into_tensor_arg(),
        dy.into_tensor_arg(),
        stats.into_tensor_arg(),
        partial.clone().into_tensor_arg(),
        rows.div_ceil(slices) as u32,
        element(&x),
    );
    let of = |kind: usize| {
        add_slices(
            &partial,
            2 * width,
            kind * width,
            weight.meta.shape().clone(),
            weight.dtype,
        )
    };
    [dx, of(0), of(1)]
}

fn check(x: &CubeTensor, width: usize) {
    assert_eq!(
        x.meta.shape().last().copied(),
        Some(width),
        "features of x and of the weight of a norm"
    );
}
