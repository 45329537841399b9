use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{ActivationGradients, ActivationOps};
use crate::call::GeluForm;
use crate::cube::activation as kernel;
use crate::cube::columns::column_sums;
use crate::ops::maybe::Maybe;

type Float = FloatTensor<CubeBackend>;

impl ActivationOps for CubeBackend {
    fn gelu_of(x: Float, bias: Maybe<Self>, form: GeluForm) -> Float {
        kernel::gelu_of(x, bias.into_option(), form)
    }

    fn swiglu_of(a: Float, b: Float) -> Float {
        kernel::swiglu_of(a, b)
    }

    fn swiglu_of_halves(ab: Float) -> Float {
        kernel::swiglu_of_halves(ab)
    }
}

impl ActivationGradients for CubeBackend {
    fn gelu_dx(x: Float, bias: Maybe<Self>, dy: Float, form: GeluForm) -> Float {
        kernel::gelu_dx(x, bias.into_option(), dy, form)
    }

    fn gelu_db(dx: Float) -> Float {
        column_sums(dx)
    }

    fn swiglu_gradients(a: Float, b: Float, dy: Float) -> (Float, Float) {
        kernel::swiglu_gradients(a, b, dy)
    }

    fn swiglu_of_halves_gradient(ab: Float, dy: Float) -> Float {
        kernel::swiglu_of_halves_gradient(ab, dy)
    }
}
