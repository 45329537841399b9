#[cfg(feature = "cube")]
mod cube;
mod flex;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::Tensor;

use super::autodiff::{Differentiable, parts};
use super::flex::has_kernels;
use super::gpu::has_gpu_kernels_for;
use super::maybe::{Maybe, dispatched};
use crate::reference;

/// `y = x · weightᵀ + bias` over the last axis: `x` [.., I], `weight` [O, I], `bias` `[O]` → [..,
/// O].
pub fn linear<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<R> {
    if !has_linear_kernels(&x, &weight, bias.as_ref()) {
        return reference::linear(x, weight, bias);
    }
    Tensor::from_dispatch(Dispatch::linear_map(
        x.into_dispatch(),
        weight.into_dispatch(),
        dispatched(bias),
    ))
}

/// Whether a linear map has kernels for these tensors, which are of one float type.
pub(super) fn has_linear_kernels<const R: usize>(
    x: &Tensor<R>,
    weight: &Tensor<2>,
    bias: Option<&Tensor<1>>,
) -> bool {
    let on_cpu = has_kernels(x) && has_kernels(weight) && bias.is_none_or(has_kernels);
    let alike = bias.is_none_or(|bias| has_gpu_kernels_for(x, bias));
    on_cpu || (has_gpu_kernels_for(x, weight) && alike)
}

/// The linear map as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait LinearOps: Backend {
    /// x · weightᵀ + bias
    fn linear_map(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
    ) -> FloatTensor<Self>;
}

/// The gradients that a backend with [`LinearOps`] has.
pub trait LinearGradients: LinearOps {
    /// dy · weight
    fn linear_dx(dy: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    /// dyᵀ · x
    fn linear_dw(dy: FloatTensor<Self>, x: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The sums of dy over all axes but the last.
    fn linear_db(dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Of x, weight and bias.
#[derive(Debug)]
struct Linear;

impl<B: LinearGradients> Differentiable<B, 3> for Linear {
    /// x if the weight needs a gradient, the weight if x does.
    type Kept = [Option<FloatTensor<B>>; 2];

    fn gradients(
        self,
        [x, weight]: Self::Kept,
        dy: FloatTensor<B>,
        [_, _, to_bias]: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let db = to_bias.then(|| B::linear_db(dy.clone()));
        let dw = x.map(|x| B::linear_dw(dy.clone(), x));
        let dx = weight.map(|weight| B::linear_dx(dy, weight));
        [dx, dw, db]
    }
}

impl<B: LinearGradients, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_map(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
    ) -> FloatTensor<Self> {
        let (keep_x, keep_weight) = (weight.is_tracked(), x.is_tracked());
        let ([x, weight], [x_node, weight_node]) = parts([x, weight]);
        let (bias, bias_node) = bias.into_parts(&weight);
        Linear.record::<C>([x_node, weight_node, bias_node], |recorded| {
            let kept = recorded.then(|| {
                [
                    keep_x.then(|| x.clone()),
                    keep_weight.then(|| weight.clone()),
                ]
            });
            (B::linear_map(x, weight, bias), kept)
        })
    }
}
