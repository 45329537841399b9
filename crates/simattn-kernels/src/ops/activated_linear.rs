use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::activation::{ActivationGradients, ActivationOps, gelu, swiglu};
use super::autodiff::{Differentiable, parts};
use super::linear::{LinearGradients, LinearOps, has_linear_kernels, linear};
use super::maybe::{Maybe, dispatched};
use crate::call::GeluForm;

/// `gelu(x) · weightᵀ + bias`: `x` [.., F], `weight` [O, F], `bias` `[O]` → [.., O].
///
/// Backward keeps `x` and works its GELU out once more, so that only one of the two wide tensors of
/// a feed-forward network outlives the forward pass.
pub fn gelu_linear<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    form: GeluForm,
) -> Tensor<R> {
    if !has_linear_kernels(&x, &weight, bias.as_ref()) {
        return linear(gelu(x, form), weight, bias);
    }
    Tensor::from_dispatch(Dispatch::linear_of_gelu(
        x.into_dispatch(),
        weight.into_dispatch(),
        dispatched(bias),
        form,
    ))
}

/// `(silu(gate) · up) · weightᵀ + bias`: `gate` and `up` [.., F], `weight` [O, F], `bias` `[O]` →
/// [.., O].
///
/// As with [`gelu_linear`], the product of gate and up does not outlive the forward pass.
pub fn swiglu_linear<const R: usize>(
    gate: Tensor<R>,
    up: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<R> {
    if ![&gate, &up]
        .into_iter()
        .all(|x| has_linear_kernels(x, &weight, bias.as_ref()))
    {
        return linear(swiglu(gate, up), weight, bias);
    }
    let [gate, up] = [gate, up].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::linear_of_swiglu(
        gate,
        up,
        weight.into_dispatch(),
        dispatched(bias),
    ))
}

/// Linear maps of an activation as operations of a backend: on every one the two operations after
/// each other.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait ActivatedLinearOps: ActivationOps + LinearOps {
    /// gelu(x) · weightᵀ + bias
    fn linear_of_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        Self::linear_map(Self::gelu_of(x, Maybe::Absent, form), weight, bias)
    }

    /// (silu(a) · b) · weightᵀ + bias
    fn linear_of_swiglu(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
    ) -> FloatTensor<Self> {
        Self::linear_map(Self::swiglu_of(a, b), weight, bias)
    }
}

impl ActivatedLinearOps for Flex {}

#[cfg(feature = "cube")]
impl ActivatedLinearOps for burn_cubecl::CubeBackend {}

/// [`ActivatedLinearOps`] with the gradients of its parts.
pub trait ActivatedLinearGradients:
    ActivatedLinearOps + ActivationGradients + LinearGradients
{
}

impl<B: ActivatedLinearOps + ActivationGradients + LinearGradients> ActivatedLinearGradients for B {}

/// Gradients of a linear map's activation, weight and bias, as far as they are wanted.
fn linear_gradients<B: ActivatedLinearGradients>(
    dy: FloatTensor<B>,
    activation: impl FnOnce() -> FloatTensor<B>,
    weight: FloatTensor<B>,
    [to_activation, to_weight, to_bias]: [bool; 3],
) -> [Option<FloatTensor<B>>; 3] {
    let of_bias = to_bias.then(|| B::linear_db(dy.clone()));
    // The activation lives for this one product.
    let of_weight = to_weight.then(|| B::linear_dw(dy.clone(), activation()));
    let of_activation = to_activation.then(|| B::linear_dx(dy, weight));
    [of_activation, of_weight, of_bias]
}

/// Of x, weight and bias.
#[derive(Debug)]
struct LinearOfGelu(GeluForm);

impl<B: ActivatedLinearGradients> Differentiable<B, 3> for LinearOfGelu {
    /// x and weight.
    type Kept = [FloatTensor<B>; 2];

    fn gradients(
        self,
        [x, weight]: Self::Kept,
        dy: FloatTensor<B>,
        wanted: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let again = || B::gelu_of(x.clone(), Maybe::Absent, self.0);
        let [activation, weight, bias] = linear_gradients::<B>(dy, again, weight, wanted);
        let of_x = activation.map(|dy| B::gelu_dx(x, Maybe::Absent, dy, self.0));
        [of_x, weight, bias]
    }
}

/// Of a, b, weight and bias.
#[derive(Debug)]
struct LinearOfSwiGlu;

impl<B: ActivatedLinearGradients> Differentiable<B, 4> for LinearOfSwiGlu {
    /// a, b and weight.
    type Kept = [FloatTensor<B>; 3];

    fn gradients(
        self,
        [a, b, weight]: Self::Kept,
        dy: FloatTensor<B>,
        [to_a, to_b, to_weight, to_bias]: [bool; 4],
    ) -> [Option<FloatTensor<B>>; 4] {
        let again = || B::swiglu_of(a.clone(), b.clone());
        let wanted = [to_a || to_b, to_weight, to_bias];
        let [activation, weight, bias] = linear_gradients::<B>(dy, again, weight, wanted);
        let (of_a, of_b) = activation.map(|dy| B::swiglu_gradients(a, b, dy)).unzip();
        [of_a, of_b, weight, bias]
    }
}

impl<B: ActivatedLinearGradients, C: CheckpointStrategy> ActivatedLinearOps for Autodiff<B, C> {
    fn linear_of_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        let ([x, weight], [x_node, weight_node]) = parts([x, weight]);
        let (bias, bias_node) = bias.into_parts(&weight);
        let nodes = [x_node, weight_node, bias_node];
        LinearOfGelu(form).record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| [x.clone(), weight.clone()]);
            (B::linear_of_gelu(x, weight, bias, form), kept)
        })
    }

    fn linear_of_swiglu(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
    ) -> FloatTensor<Self> {
        let ([a, b, weight], [a_node, b_node, weight_node]) = parts([a, b, weight]);
        let (bias, bias_node) = bias.into_parts(&weight);
        let nodes = [a_node, b_node, weight_node, bias_node];
        LinearOfSwiGlu.record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| [a.clone(), b.clone(), weight.clone()]);
            (B::linear_of_swiglu(a, b, weight, bias), kept)
        })
    }
}
