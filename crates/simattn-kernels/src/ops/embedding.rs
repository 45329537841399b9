use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Int, Shape, Tensor};

use super::cube::has_gpu_kernels;
use super::flex::{filled_tensor, has_kernels, ids, values};
use crate::cpu::embedding as kernel;
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

fn rows_of(tensor: &FlexTensor) -> Vec<u32> {
    ids(tensor)
        .into_iter()
        .map(|id| id.expect("ids of an embedding are not negative"))
        .collect()
}

impl EmbeddingOps for Flex {
    fn embedding_rows(weight: FlexTensor, ids: FlexTensor) -> FlexTensor {
        let weight = weight.to_contiguous();
        let width = weight.shape()[1];
        let rows = rows_of(&ids);
        let shape = ids
            .shape()
            .iter()
            .copied()
            .chain([width])
            .collect::<Shape>();
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(shape, |y| kernel::forward(width, values(&weight), &rows, y)) }
    }
}

impl EmbeddingGradient for Flex {
    fn embedding_table_gradient(rows: usize, ids: FlexTensor, dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let width = super::flex::width(&dy.shape());
        let ids = rows_of(&ids);
        // SAFETY: the kernel writes all of the gradient.
        unsafe {
            filled_tensor(Shape::new([rows, width]), |d_table| {
                kernel::table_gradient(width, rows, &ids, values(&dy), d_table);
            })
        }
    }
}

#[derive(Debug)]
struct Embedding {
    rows: usize,
}

impl<B: EmbeddingGradient> Backward<B, 1> for Embedding {
    type State = IntTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<B>(
                node.id,
                B::embedding_table_gradient(self.rows, ops.state, dy),
            );
        }
    }
}

impl<B: EmbeddingGradient, C: CheckpointStrategy> EmbeddingOps for Autodiff<B, C> {
    fn embedding_rows(weight: FloatTensor<Self>, ids: IntTensor<Self>) -> FloatTensor<Self> {
        let (weight, node) = weight.into_parts();
        let rows = weight.shape()[0];
        match (Embedding { rows })
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                prepared.finish(ids.clone(), B::embedding_rows(weight, ids))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::embedding_rows(weight, ids)),
        }
    }
}
