use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, activation};

use super::cube::{has_gpu_kernels, has_gpu_kernels_for};
use super::flex::{filled_tensor, has_kernels, tensor, values, width};
use crate::call::GeluForm;
use crate::cpu::activation as kernel;
use crate::cpu::linear::bias_gradient;
use crate::cpu::output::filled;
use crate::reference;

/// GELU of each value.
pub fn gelu<const R: usize>(x: Tensor<R>, form: GeluForm) -> Tensor<R> {
    if has_kernels(&x) || has_gpu_kernels(&x) {
        return Tensor::from_dispatch(Dispatch::gelu_of(x.into_dispatch(), form));
    }
    match form {
        GeluForm::Exact => reference::gelu(x),
        GeluForm::Tanh => activation::gelu_approximate(x),
    }
}

/// GELU of `x` [.., F] + `bias` `[F]`: the end of a linear map and the activation after it in one pass.
pub fn bias_gelu<const R: usize>(x: Tensor<R>, bias: Tensor<1>, form: GeluForm) -> Tensor<R> {
    if has_kernels(&x) && has_kernels(&bias) || has_gpu_kernels_for(&x, &bias) {
        return Tensor::from_dispatch(Dispatch::gelu_of_sum(
            x.into_dispatch(),
            bias.into_dispatch(),
            form,
        ));
    }
    gelu(x + bias.unsqueeze(), form)
}

/// silu(`gate`) · `up`, value by value.
pub fn swiglu<const R: usize>(gate: Tensor<R>, up: Tensor<R>) -> Tensor<R> {
    if has_kernels(&gate) && has_kernels(&up) || has_gpu_kernels_for(&gate, &up) {
        return Tensor::from_dispatch(Dispatch::swiglu_of(
            gate.into_dispatch(),
            up.into_dispatch(),
        ));
    }
    reference::swiglu(gate, up)
}

/// [`swiglu`] of one tensor [.., 2F] that holds the gate before the other factor: [.., F].
///
/// # Panics
/// If the last axis is odd.
pub fn swiglu_packed<const R: usize>(gate_up: Tensor<R>) -> Tensor<R> {
    let width = gate_up.dims()[R - 1];
    assert!(
        width.is_multiple_of(2),
        "a packed SwiGLU needs an even last axis, not {width}"
    );
    if has_kernels(&gate_up) || has_gpu_kernels(&gate_up) {
        return Tensor::from_dispatch(Dispatch::swiglu_of_halves(gate_up.into_dispatch()));
    }
    let half = |start| gate_up.clone().narrow(R - 1, start, width / 2);
    reference::swiglu(half(0), half(width / 2))
}

/// The activations as operations of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait ActivationOps: Backend {
    /// GELU of each value.
    fn gelu_of(x: FloatTensor<Self>, form: GeluForm) -> FloatTensor<Self>;
    /// GELU of x + bias.
    fn gelu_of_sum(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self>;
    /// silu(a) · b
    fn swiglu_of(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    /// silu(first half) · second half of the last axis.
    fn swiglu_of_halves(ab: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The gradients that a backend with [`ActivationOps`] has.
pub trait ActivationGradients: ActivationOps {
    /// The gradient of x, for x or x + bias.
    fn gelu_dx(
        x: FloatTensor<Self>,
        bias: Option<FloatTensor<Self>>,
        dy: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self>;
    /// The gradient of the bias from that of x.
    fn gelu_db(dx: FloatTensor<Self>) -> FloatTensor<Self>;
    /// The gradients of a and b.
    fn swiglu_gradients(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// The gradient of both halves.
    fn swiglu_of_halves_gradient(ab: FloatTensor<Self>, dy: FloatTensor<Self>)
    -> FloatTensor<Self>;
}

fn half(shape: &Shape) -> Shape {
    let mut shape = shape.clone();
    let last = shape.rank() - 1;
    shape[last] /= 2;
    shape
}

impl ActivationOps for Flex {
    fn gelu_of(x: FlexTensor, form: GeluForm) -> FlexTensor {
        let x = x.to_contiguous();
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(x.shape(), |y| kernel::gelu(form, values(&x), None, y)) }
    }

    fn gelu_of_sum(x: FlexTensor, bias: FlexTensor, form: GeluForm) -> FlexTensor {
        let (x, bias) = (x.to_contiguous(), bias.to_contiguous());
        assert_eq!(
            bias.shape()[0],
            width(&x.shape()),
            "a bias for each feature of x"
        );
        // SAFETY: the kernel writes all of y.
        unsafe {
            filled_tensor(x.shape(), |y| {
                kernel::gelu(form, values(&x), Some(values(&bias)), y)
            })
        }
    }

    fn swiglu_of(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(a.shape(), |y| kernel::swiglu(values(&a), values(&b), y)) }
    }

    fn swiglu_of_halves(ab: FlexTensor) -> FlexTensor {
        let ab = ab.to_contiguous();
        let shape = half(&ab.shape());
        let width = width(&shape);
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(shape, |y| kernel::swiglu_packed(width, values(&ab), y)) }
    }
}

impl ActivationGradients for Flex {
    fn gelu_dx(
        x: FlexTensor,
        bias: Option<FlexTensor>,
        dy: FlexTensor,
        form: GeluForm,
    ) -> FlexTensor {
        let (x, bias, dy) = (
            x.to_contiguous(),
            bias.map(|bias| bias.to_contiguous()),
            dy.to_contiguous(),
        );
        let bias = bias.as_ref().map(values);
        // SAFETY: the kernel writes all of dx.
        unsafe {
            filled_tensor(x.shape(), |dx| {
                kernel::gelu_gradient(form, values(&x), bias, values(&dy), dx)
            })
        }
    }

    fn gelu_db(dx: FlexTensor) -> FlexTensor {
        let dx = dx.to_contiguous();
        let width = width(&dx.shape());
        tensor(bias_gradient(width, values(&dx)), [width])
    }

    fn swiglu_gradients(a: FlexTensor, b: FlexTensor, dy: FlexTensor) -> (FlexTensor, FlexTensor) {
        let (a, b, dy) = (a.to_contiguous(), b.to_contiguous(), dy.to_contiguous());
        let len = values(&a).len();
        let mut db = Vec::new();
        // SAFETY: the kernel writes all of both gradients.
        let da = unsafe {
            filled(len, |da| {
                db = filled(len, |db| {
                    kernel::swiglu_gradient(values(&a), values(&b), values(&dy), da, db)
                });
            })
        };
        (tensor(da, a.shape()), tensor(db, b.shape()))
    }

    fn swiglu_of_halves_gradient(ab: FlexTensor, dy: FlexTensor) -> FlexTensor {
        let (ab, dy) = (ab.to_contiguous(), dy.to_contiguous());
        let width = width(&dy.shape());
        // SAFETY: the kernel writes all of the gradient.
        unsafe {
            filled_tensor(ab.shape(), |d_ab| {
                kernel::swiglu_packed_gradient(width, values(&ab), values(&dy), d_ab);
            })
        }
    }
}

#[derive(Debug)]
struct Gelu(GeluForm);

impl<B: ActivationGradients> Backward<B, 1> for Gelu {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<B>(node.id, B::gelu_dx(ops.state, None, dy, self.0));
        }
    }
}

#[derive(Debug)]
struct BiasGelu(GeluForm);

impl<B: ActivationGradients> Backward<B, 2> for BiasGelu {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let ([to_x, to_bias], (x, bias)) = (ops.parents, ops.state);
        let dx = B::gelu_dx(x, Some(bias), dy, self.0);
        if let Some(node) = to_bias {
            gradients.register::<B>(node.id, B::gelu_db(dx.clone()));
        }
        if let Some(node) = to_x {
            gradients.register::<B>(node.id, dx);
        }
    }
}

#[derive(Debug)]
struct SwiGlu;

impl<B: ActivationGradients> Backward<B, 2> for SwiGlu {
    type State = (FloatTensor<B>, FloatTensor<B>);

    fn backward(self, ops: Ops<Self::State, 2>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let ([to_a, to_b], (a, b)) = (ops.parents, ops.state);
        let (da, db) = B::swiglu_gradients(a, b, dy);
        if let Some(node) = to_a {
            gradients.register::<B>(node.id, da);
        }
        if let Some(node) = to_b {
            gradients.register::<B>(node.id, db);
        }
    }
}

#[derive(Debug)]
struct PackedSwiGlu;

impl<B: ActivationGradients> Backward<B, 1> for PackedSwiGlu {
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<B>(node.id, B::swiglu_of_halves_gradient(ops.state, dy));
        }
    }
}

impl<B: ActivationGradients, C: CheckpointStrategy> ActivationOps for Autodiff<B, C> {
    fn gelu_of(x: FloatTensor<Self>, form: GeluForm) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        match Gelu(form).prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(x.clone(), B::gelu_of(x, form)),
            OpsKind::UnTracked(prepared) => prepared.finish(B::gelu_of(x, form)),
        }
    }

    fn gelu_of_sum(
        x: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (bias, bias_node)) = (x.into_parts(), bias.into_parts());
        match BiasGelu(form)
            .prepare::<C>([x_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                prepared.finish((x.clone(), bias.clone()), B::gelu_of_sum(x, bias, form))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::gelu_of_sum(x, bias, form)),
        }
    }

    fn swiglu_of(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        match SwiGlu
            .prepare::<C>([a_node, b_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                prepared.finish((a.clone(), b.clone()), B::swiglu_of(a, b))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::swiglu_of(a, b)),
        }
    }

    fn swiglu_of_halves(ab: FloatTensor<Self>) -> FloatTensor<Self> {
        let (ab, node) = ab.into_parts();
        match PackedSwiGlu.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => prepared.finish(ab.clone(), B::swiglu_of_halves(ab)),
            OpsKind::UnTracked(prepared) => prepared.finish(B::swiglu_of_halves(ab)),
        }
    }
}
