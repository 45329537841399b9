#[cfg(feature = "cube")]
mod cube;
mod flex;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, TensorMetadata, backend_extension};
use burn::tensor::{Int, Tensor};

use super::autodiff::{Differentiable, parts};
use super::flex::has_kernels;
use super::gpu::has_gpu_kernels;
use crate::reference;

/// The rows of `weight` [V, C] that `ids` [B, T] name: [B, T, C].
///
/// On CubeCL devices an id that is not in 0..V gives zeros.
///
/// # Panics
/// On other devices, if an id is not in 0..V.
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    if has_kernels(&weight) || has_gpu_kernels(&weight) {
        return Tensor::from_dispatch(Dispatch::embedding_rows(
            weight.into_dispatch(),
            ids.into_dispatch(),
        ));
    }
    reference::embedding(weight, ids)
}

/// The embedding as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait EmbeddingOps: Backend {
    /// The rows of `weight` that `ids` name.
    fn embedding_rows(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self>;
}

/// The gradient that a backend with [`EmbeddingOps`] has.
pub trait EmbeddingGradient: EmbeddingOps {
    /// The gradient of a table of `rows` rows.
    fn embedding_table_gradient(
        rows: usize,
        ids: IntTensor<Self>,
        dy: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

/// Of the table.
#[derive(Debug)]
struct Embedding {
    rows: usize,
}

impl<B: EmbeddingGradient> Differentiable<B, 1> for Embedding {
    /// The ids.
    type Kept = IntTensor<B>;

    fn gradients(
        self,
        ids: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 1],
    ) -> [Option<FloatTensor<B>>; 1] {
        [Some(B::embedding_table_gradient(self.rows, ids, dy))]
    }
}

impl<B: EmbeddingGradient, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn embedding_rows(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let ([weight], nodes) = parts([weight]);
        let rows = weight.shape()[0];
        (Embedding { rows }).record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| ids.clone());
            (B::embedding_rows(weight, ids), kept)
        })
    }
}
