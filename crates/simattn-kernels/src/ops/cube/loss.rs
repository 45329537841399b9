use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;

use crate::cpu::loss::HeadGradientsWanted;
use crate::cube::loss as kernel;
use crate::ops::loss::{LossGradients, LossOps, WithGradients};

type Float = FloatTensor<CubeBackend>;
type Int = IntTensor<CubeBackend>;

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
