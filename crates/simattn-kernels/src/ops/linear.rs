use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};

use super::cube::has_gpu_kernels_for;
use super::flex::{filled_tensor, has_kernels, tensor, values, width};
use crate::cpu::linear::{self as kernel, LinearShape};
use crate::reference;

/// `y = x · weightᵀ + bias` over the last axis: `x` [.., I], `weight` [O, I], `bias` `[O]` → [.., O].
pub fn linear<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<R> {
    if !has_linear_kernels(&x, &weight, bias.as_ref()) {
        return reference::linear(x, weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::linear_map_with_bias(x, weight, bias.into_dispatch()),
        None => Dispatch::linear_map(x, weight),
    })
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
    /// x · weightᵀ
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;
    /// x · weightᵀ + bias
    fn linear_map_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
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

fn sizes(x: &Shape, weight: &Shape) -> LinearShape {
    let [outputs, inputs] = weight.dims();
    assert_eq!(
        width(x),
        inputs,
        "features of x and of the weight of a linear map"
    );
    LinearShape {
        rows: x[..x.rank() - 1].iter().product(),
        inputs,
        outputs,
    }
}

fn with_width(shape: &Shape, width: usize) -> Shape {
    let mut shape = shape.clone();
    let last = shape.rank() - 1;
    shape[last] = width;
    shape
}

fn forward(x: FlexTensor, weight: FlexTensor, bias: Option<FlexTensor>) -> FlexTensor {
    let (x, weight, bias) = (
        x.to_contiguous(),
        weight.to_contiguous(),
        bias.map(|bias| bias.to_contiguous()),
    );
    let sizes = sizes(&x.shape(), &weight.shape());
    // SAFETY: the kernel writes all of y.
    unsafe {
        filled_tensor(with_width(&x.shape(), sizes.outputs), |y| {
            kernel::forward(
                sizes,
                values(&x),
                values(&weight),
                bias.as_ref().map(values),
                y,
            );
        })
    }
}

impl LinearOps for Flex {
    fn linear_map(x: FlexTensor, weight: FlexTensor) -> FlexTensor {
        forward(x, weight, None)
    }

    fn linear_map_with_bias(x: FlexTensor, weight: FlexTensor, bias: FlexTensor) -> FlexTensor {
        forward(x, weight, Some(bias))
    }
}

impl LinearGradients for Flex {
    fn linear_dx(dy: FlexTensor, weight: FlexTensor) -> FlexTensor {
        let (dy, weight) = (dy.to_contiguous(), weight.to_contiguous());
        let shape = with_width(&dy.shape(), weight.shape()[1]);
        let sizes = sizes(&shape, &weight.shape());
        // SAFETY: the kernel writes all of dx.
        unsafe {
            filled_tensor(shape, |dx| {
                kernel::input_gradient(sizes, values(&dy), values(&weight), dx)
            })
        }
    }

    fn linear_dw(dy: FlexTensor, x: FlexTensor) -> FlexTensor {
        let (dy, x) = (dy.to_contiguous(), x.to_contiguous());
        let shape = Shape::new([width(&dy.shape()), width(&x.shape())]);
        let sizes = sizes(&x.shape(), &shape);
        // SAFETY: the kernel writes all of the gradient.
        unsafe {
            filled_tensor(shape, |dw| {
                kernel::weight_gradient(sizes, values(&dy), values(&x), dw)
            })
        }
    }

    fn linear_db(dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let outputs = width(&dy.shape());
        tensor(kernel::bias_gradient(outputs, values(&dy)), [outputs])
    }
}

/// What backward keeps: x if the weight needs a gradient, the weight if x does.
type Kept<B> = (Option<FloatTensor<B>>, Option<FloatTensor<B>>);

#[derive(Debug)]
struct Linear;

impl<B: LinearGradients> Backward<B, 2> for Linear {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Kept<B>, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let ([to_x, to_weight], (x, weight)) = (ops.parents, ops.state);
        if let Some((node, x)) = to_weight.zip(x) {
            gradients.register::<B>(node.id, B::linear_dw(dy.clone(), x));
        }
        if let Some((node, weight)) = to_x.zip(weight) {
            gradients.register::<B>(node.id, B::linear_dx(dy, weight));
        }
    }
}

#[derive(Debug)]
struct LinearWithBias;

impl<B: LinearGradients> Backward<B, 3> for LinearWithBias {
    type State = Kept<B>;

    fn backward(self, ops: Ops<Kept<B>, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let ([to_x, to_weight, to_bias], (x, weight)) = (ops.parents, ops.state);
        if let Some(node) = to_bias {
            gradients.register::<B>(node.id, B::linear_db(dy.clone()));
        }
        if let Some((node, x)) = to_weight.zip(x) {
            gradients.register::<B>(node.id, B::linear_dw(dy.clone(), x));
        }
        if let Some((node, weight)) = to_x.zip(weight) {
            gradients.register::<B>(node.id, B::linear_dx(dy, weight));
        }
    }
}

impl<B: LinearGradients, C: CheckpointStrategy> LinearOps for Autodiff<B, C> {
    fn linear_map(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        let (keep_x, keep_weight) = (weight.is_tracked(), x.is_tracked());
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match Linear
            .prepare::<C>([x_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let kept = (
                    keep_x.then(|| x.clone()),
                    keep_weight.then(|| weight.clone()),
                );
                prepared.finish(kept, B::linear_map(x, weight))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_map(x, weight)),
        }
    }

    fn linear_map_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let (keep_x, keep_weight) = (weight.is_tracked(), x.is_tracked());
        let ((x, x_node), (weight, weight_node), (bias, bias_node)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        match LinearWithBias
            .prepare::<C>([x_node, weight_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let kept = (
                    keep_x.then(|| x.clone()),
                    keep_weight.then(|| weight.clone()),
                );
                prepared.finish(kept, B::linear_map_with_bias(x, weight, bias))
            }
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::linear_map_with_bias(x, weight, bias))
            }
        }
    }
}
