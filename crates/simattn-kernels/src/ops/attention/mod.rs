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
use super::portable_attention;
use crate::call::AttentionOptions;

/// Softmax attention: `q` [B, H, T, D'], `k` [B, G, S, D'], `v` [B, G, S, D] → [B, H, T, D]; see
/// [`reference::attention`](crate::reference::attention).
///
/// Memory grows with T and S, never with their product, forward and backward. Inputs may be views,
/// such as swapped axes of [B, T, H, D] or slices of a packed projection, as long as the features
/// of a token are contiguous: they are read in place. The result is in memory as [B, T, H, D], so
/// that swapping its axes back costs nothing.
///
/// # Panics
/// If G does not divide H or the shapes do not match.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    options: &AttentionOptions,
) -> Tensor<4> {
    let on_cpu = has_kernels(&q) && has_kernels(&k) && has_kernels(&v);
    let on_gpu = [&q, &k, &v]
        .iter()
        .all(|x| has_gpu_kernels(x) && x.dtype() == q.dtype());
    if !(on_cpu || on_gpu) {
        return portable_attention::attention(q, k, v, options);
    }
    Tensor::from_dispatch(Dispatch::softmax_attention(
        q.into_dispatch(),
        k.into_dispatch(),
        v.into_dispatch(),
        *options,
    ))
}

/// Softmax attention as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait AttentionOps: Backend {
    /// [`attention`]
    fn softmax_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self>;
}

/// What backward reads beside the gradient of the output: q, k, v, the output and the log-sum-exp.
pub type AttentionState<B> = [FloatTensor<B>; 5];

/// The gradients that a backend with [`AttentionOps`] has.
pub trait AttentionGradients: AttentionOps {
    /// The output, and the log-sum-exp of every query [B, H, T].
    fn attention_with_sums(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
    /// Gradients of q, k and v.
    fn attention_gradients(
        state: AttentionState<Self>,
        dy: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> [FloatTensor<Self>; 3];
}

/// Of q, k and v.
#[derive(Debug)]
struct SoftmaxAttention {
    options: AttentionOptions,
}

impl<B: AttentionGradients> Differentiable<B, 3> for SoftmaxAttention {
    type Kept = AttentionState<B>;

    fn gradients(
        self,
        state: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        B::attention_gradients(state, dy, self.options).map(Some)
    }
}

impl<B: AttentionGradients, C: CheckpointStrategy> AttentionOps for Autodiff<B, C> {
    fn softmax_attention(
        q: FloatTensor<Self>,
        k: FloatTensor<Self>,
        v: FloatTensor<Self>,
        options: AttentionOptions,
    ) -> FloatTensor<Self> {
        let ([q, k, v], nodes) = parts([q, k, v]);
        (SoftmaxAttention { options }).record::<C>(nodes, |recorded| {
            if !recorded {
                return (B::softmax_attention(q, k, v, options), None);
            }
            let (out, sums) = B::attention_with_sums(q.clone(), k.clone(), v.clone(), options);
            (out.clone(), Some([q, k, v, out, sums]))
        })
    }
}
