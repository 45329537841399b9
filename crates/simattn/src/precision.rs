//! The float type that a pass computes in.

use burn::tensor::{DType, Tensor};
use serde::{Deserialize, Serialize};
use simattn_kernels::ops::Normed;

/// The float type that a pass computes in. Weights, and with them gradients and the optimiser's
/// moments, are float32 in either; so are the residual stream, norms, sums inside operations, and
/// the loss.
///
/// What is rounded to bfloat16 is what linear maps and attention read and write: activations, and
/// copies of the weights made for the pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Everything in the weights' own type.
    #[default]
    Float32,
    /// Maps and attention in bfloat16: half the memory of activations, and a GPU's fastest matrix
    /// units.
    Bfloat16,
}

impl Precision {
    /// What maps and attention read and give, where weights are float32.
    pub fn dtype(self) -> DType {
        match self {
            Self::Float32 => DType::F32,
            Self::Bfloat16 => DType::BF16,
        }
    }

    /// The normalised state as a block's maps read it.
    pub(crate) fn normed(self, x: Normed<3>) -> Normed<3> {
        match self {
            Self::Float32 => x,
            Self::Bfloat16 => x.cast(DType::BF16),
        }
    }

    /// States as the head reads them.
    pub(crate) fn narrow<const R: usize>(self, x: Tensor<R>) -> Tensor<R> {
        match self {
            Self::Float32 => x,
            Self::Bfloat16 => x.cast(DType::BF16),
        }
    }

    /// What maps gave, as the residual stream or a caller takes it.
    pub(crate) fn widen<const R: usize>(self, y: Tensor<R>) -> Tensor<R> {
        match self {
            Self::Float32 => y,
            Self::Bfloat16 => y.cast(DType::F32),
        }
    }
}
