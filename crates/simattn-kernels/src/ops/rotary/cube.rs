use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;

use super::{RotaryGradient, RotaryOps};
use crate::cube::rotary::Rotation;

type Float = FloatTensor<CubeBackend>;

fn rotation(angles: Float, half: usize) -> Rotation {
    Rotation {
        table: into_contiguous(angles),
        first: 0,
        half,
    }
}

impl RotaryOps for CubeBackend {
    fn rotate_pairs(x: Float, angles: Float, half: usize) -> Float {
        rotation(angles, half).apply(&into_contiguous(x))
    }
}

impl RotaryGradient for CubeBackend {
    fn rotate_pairs_back(dy: Float, angles: Float, half: usize) -> Float {
        rotation(angles, half).undo(&into_contiguous(dy))
    }
}
