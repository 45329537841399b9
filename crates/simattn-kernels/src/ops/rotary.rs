use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{DType, Tensor};

use super::cube::has_gpu_kernels;
use super::flex::{filled_tensor, has_kernels, values};
use crate::cpu::rotary::{RotaryShape, rotate as kernel};
use crate::reference::{self, RopeTable};

/// Rotates the first features of every head by the angles of its token's position: `x` [B, T, H, D], `table` of T positions; see
/// [`reference::rotate`](crate::reference::rotate).
pub fn rotate(x: Tensor<4>, table: &RopeTable) -> Tensor<4> {
    if !has_rotary_kernels(&x, table) {
        return reference::rotate(x, table);
    }
    let [tokens, half] = table.cos.dims();
    assert_eq!(x.dims()[1], tokens, "tokens, and positions of the table");
    // Constants: all cosines, then all sines.
    let flat = |t: &Tensor<2>| t.clone().reshape([tokens * half]);
    let angles = Tensor::<1>::cat(vec![flat(&table.cos), flat(&table.sin)], 0);
    Tensor::from_dispatch(Dispatch::rotate_pairs(
        x.into_dispatch(),
        angles.into_dispatch(),
        half,
    ))
}

/// Whether [`rotate`] has a kernel for these: on GPUs `x` may have a narrower type than the table.
pub(crate) fn has_rotary_kernels(x: &Tensor<4>, table: &RopeTable) -> bool {
    let on_cpu = has_kernels(x) && has_kernels(&table.cos);
    on_cpu || has_gpu_kernels(x) && has_gpu_kernels(&table.cos) && table.cos.dtype() == DType::F32
}

/// The rotation as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait RotaryOps: Backend {
    /// [`rotate`]; `angles` are all cosines [T, half], then all sines.
    fn rotate_pairs(
        x: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        half: usize,
    ) -> FloatTensor<Self>;
}

/// The gradient that a backend with [`RotaryOps`] has.
pub trait RotaryGradient: RotaryOps {
    /// The gradient of x: the rotation back.
    fn rotate_pairs_back(
        dy: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        half: usize,
    ) -> FloatTensor<Self>;
}

fn turned(x: FlexTensor, angles: FlexTensor, half: usize, sign: f32) -> FlexTensor {
    let (x, angles) = (x.to_contiguous(), angles.to_contiguous());
    let [_, tokens, heads, width] = x.shape().dims();
    let shape = RotaryShape {
        tokens,
        heads,
        width,
        half,
    };
    let (cos, sin) = values(&angles).split_at(tokens * half);
    // SAFETY: the kernel writes all of y.
    unsafe { filled_tensor(x.shape(), |y| kernel(shape, sign, cos, sin, values(&x), y)) }
}

impl RotaryOps for Flex {
    fn rotate_pairs(x: FlexTensor, angles: FlexTensor, half: usize) -> FlexTensor {
        turned(x, angles, half, 1.0)
    }
}

impl RotaryGradient for Flex {
    fn rotate_pairs_back(dy: FlexTensor, angles: FlexTensor, half: usize) -> FlexTensor {
        turned(dy, angles, half, -1.0)
    }
}

#[derive(Debug)]
struct Rotary {
    half: usize,
}

impl<B: RotaryGradient> Backward<B, 1> for Rotary {
    /// The angles.
    type State = FloatTensor<B>;

    fn backward(self, ops: Ops<Self::State, 1>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<B>(node.id, B::rotate_pairs_back(dy, ops.state, self.half));
        }
    }
}

impl<B: RotaryGradient, C: CheckpointStrategy> RotaryOps for Autodiff<B, C> {
    fn rotate_pairs(
        x: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        half: usize,
    ) -> FloatTensor<Self> {
        let ((x, node), (angles, _)) = (x.into_parts(), angles.into_parts());
        match (Rotary { half })
            .prepare::<C>([node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                prepared.finish(angles.clone(), B::rotate_pairs(x, angles, half))
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::rotate_pairs(x, angles, half)),
        }
    }
}
