use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use crate::call::GeluForm;
use crate::cube::columns::column_sums;
use crate::cube::linear as kernel;
use crate::ops::activated_linear::ActivatedLinearOps;
use crate::ops::activation::ActivationOps;
use crate::ops::linear::{LinearGradients, LinearOps};
use crate::ops::normed_linear::{NormedForm, NormedLinearOps};

type Float = FloatTensor<CubeBackend>;

impl LinearOps for CubeBackend {
    fn linear_map(x: Float, weight: Float) -> Float {
        kernel::linear_map(x, weight, None)
    }

    fn linear_map_with_bias(x: Float, weight: Float, bias: Float) -> Float {
        kernel::linear_map(x, weight, Some(bias))
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

impl NormedLinearOps for CubeBackend {
    fn linear_of_normed(
        x: Float,
        weight: Float,
        bias: Float,
        _: Float,
        _: Float,
        _: Float,
        form: NormedForm,
    ) -> Float {
        kernel::linear_map(x, weight, form.bias.then_some(bias))
    }
}

impl ActivatedLinearOps for CubeBackend {
    fn linear_of_gelu(x: Float, weight: Float, form: GeluForm) -> Float {
        Self::linear_map(Self::gelu_of(x, form), weight)
    }

    fn linear_of_gelu_with_bias(x: Float, weight: Float, bias: Float, form: GeluForm) -> Float {
        Self::linear_map_with_bias(Self::gelu_of(x, form), weight, bias)
    }

    fn linear_of_swiglu(a: Float, b: Float, weight: Float) -> Float {
        Self::linear_map(Self::swiglu_of(a, b), weight)
    }

    fn linear_of_swiglu_with_bias(a: Float, b: Float, weight: Float, bias: Float) -> Float {
        Self::linear_map_with_bias(Self::swiglu_of(a, b), weight, bias)
    }
}
