use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{NormForm, NormGradients, NormOps};
use crate::cube::norm::{norm_gradients, normalised};
use crate::ops::maybe::Maybe;

type Float = FloatTensor<CubeBackend>;

impl NormOps for CubeBackend {
    fn normalise(x: Float, weight: Float, bias: Maybe<Self>, epsilon: f64) -> Float {
        normalised(x, weight, bias.into_option(), epsilon)
    }
}

impl NormGradients for CubeBackend {
    fn norm_gradients(x: Float, weight: Float, dy: Float, form: NormForm) -> [Option<Float>; 3] {
        let [dx, dw, db] = norm_gradients(x, weight, dy, form.biased, form.epsilon);
        [Some(dx), Some(dw), form.biased.then_some(db)]
    }
}
