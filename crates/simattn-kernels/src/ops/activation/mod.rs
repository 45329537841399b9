#[cfg(feature = "cube")]
mod cube;
mod flex;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Tensor, activation};

use super::autodiff::{Differentiable, parts};
use super::flex::has_kernels;
use super::gpu::{has_gpu_kernels, has_gpu_kernels_for};
use super::maybe::{Maybe, dispatched};
use crate::call::GeluForm;
use crate::reference;

/// GELU of each value.
pub fn gelu<const R: usize>(x: Tensor<R>, form: GeluForm) -> Tensor<R> {
    if has_kernels(&x) || has_gpu_kernels(&x) {
        let x = x.into_dispatch();
        return Tensor::from_dispatch(Dispatch::gelu_of(x, Maybe::Absent, form));
    }
    match form {
        GeluForm::Exact => reference::gelu(x),
        GeluForm::Tanh => activation::gelu_approximate(x),
    }
}

/// GELU of `x` [.., F] + `bias` `[F]`: the end of a linear map and the activation after it in one
/// pass.
pub fn bias_gelu<const R: usize>(x: Tensor<R>, bias: Tensor<1>, form: GeluForm) -> Tensor<R> {
    if has_kernels(&x) && has_kernels(&bias) || has_gpu_kernels_for(&x, &bias) {
        return Tensor::from_dispatch(Dispatch::gelu_of(
            x.into_dispatch(),
            dispatched(Some(bias)),
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
    /// GELU of each value of x + bias.
    fn gelu_of(
        x: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self>;
    /// silu(a) · b
    fn swiglu_of(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self>;
    /// silu(first half) · second half of the last axis.
    fn swiglu_of_halves(ab: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The gradients that a backend with [`ActivationOps`] has.
pub trait ActivationGradients: ActivationOps {
    /// The gradient of x.
    fn gelu_dx(
        x: FloatTensor<Self>,
        bias: Maybe<Self>,
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

/// Of x and bias.
#[derive(Debug)]
struct Gelu(GeluForm);

impl<B: ActivationGradients> Differentiable<B, 2> for Gelu {
    /// x and bias.
    type Kept = (FloatTensor<B>, Maybe<B>);

    fn gradients(
        self,
        (x, bias): Self::Kept,
        dy: FloatTensor<B>,
        [_, to_bias]: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        let dx = B::gelu_dx(x, bias, dy, self.0);
        let db = to_bias.then(|| B::gelu_db(dx.clone()));
        [Some(dx), db]
    }
}

#[derive(Debug)]
struct SwiGlu;

impl<B: ActivationGradients> Differentiable<B, 2> for SwiGlu {
    type Kept = [FloatTensor<B>; 2];

    fn gradients(
        self,
        [a, b]: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        let (da, db) = B::swiglu_gradients(a, b, dy);
        [Some(da), Some(db)]
    }
}

#[derive(Debug)]
struct PackedSwiGlu;

impl<B: ActivationGradients> Differentiable<B, 1> for PackedSwiGlu {
    type Kept = FloatTensor<B>;

    fn gradients(
        self,
        ab: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 1],
    ) -> [Option<FloatTensor<B>>; 1] {
        [Some(B::swiglu_of_halves_gradient(ab, dy))]
    }
}

impl<B: ActivationGradients, C: CheckpointStrategy> ActivationOps for Autodiff<B, C> {
    fn gelu_of(x: FloatTensor<Self>, bias: Maybe<Self>, form: GeluForm) -> FloatTensor<Self> {
        let ([x], [x_node]) = parts([x]);
        let (bias, bias_node) = bias.into_parts(&x);
        Gelu(form).record::<C>([x_node, bias_node], |recorded| {
            let kept = recorded.then(|| (x.clone(), bias.clone()));
            (B::gelu_of(x, bias, form), kept)
        })
    }

    fn swiglu_of(a: FloatTensor<Self>, b: FloatTensor<Self>) -> FloatTensor<Self> {
        let ([a, b], nodes) = parts([a, b]);
        SwiGlu.record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| [a.clone(), b.clone()]);
            (B::swiglu_of(a, b), kept)
        })
    }

    fn swiglu_of_halves(ab: FloatTensor<Self>) -> FloatTensor<Self> {
        let ([ab], nodes) = parts([ab]);
        PackedSwiGlu.record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| ab.clone());
            (B::swiglu_of_halves(ab), kept)
        })
    }
}
