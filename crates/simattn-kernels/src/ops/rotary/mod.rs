#[cfg(feature = "cube")]
mod cube;
mod flex;

use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{DType, Tensor};

use super::autodiff::{Differentiable, parts};
use super::flex::has_kernels;
use super::gpu::has_gpu_kernels;
use crate::reference::{self, RopeTable};

/// Rotates the first features of every head by the angles of its token's position: `x` [B, T, H,
/// D], `table` of T positions; see [`reference::rotate`](crate::reference::rotate).
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

/// Of x.
#[derive(Debug)]
struct Rotary {
    half: usize,
}

impl<B: RotaryGradient> Differentiable<B, 1> for Rotary {
    /// The angles.
    type Kept = FloatTensor<B>;

    fn gradients(
        self,
        angles: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 1],
    ) -> [Option<FloatTensor<B>>; 1] {
        [Some(B::rotate_pairs_back(dy, angles, self.half))]
    }
}

impl<B: RotaryGradient, C: CheckpointStrategy> RotaryOps for Autodiff<B, C> {
    fn rotate_pairs(
        x: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        half: usize,
    ) -> FloatTensor<Self> {
        let ([x], nodes) = parts([x]);
        let angles = angles.into_primitive();
        (Rotary { half }).record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| angles.clone());
            (B::rotate_pairs(x, angles, half), kept)
        })
    }
}
