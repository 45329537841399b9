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
use super::gpu::has_gpu_kernels;
use super::maybe::{Maybe, dispatched};
use crate::reference;

/// Layer normalisation over the last axis (arXiv 1607.06450):
/// `(x − mean) / √(variance + ε) · weight + bias`; `weight` and `bias` `[C]`.
pub fn layer_norm<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<R> {
    if !has_norm_kernels(&x, &weight, Some(&bias)) {
        return reference::layer_norm(x, weight, bias, epsilon);
    }
    Tensor::from_dispatch(Dispatch::normalise(
        x.into_dispatch(),
        weight.into_dispatch(),
        dispatched(Some(bias)),
        epsilon,
    ))
}

/// Root-mean-square normalisation over the last axis (arXiv 1910.07467):
/// `x / √(mean(x²) + ε) · weight`; `weight` `[C]`.
pub fn rms_norm<const R: usize>(x: Tensor<R>, weight: Tensor<1>, epsilon: f64) -> Tensor<R> {
    if !has_norm_kernels(&x, &weight, None) {
        return reference::rms_norm(x, weight, epsilon);
    }
    Tensor::from_dispatch(Dispatch::normalise(
        x.into_dispatch(),
        weight.into_dispatch(),
        Maybe::Absent,
        epsilon,
    ))
}

/// Whether a norm has kernels for these tensors. On CubeCL devices `x` may have another float type
/// than `weight` and `bias`.
pub(super) fn has_norm_kernels<const R: usize>(
    x: &Tensor<R>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
) -> bool {
    let on_cpu = has_kernels(x) && has_kernels(weight) && bias.is_none_or(has_kernels);
    let alike = bias.is_none_or(|bias| has_gpu_kernels(bias) && bias.dtype() == weight.dtype());
    on_cpu || (has_gpu_kernels(x) && has_gpu_kernels(weight) && alike)
}

/// The norms as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait NormOps: Backend {
    /// LayerNorm over the last axis with a bias, RMSNorm without.
    fn normalise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
}

/// The gradients that a backend with [`NormOps`] has.
pub trait NormGradients: NormOps {
    /// The gradients of x and weight, and of the bias if the norm has one.
    fn norm_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        form: NormForm,
    ) -> [Option<FloatTensor<Self>>; 3];
}

/// Which norm it is.
#[derive(Clone, Copy, Debug)]
pub struct NormForm {
    /// Whether it has a bias: LayerNorm, else RMSNorm.
    pub biased: bool,
    /// ε
    pub epsilon: f64,
}

/// Of x, weight and bias.
impl<B: NormGradients> Differentiable<B, 3> for NormForm {
    /// x and weight.
    type Kept = [FloatTensor<B>; 2];

    fn gradients(
        self,
        [x, weight]: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        B::norm_gradients(x, weight, dy, self)
    }
}

impl<B: NormGradients, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn normalise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let form = NormForm {
            biased: matches!(bias, Maybe::Present(_)),
            epsilon,
        };
        let ([x, weight], [x_node, weight_node]) = parts([x, weight]);
        let (bias, bias_node) = bias.into_parts(&weight);
        form.record::<C>([x_node, weight_node, bias_node], |recorded| {
            let kept = recorded.then(|| [x.clone(), weight.clone()]);
            (B::normalise(x, weight, bias, epsilon), kept)
        })
    }
}
