use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use crate::cube::norm::{norm_gradients, normalised};
use crate::ops::norm::{NormGradients, NormOps};

type Float = FloatTensor<CubeBackend>;

impl NormOps for CubeBackend {
    fn layer_normalise(x: Float, weight: Float, bias: Float, epsilon: f64) -> Float {
        normalised(x, weight, Some(bias), epsilon)
    }

    fn rms_normalise(x: Float, weight: Float, epsilon: f64) -> Float {
        normalised(x, weight, None, epsilon)
    }
}

impl NormGradients for CubeBackend {
    fn layer_norm_gradients(x: Float, weight: Float, dy: Float, epsilon: f64) -> [Float; 3] {
        norm_gradients(x, weight, dy, true, epsilon)
    }

    fn rms_norm_gradients(x: Float, weight: Float, dy: Float, epsilon: f64) -> [Float; 2] {
        let [dx, dw, _] = norm_gradients(x, weight, dy, false, epsilon);
        [dx, dw]
    }
}
