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
use super::gpu::has_gpu_kernels_for;

/// Products of matrices: `left` [.., M, K] · `right` [.., K, N] → [.., M, N], with the same leading
/// axes.
///
/// Burn's own product but for float32 on GPUs, where Burn may multiply in fewer bits (TF32, ten
/// behind the point, on NVIDIA's cards). Here float32 is float32.
///
/// # Panics
/// If the shapes do not match.
pub fn product(left: Tensor<4>, right: Tensor<4>) -> Tensor<4> {
    let on_cpu = has_kernels(&left) && has_kernels(&right);
    if !(on_cpu || has_gpu_kernels_for(&left, &right)) {
        return left.matmul(right);
    }
    let ([a, b, _, inner], [c, d, depth, _]) = (left.dims(), right.dims());
    assert_eq!([a, b, inner], [c, d, depth], "left beside right");
    Tensor::from_dispatch(Dispatch::matrix_product(
        left.into_dispatch(),
        right.into_dispatch(),
    ))
}

/// The product of matrices as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait ProductOps: Backend {
    /// left · right
    fn matrix_product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// Of left and right.
#[derive(Debug)]
struct Product;

impl<B: ProductOps> Differentiable<B, 2> for Product {
    /// left if right needs a gradient, right if left does.
    type Kept = [Option<FloatTensor<B>>; 2];

    fn gradients(
        self,
        [left, right]: Self::Kept,
        dy: FloatTensor<B>,
        _: [bool; 2],
    ) -> [Option<FloatTensor<B>>; 2] {
        let turned = |x| B::float_swap_dims(x, 2, 3);
        let d_right = left.map(|left| B::matrix_product(turned(left), dy.clone()));
        let d_left = right.map(|right| B::matrix_product(dy, turned(right)));
        [d_left, d_right]
    }
}

impl<B: ProductOps, C: CheckpointStrategy> ProductOps for Autodiff<B, C> {
    fn matrix_product(left: FloatTensor<Self>, right: FloatTensor<Self>) -> FloatTensor<Self> {
        let (keep_left, keep_right) = (right.is_tracked(), left.is_tracked());
        let ([left, right], nodes) = parts([left, right]);
        Product.record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| {
                [
                    keep_left.then(|| left.clone()),
                    keep_right.then(|| right.clone()),
                ]
            });
            (B::matrix_product(left, right), kept)
        })
    }
}
