use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;

use super::cube::has_gpu_kernels;
use super::flex::{filled_tensor, has_kernels, tensor, values};
use crate::cpu::norm as kernel;
use crate::reference;

/// Layer normalisation over the last axis (arXiv 1607.06450): `(x − mean) / √(variance + ε) · weight + bias`; `weight` and
/// `bias` `[C]`.
pub fn layer_norm<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<R> {
    if !has_norm_kernels(&x, &weight, Some(&bias)) {
        return reference::layer_norm(x, weight, bias, epsilon);
    }
    let [weight, bias] = [weight, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::layer_normalise(
        x.into_dispatch(),
        weight,
        bias,
        epsilon,
    ))
}

/// Root-mean-square normalisation over the last axis (arXiv 1910.07467): `x / √(mean(x²) + ε) · weight`; `weight` `[C]`.
pub fn rms_norm<const R: usize>(x: Tensor<R>, weight: Tensor<1>, epsilon: f64) -> Tensor<R> {
    if !has_norm_kernels(&x, &weight, None) {
        return reference::rms_norm(x, weight, epsilon);
    }
    Tensor::from_dispatch(Dispatch::rms_normalise(
        x.into_dispatch(),
        weight.into_dispatch(),
        epsilon,
    ))
}

/// Whether a norm has kernels for these tensors. On CubeCL devices `x` may have another float type than `weight` and `bias`.
pub(super) fn has_norm_kernels<const R: usize>(
    x: &Tensor<R>,
    weight: &Tensor<1>,
    bias: Option<&Tensor<1>>,
) -> bool {
    let on_cpu = has_kernels(x) && has_kernels(weight) && bias.is_none_or(has_kernels);
    let alike = bias.is_none_or(|bias| has_gpu_kernels(bias) && bias.dtype() == weight.dtype());
    on_cpu || (has_gpu_kernels(x) && has_gpu_kernels(weight) && alike)
}

/// The norms as operations of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait NormOps: Backend {
    /// LayerNorm over the last axis.
    fn layer_normalise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
    /// RMSNorm over the last axis.
    fn rms_normalise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self>;
}

/// The gradients that a backend with [`NormOps`] has.
pub trait NormGradients: NormOps {
    /// The gradients of x, weight and bias.
    fn layer_norm_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 3];
    /// The gradients of x and weight.
    fn rms_norm_gradients(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        dy: FloatTensor<Self>,
        epsilon: f64,
    ) -> [FloatTensor<Self>; 2];
}

impl NormOps for Flex {
    fn layer_normalise(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        epsilon: f64,
    ) -> FlexTensor {
        let (x, weight, bias) = (
            x.to_contiguous(),
            weight.to_contiguous(),
            bias.to_contiguous(),
        );
        // SAFETY: the kernel writes all of y.
        unsafe {
            filled_tensor(x.shape(), |y| {
                kernel::layer_norm(
                    epsilon as f32,
                    values(&x),
                    values(&weight),
                    values(&bias),
                    y,
                );
            })
        }
    }

    fn rms_normalise(x: FlexTensor, weight: FlexTensor, epsilon: f64) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        // SAFETY: the kernel writes all of y.
        unsafe {
            filled_tensor(x.shape(), |y| {
                kernel::rms_norm(epsilon as f32, values(&x), values(&weight), y)
            })
        }
    }
}

impl NormGradients for Flex {
    fn layer_norm_gradients(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        epsilon: f64,
    ) -> [FlexTensor; 3] {
        let (x, weight, dy) = (
            x.to_contiguous(),
            weight.to_contiguous(),
            dy.to_contiguous(),
        );
        let (mut dw, mut db) = (Vec::new(), Vec::new());
        // SAFETY: the kernel writes all of dx.
        let dx = unsafe {
            filled_tensor(x.shape(), |dx| {
                (dw, db) = kernel::layer_norm_gradient(
                    epsilon as f32,
                    values(&x),
                    values(&weight),
                    values(&dy),
                    dx,
                );
            })
        };
        [dx, tensor(dw, weight.shape()), tensor(db, weight.shape())]
    }

    fn rms_norm_gradients(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        epsilon: f64,
    ) -> [FlexTensor; 2] {
        let (x, weight, dy) = (
            x.to_contiguous(),
            weight.to_contiguous(),
            dy.to_contiguous(),
        );
        let mut dw = Vec::new();
        // SAFETY: the kernel writes all of dx.
        let dx = unsafe {
            filled_tensor(x.shape(), |dx| {
                dw = kernel::rms_norm_gradient(
                    epsilon as f32,
                    values(&x),
                    values(&weight),
                    values(&dy),
                    dx,
                );
            })
        };
        [dx, tensor(dw, weight.shape())]
    }
}

#[derive(Debug)]
struct LayerNorm {
    epsilon: f64,
}

impl<B: NormGradients> Backward<B, 3> for LayerNorm {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let worked_out = B::layer_norm_gradients(x, weight, dy, self.epsilon);
        for (node, gradient) in ops.parents.into_iter().zip(worked_out) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

#[derive(Debug)]
struct RmsNorm {
    epsilon: f64,
}

impl<B: NormGradients> Backward<B, 2> for RmsNorm {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let (x, weight) = ops.state;
        let worked_out = B::rms_norm_gradients(x, weight, dy, self.epsilon);
        for (node, gradient) in ops.parents.into_iter().zip(worked_out) {
            if let Some(node) = node {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: NormGradients, C: CheckpointStrategy> NormOps for Autodiff<B, C> {
    fn layer_normalise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node), (bias, bias_node)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match (LayerNorm { epsilon })
            .prepare::<C>([x_node, weight_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(
                (x.clone(), weight.clone()),
                B::layer_normalise(x, weight, bias, epsilon),
            ),
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::layer_normalise(x, weight, bias, epsilon))
            }
        }
    }

    fn rms_normalise(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match (RmsNorm { epsilon })
            .prepare::<C>([x_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(
                (x.clone(), weight.clone()),
                B::rms_normalise(x, weight, epsilon),
            ),
            OpsKind::UnTracked(prepared) => prepared.finish(B::rms_normalise(x, weight, epsilon)),
        }
    }
}
