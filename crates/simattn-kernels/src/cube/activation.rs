//! GELU (arXiv 1606.08415) and SwiGLU (arXiv 2002.05202) on CubeCL devices, forward and backward:
//! one pass each, one thread a value, worked out in float32 whatever the tensors hold.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::normal::normal;
use super::rows::threads;
use super::tensor::{addresses, element, unwritten};
use crate::call::GeluForm;

/// What a GELU's kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct GeluPlan {
    form: GeluForm,
    /// Whether a bias [F] is added first.
    biased: bool,
}

/// 1 / (1 + e⁻ˣ).
#[cube]
fn logistic(x: f32) -> f32 {
    f32::new(1.0) / (f32::new(1.0) + (f32::new(0.0) - x).exp())
}

/// `2u` of the form with tanh, ½x·(1 + tanh u), u = √(2/π)·(x + 0.044715x³): ½(1 + tanh u) is the
/// logistic function of 2u.
#[cube]
fn twice_u(x: f32) -> f32 {
    x * (f32::new(1.595_769_2) + f32::new(0.071_354_82) * x * x)
}

/// x·Φ(x), or the form with tanh.
#[cube]
fn gelu(x: f32, #[comptime] plan: GeluPlan) -> f32 {
    if comptime!(plan.form == GeluForm::Tanh) {
        x * logistic(twice_u(x))
    } else {
        x * normal(x).distribution
    }
}

/// Its derivative: Φ(x) + x·φ(x), or that of the form with tanh.
#[cube]
fn gelu_slope(x: f32, #[comptime] plan: GeluPlan) -> f32 {
    if comptime!(plan.form == GeluForm::Tanh) {
        let gate = logistic(twice_u(x));
        // 1 − gate without its cancellation.
        let spread = gate * logistic(f32::new(0.0) - twice_u(x));
        let bend = x * spread * (f32::new(1.595_769_2) + f32::new(0.214_064_46) * x * x);
        // Where the product vanishes, the other factors may be infinite.
        gate + select(spread > f32::new(1e-30), bend, f32::new(0.0))
    } else {
        let at = normal(x);
        at.distribution + x * at.density
    }
}

#[cube]
fn biased<X: Float, B: Float>(
    x: &Tensor<X>,
    bias: &Tensor<B>,
    at: usize,
    #[comptime] plan: GeluPlan,
) -> f32 {
    let mut value = f32::cast_from(x[at]);
    if comptime!(plan.biased) {
        value += f32::cast_from(bias[at % bias.len()]);
    }
    value
}

/// `y = gelu(x + bias)`.
#[cube(launch, address_type = "dynamic")]
fn gelu_values<X: Float, B: Float>(
    x: &Tensor<X>,
    bias: &Tensor<B>,
    y: &mut Tensor<X>,
    #[comptime] plan: GeluPlan,
    #[define(X, B)] _elements: [ElemType; 2],
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let value = biased::<X, B>(x, bias, ABSOLUTE_POS, plan);
    y[ABSOLUTE_POS] = X::cast_from(gelu(value, plan));
}

/// `dx = dy · gelu'(x + bias)`.
#[cube(launch, address_type = "dynamic")]
fn gelu_gradients<X: Float, B: Float>(
    x: &Tensor<X>,
    bias: &Tensor<B>,
    dy: &Tensor<X>,
    dx: &mut Tensor<X>,
    #[comptime] plan: GeluPlan,
    #[define(X, B)] _elements: [ElemType; 2],
) {
    if ABSOLUTE_POS >= dx.len() {
        terminate!();
    }
    let value = biased::<X, B>(x, bias, ABSOLUTE_POS, plan);
    let slope = gelu_slope(value, plan);
    dx[ABSOLUTE_POS] = X::cast_from(f32::cast_from(dy[ABSOLUTE_POS]) * slope);
}

/// The gate's and the other factor's share of `dy` in silu(a) · b.
#[derive(CubeType, Clone, Copy)]
struct SwiGluSlopes {
    of_a: f32,
    of_b: f32,
}

#[cube]
fn swiglu_slopes(a: f32, b: f32) -> SwiGluSlopes {
    let gate = logistic(a);
    // 1 − gate without its cancellation.
    let rest = logistic(f32::new(0.0) - a);
    SwiGluSlopes {
        of_a: b * gate * (f32::new(1.0) + a * rest),
        of_b: a * gate,
    }
}

/// `y = silu(a) · b`. If packed, a and b are the same tensor [N, 2F], which holds a row's a before
/// its b, and `width` is F.
#[cube(launch, address_type = "dynamic")]
fn swiglu_values<F: Float>(
    a: &Tensor<F>,
    b: &Tensor<F>,
    y: &mut Tensor<F>,
    width: u32,
    #[comptime] packed: bool,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let width = width as usize;
    let mut of_a = ABSOLUTE_POS;
    let mut of_b = ABSOLUTE_POS;
    if comptime!(packed) {
        of_a = ABSOLUTE_POS + ABSOLUTE_POS / width * width;
        of_b = of_a + width;
    }
    let gate = f32::cast_from(a[of_a]);
    y[ABSOLUTE_POS] = F::cast_from(gate * logistic(gate) * f32::cast_from(b[of_b]));
}

/// The gradients of a and b.
#[cube(launch, address_type = "dynamic")]
fn swiglu_both_gradients<F: Float>(
    a: &Tensor<F>,
    b: &Tensor<F>,
    dy: &Tensor<F>,
    da: &mut Tensor<F>,
    db: &mut Tensor<F>,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= da.len() {
        terminate!();
    }
    let at = ABSOLUTE_POS;
    let slopes = swiglu_slopes(f32::cast_from(a[at]), f32::cast_from(b[at]));
    let g = f32::cast_from(dy[at]);
    da[at] = F::cast_from(g * slopes.of_a);
    db[at] = F::cast_from(g * slopes.of_b);
}

/// The gradient of a packed a and b [N, 2F]; `width` is F, and one thread works out one of each.
#[cube(launch, address_type = "dynamic")]
fn swiglu_packed_gradient<F: Float>(
    ab: &Tensor<F>,
    dy: &Tensor<F>,
    d_ab: &mut Tensor<F>,
    width: u32,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= dy.len() {
        terminate!();
    }
    let width = width as usize;
    let at = ABSOLUTE_POS + ABSOLUTE_POS / width * width;
    let slopes = swiglu_slopes(f32::cast_from(ab[at]), f32::cast_from(ab[at + width]));
    let g = f32::cast_from(dy[ABSOLUTE_POS]);
    d_ab[at] = F::cast_from(g * slopes.of_a);
    d_ab[at + width] = F::cast_from(g * slopes.of_b);
}

/// GELU of `x` [.., F] + `bias` `[F]`.
pub(crate) fn gelu_of(x: CubeTensor, bias: Option<CubeTensor>, form: GeluForm) -> CubeTensor {
    let x = into_contiguous(x);
    let bias = bias.map(into_contiguous);
    check(&x, bias.as_ref());
    let y = unwritten(&x, x.meta.shape().clone(), x.dtype);
    let values = y.meta.num_elements();
    if values > 0 {
        let plan = GeluPlan {
            form,
            biased: bias.is_some(),
        };
        let bias = bias.unwrap_or_else(|| x.clone());
        gelu_values::launch(
            &x.client,
            calculate_cube_count_elemwise(&x.client, values, threads()),
            threads(),
            addresses(&[&x, &y]),
            x.clone().into_tensor_arg(),
            bias.clone().into_tensor_arg(),
            y.clone().into_tensor_arg(),
            plan,
            [element(&x), element(&bias)],
        );
    }
    y
}

/// The gradient of `x` in [`gelu_of`] from that of its result, in x's type.
pub(crate) fn gelu_dx(
    x: CubeTensor,
    bias: Option<CubeTensor>,
    dy: CubeTensor,
    form: GeluForm,
) -> CubeTensor {
    let [x, dy] = [x, dy].map(into_contiguous);
    let bias = bias.map(into_contiguous);
    check(&x, bias.as_ref());
    let dx = unwritten(&x, x.meta.shape().clone(), x.dtype);
    let values = dx.meta.num_elements();
    if values > 0 {
        let plan = GeluPlan {
            form,
            biased: bias.is_some(),
        };
        let bias = bias.unwrap_or_else(|| x.clone());
        gelu_gradients::launch(
            &x.client,
            calculate_cube_count_elemwise(&x.client, values, threads()),
            threads(),
            addresses(&[&x, &dy, &dx]),
            x.clone().into_tensor_arg(),
            bias.clone().into_tensor_arg(),
            dy.into_tensor_arg(),
            dx.clone().into_tensor_arg(),
            plan,
            [element(&x), element(&bias)],
        );
    }
    dx
}

fn check(x: &CubeTensor, bias: Option<&CubeTensor>) {
    if let Some(bias) = bias {
        assert_eq!(
            x.meta.shape().last().copied(),
            Some(bias.meta.num_elements()),
            "a bias for each feature of x"
        );
    }
}

/// silu(a) · b, value by value.
pub(crate) fn swiglu_of(a: CubeTensor, b: CubeTensor) -> CubeTensor {
    let [a, b] = [a, b].map(into_contiguous);
    assert_eq!(a.meta.shape(), b.meta.shape(), "both factors of a SwiGLU");
    let y = unwritten(&a, a.meta.shape().clone(), a.dtype);
    launch_swiglu(a, b, &y, false);
    y
}

/// [`swiglu_of`] of one tensor [.., 2F] that holds a before b.
pub(crate) fn swiglu_of_halves(ab: CubeTensor) -> CubeTensor {
    let ab = into_contiguous(ab);
    let mut shape = ab.meta.shape().clone();
    let last = shape.rank() - 1;
    shape[last] /= 2;
    let y = unwritten(&ab, shape, ab.dtype);
    launch_swiglu(ab.clone(), ab, &y, true);
    y
}

fn launch_swiglu(a: CubeTensor, b: CubeTensor, y: &CubeTensor, packed: bool) {
    let values = y.meta.num_elements();
    if values > 0 {
        swiglu_values::launch(
            &y.client,
            calculate_cube_count_elemwise(&y.client, values, threads()),
            threads(),
            addresses(&[&a, y]),
            a.into_tensor_arg(),
            b.into_tensor_arg(),
            y.clone().into_tensor_arg(),
            width(y) as u32,
            packed,
            element(y),
        );
    }
}

/// The gradients of a and b in [`swiglu_of`].
pub(crate) fn swiglu_gradients(
    a: CubeTensor,
    b: CubeTensor,
    dy: CubeTensor,
) -> (CubeTensor, CubeTensor) {
    let [a, b, dy] = [a, b, dy].map(into_contiguous);
    let [da, db] = [(); 2].map(|()| unwritten(&a, a.meta.shape().clone(), a.dtype));
    let values = da.meta.num_elements();
    if values > 0 {
        swiglu_both_gradients::launch(
            &a.client,
            calculate_cube_count_elemwise(&a.client, values, threads()),
            threads(),
            addresses(&[&a, &b, &dy]),
            a.clone().into_tensor_arg(),
            b.into_tensor_arg(),
            dy.into_tensor_arg(),
            da.clone().into_tensor_arg(),
            db.clone().into_tensor_arg(),
            element(&a),
        );
    }
    (da, db)
}

/// The gradient of both halves in [`swiglu_of_halves`].
pub(crate) fn swiglu_of_halves_gradient(ab: CubeTensor, dy: CubeTensor) -> CubeTensor {
    let [ab, dy] = [ab, dy].map(into_contiguous);
    let d_ab = unwritten(&ab, ab.meta.shape().clone(), ab.dtype);
    let values = dy.meta.num_elements();
    if values > 0 {
        swiglu_packed_gradient::launch(
            &ab.client,
            calculate_cube_count_elemwise(&ab.client, values, threads()),
            threads(),
            addresses(&[&ab, &d_ab]),
            ab.clone().into_tensor_arg(),
            dy.clone().into_tensor_arg(),
            d_ab.clone().into_tensor_arg(),
            width(&dy) as u32,
            element(&ab),
        );
    }
    d_ab
}

fn width(x: &CubeTensor) -> usize {
    x.meta.shape().last().copied().unwrap_or(1)
}
