use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Int, Tensor, activation::log_softmax};

use super::cube::{has_gpu_kernels, has_gpu_kernels_for};
use super::flex::{has_kernels, ids, tensor, values};
use crate::call::HeadGradientsWanted;
use crate::cpu::loss::{self as kernel, HeadShape, IGNORED};
use crate::cpu::output::filled;
use crate::cpu::scale::scale;
use crate::reference;

/// Mean cross-entropy in nats of `logits` [N, V] with `targets` `[N]`: `[1]`. A negative target does not count.
///
/// On CubeCL devices the loss is float32, whatever the logits are, and a target that is not below V makes it NaN.
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

/// The language-model head and its loss: logits = `hidden` [N, C] · `weight`ᵀ with `weight` [V, C], then the mean
/// cross-entropy in nats with `targets` `[N]` → `[1]`. A negative target does not count.
///
/// On the CPU and on CubeCL devices the logits exist for some rows at a time, and the gradients are worked out with them, so that
/// backward only scales. On CubeCL devices the loss is float32, whatever the tensors are, and a target that is not below V makes
/// it NaN.
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

/// Cross-entropy from Burn's operations, where negative targets do not count; of narrower logits in float32.
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

fn targets_of(tensor: &FlexTensor) -> Vec<u32> {
    ids(tensor)
        .into_iter()
        .map(|target| target.unwrap_or(IGNORED))
        .collect()
}

impl LossOps for Flex {
    fn cross_entropy_of(logits: FlexTensor, targets: FlexTensor) -> FlexTensor {
        let logits = logits.to_contiguous();
        let loss = kernel::cross_entropy(
            logits.shape()[1],
            values(&logits),
            &targets_of(&targets),
            None,
        );
        tensor(vec![loss.mean as f32], [1])
    }

    fn cross_entropy_of_head(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: FlexTensor,
    ) -> FlexTensor {
        Self::head_with_gradients(hidden, weight, targets, HeadGradientsWanted::default()).0
    }
}

impl LossGradients for Flex {
    fn cross_entropy_with_gradient(
        logits: FlexTensor,
        targets: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let logits = logits.to_contiguous();
        let (targets, mut mean) = (targets_of(&targets), f64::NAN);
        // SAFETY: the kernel writes all of the gradient.
        let gradient = unsafe {
            filled(values(&logits).len(), |out| {
                mean =
                    kernel::cross_entropy(logits.shape()[1], values(&logits), &targets, Some(out))
                        .mean;
            })
        };
        (
            tensor(vec![mean as f32], [1]),
            tensor(gradient, logits.shape()),
        )
    }

    fn head_with_gradients(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: FlexTensor,
        wanted: HeadGradientsWanted,
    ) -> WithGradients<Self> {
        let (hidden, weight) = (hidden.to_contiguous(), weight.to_contiguous());
        let ([tokens, width], [vocabulary, features]) =
            (hidden.shape().dims(), weight.shape().dims());
        assert_eq!(
            width, features,
            "features of the hidden states and of the head's weight"
        );
        let shape = HeadShape {
            tokens,
            width,
            vocabulary,
        };
        let targets = targets_of(&targets);
        let (loss, gradients) =
            kernel::head_cross_entropy(shape, values(&hidden), values(&weight), &targets, wanted);
        let gradients = [
            gradients
                .hidden
                .map(|values| tensor(values, hidden.shape())),
            gradients
                .weight
                .map(|values| tensor(values, weight.shape())),
        ];
        (tensor(vec![loss.mean as f32], [1]), gradients)
    }

    fn scaled(mut gradient: FlexTensor, factor: FlexTensor) -> FlexTensor {
        let factor = values(&factor.to_contiguous())[0];
        if factor != 1.0 {
            scale(gradient.storage_mut(), factor);
        }
        gradient
    }
}

#[derive(Debug)]
struct CrossEntropy;

impl<B: LossGradients> Backward<B, 1> for CrossEntropy {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let factor = gradients.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<B>(node.id, B::scaled(ops.state, factor));
        }
    }
}

#[derive(Debug)]
struct HeadCrossEntropy;

impl<B: LossGradients> Backward<B, 2> for HeadCrossEntropy {
    type State = [Option<FloatTensor<B>>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let factor = gradients.consume::<B>(&ops.node);
        for (node, gradient) in ops.parents.into_iter().zip(ops.state) {
            if let Some((node, gradient)) = node.zip(gradient) {
                gradients.register::<B>(node.id, B::scaled(gradient, factor.clone()));
            }
        }
    }
}

impl<B: LossGradients, C: CheckpointStrategy> LossOps for Autodiff<B, C> {
    fn cross_entropy_of(logits: FloatTensor<Self>, targets: IntTensor<Self>) -> FloatTensor<Self> {
        let (logits, node) = logits.into_parts();
        match CrossEntropy.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (loss, gradient) = B::cross_entropy_with_gradient(logits, targets);
                prepared.finish(gradient, loss)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::cross_entropy_of(logits, targets)),
        }
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
        let ((hidden, hidden_node), (weight, weight_node)) =
            (hidden.into_parts(), weight.into_parts());
        match HeadCrossEntropy
            .prepare::<C>([hidden_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (loss, worked_out) = B::head_with_gradients(hidden, weight, targets, wanted);
                prepared.finish(worked_out, loss)
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::cross_entropy_of_head(hidden, weight, targets))
            }
        }
    }
}
