#[cfg(feature = "cube")]
pub(crate) mod cube;
mod flex;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Int, Tensor, activation::log_softmax};

use super::autodiff::{Differentiable, parts};
use super::flex::has_kernels;
use super::gpu::{has_gpu_kernels, has_gpu_kernels_for};
use crate::call::HeadGradientsWanted;
use crate::reference;

/// Mean cross-entropy in nats of `logits` [N, V] with `targets` `[N]`: `[1]`. A negative target
/// does not count.
///
/// On CubeCL devices the loss is float32, whatever the logits are, and a target that is not below V
/// makes it NaN.
///
/// # Panics
/// On other devices, if a target is not below V.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    if has_kernels(&logits) || has_gpu_kernels(&logits) {
        return Tensor::from_dispatch(Dispatch::cross_entropy_of(
            logits.into_dispatch(),
            targets.into_dispatch(),
        ));
    }
    portable(logits, targets)
}

/// The language-model head and its loss: logits = `hidden` [N, C] · `weight`ᵀ with `weight` [V, C],
/// then the mean cross-entropy in nats with `targets` `[N]` → `[1]`. A negative target does not
/// count.
///
/// On the CPU and on CubeCL devices the logits exist for some rows at a time, and the gradients are
/// worked out with them, so that backward only scales. On CubeCL devices the loss is float32,
/// whatever the tensors are, and a target that is not below V makes it NaN.
///
/// # Panics
/// On other devices, if a target is not below V.
pub fn head_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
) -> Tensor<1> {
    if has_kernels(&hidden) && has_kernels(&weight) || has_gpu_kernels_for(&hidden, &weight) {
        let [hidden, weight] = [hidden, weight].map(Tensor::into_dispatch);
        return Tensor::from_dispatch(Dispatch::cross_entropy_of_head(
            hidden,
            weight,
            targets.into_dispatch(),
        ));
    }
    portable(reference::linear(hidden, weight, None), targets)
}

/// Cross-entropy from Burn's operations, where negative targets do not count; of narrower logits in
/// float32.
fn portable(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let logits = match logits.dtype() {
        DType::BF16 | DType::F16 => logits.cast(DType::F32),
        _ => logits,
    };
    let ignored = targets.clone().lower_elem(0);
    let counted = ignored
        .clone()
        .bool_not()
        .int()
        .sum()
        .float()
        .cast(logits.dtype());
    let losses = log_softmax(logits, 1)
        .gather(1, targets.clamp_min(0).unsqueeze_dim(1))
        .squeeze_dim::<1>(1);
    losses.mask_fill(ignored, 0.0).sum().neg() / counted
}

/// The losses as operations of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait LossOps: Backend {
    /// Mean cross-entropy of logits.
    fn cross_entropy_of(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self>;
    /// Mean cross-entropy of hidden · weightᵀ.
    fn cross_entropy_of_head(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// A mean loss and the gradients that were wanted, for an upstream gradient of 1.
pub(super) type WithGradients<B> = (FloatTensor<B>, [Option<FloatTensor<B>>; 2]);

/// The gradients that a backend with [`LossOps`] has.
pub trait LossGradients: LossOps {
    /// The mean loss of logits and its gradient.
    fn cross_entropy_with_gradient(
        logits: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The mean loss of a head and its gradients for hidden states and weight.
    fn head_with_gradients(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
        wanted: HeadGradientsWanted,
    ) -> WithGradients<Self>;
    /// `gradient` times the one value of `factor`.
    fn scaled(gradient: FloatTensor<Self>, factor: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Of the logits.
#[derive(Debug)]
struct CrossEntropy;

impl<B: LossGradients> Differentiable<B, 1> for CrossEntropy {
    /// The gradient, for an upstream gradient of 1.
    type Kept = FloatTensor<B>;

    fn gradients(
        self,
        gradient: Self::Kept,
        factor: FloatTensor<B>,
        _: [bool; 1],
    ) -> [Option<FloatTensor<B>>; 1] {
        [Some(B::scaled(gradient, factor))]
    }
}

/// Of hidden states and weight.
#[derive(Debug)]
struct HeadCrossEntropy;

impl<B: LossGradients> Differentiable<B, 2> for HeadCrossEntropy {
    /// The gradients that were wanted, for an upstream gradient of 1.
    type Kept = [Option<FloatTensor<B>>; 2];

    fn gradients(
        self,
        gradients: Self::Kept,
        factor: FloatTensor<B>,
        _: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        gradients.map(|gradient| gradient.map(|gradient| B::scaled(gradient, factor.clone())))
    }
}

impl<B: LossGradients, C: CheckpointStrategy> LossOps for Autodiff<B, C> {
    fn cross_entropy_of(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        let ([logits], nodes) = parts([logits]);
        CrossEntropy.record::<C>(nodes, |recorded| {
            if recorded {
                let (loss, gradient) = B::cross_entropy_with_gradient(logits, targets);
                (loss, Some(gradient))
            } else {
                (B::cross_entropy_of(logits, targets), None)
            }
        })
    }

    fn cross_entropy_of_head(
        hidden: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        targets: IntTensor<Self>,
    ) -> FloatTensor<Self> {
        let wanted = HeadGradientsWanted {
            hidden: hidden.is_tracked(),
            weight: weight.is_tracked(),
        };
        let ([hidden, weight], nodes) = parts([hidden, weight]);
        HeadCrossEntropy.record::<C>(nodes, |recorded| {
            if recorded {
                let (loss, worked_out) = B::head_with_gradients(hidden, weight, targets, wanted);
                (loss, Some(worked_out))
            } else {
                (B::cross_entropy_of_head(hidden, weight, targets), None)
            }
        })
    }
}
