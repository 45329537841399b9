use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{LinearGradients, LinearOps};
use crate::cube::columns::column_sums;
use crate::cube::linear as kernel;
use crate::ops::maybe::Maybe;

type Float = FloatTensor<CubeBackend>;

impl LinearOps for CubeBackend {
    fn linear_map(x: Float, weight: Float, bias: Maybe<Self>) -> Float {
        kernel::linear_map(x, weight, bias.into_option())
    }
}

impl LinearGradients for CubeBackend {
    fn linear_dx(dy: Float, weight: Float) -> Float {
        kernel::linear_dx(dy, weight)
    }

    fn linear_dw(dy: Float, x: Float) -> Float {
        kernel::linear_dw(dy, x)
    }

    fn linear_db(dy: Float) -> Float {
        column_sums(dy)
    }
}
