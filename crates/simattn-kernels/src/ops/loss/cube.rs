use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;

use super::{LossGradients, LossOps, WithGradients};
use crate::call::HeadGradientsWanted;
use crate::cube::loss as kernel;
use crate::ops::gpu::has_gpu_kernels_for;

type Float = FloatTensor<CubeBackend>;
type Int = IntTensor<CubeBackend>;

/// Head and cross-entropy ([`head_cross_entropy`](crate::ops::head_cross_entropy)) of tensors
/// without autodiff on a CubeCL device, with the gradients of `hidden` and `weight`, where about
/// `logits` logits exist at a time, and at least 64 rows of them.
///
/// `None` for tensors that the kernels do not take.
pub fn head_with_gradients(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, burn::tensor::Int>,
    logits: usize,
) -> Option<(Tensor<1>, [Tensor<2>; 2])> {
    if !has_gpu_kernels_for(&hidden, &weight) {
        return None;
    }
    let hidden = hidden.try_into_primitive::<CubeBackend>().ok()?;
    let weight = weight.try_into_primitive::<CubeBackend>().ok()?;
    let targets = targets.try_into_primitive::<CubeBackend>().ok()?;
    let wanted = HeadGradientsWanted {
        hidden: true,
        weight: true,
    };
    let (loss, [of_hidden, of_weight]) =
        kernel::head_cross_entropy(hidden, weight, targets, wanted, logits);
    let [of_hidden, of_weight] =
        [of_hidden?, of_weight?].map(Tensor::from_primitive::<CubeBackend>);
    Some((
        Tensor::from_primitive::<CubeBackend>(loss),
        [of_hidden, of_weight],
    ))
}

impl LossOps for CubeBackend {
    fn cross_entropy_of(logits: Float, targets: Int) -> Float {
        kernel::cross_entropy(logits, targets, false).0
    }

    fn cross_entropy_of_head(hidden: Float, weight: Float, targets: Int) -> Float {
        Self::head_with_gradients(hidden, weight, targets, HeadGradientsWanted::default()).0
    }
}

impl LossGradients for CubeBackend {
    fn cross_entropy_with_gradient(logits: Float, targets: Int) -> (Float, Float) {
        kernel::cross_entropy(logits, targets, true)
    }

    fn head_with_gradients(
        hidden: Float,
        weight: Float,
        targets: Int,
        wanted: HeadGradientsWanted,
    ) -> WithGradients<Self> {
        kernel::head_cross_entropy(hidden, weight, targets, wanted, kernel::LOGITS)
    }

    fn scaled(gradient: Float, factor: Float) -> Float {
        kernel::scaled(gradient, factor)
    }
}
