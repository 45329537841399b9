use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};

use super::{NormForm, NormGradients, NormOps};
use crate::cpu::norm as kernel;
use crate::ops::flex::{filled_tensor, tensor, values};
use crate::ops::maybe::Maybe;

impl NormOps for Flex {
    fn normalise(x: FlexTensor, weight: FlexTensor, bias: Maybe<Self>, epsilon: f64) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let bias = bias.into_option().map(|bias| bias.to_contiguous());
        let epsilon = epsilon as f32;
        // SAFETY: the kernels write all of y.
        unsafe {
            filled_tensor(x.shape(), |y| match &bias {
                Some(bias) => {
                    kernel::layer_norm(epsilon, values(&x), values(&weight), values(bias), y);
                }
                None => kernel::rms_norm(epsilon, values(&x), values(&weight), y),
            })
        }
    }
}

impl NormGradients for Flex {
    fn norm_gradients(
        x: FlexTensor,
        weight: FlexTensor,
        dy: FlexTensor,
        form: NormForm,
    ) -> [Option<FlexTensor>; 3] {
        let [x, weight, dy] = [x, weight, dy].map(|x| x.to_contiguous());
        let (of_x, of_weight, of_dy) = (values(&x), values(&weight), values(&dy));
        let epsilon = form.epsilon as f32;
        let (mut dw, mut db) = (Vec::new(), None);
        // SAFETY: the kernels write all of dx.
        let dx = unsafe {
            filled_tensor(x.shape(), |dx| {
                if form.biased {
                    let (weight, bias) =
                        kernel::layer_norm_gradient(epsilon, of_x, of_weight, of_dy, dx);
                    (dw, db) = (weight, Some(bias));
                } else {
                    dw = kernel::rms_norm_gradient(epsilon, of_x, of_weight, of_dy, dx);
                }
            })
        };
        let like_weight = |values| tensor(values, weight.shape());
        [Some(dx), Some(like_weight(dw)), db.map(like_weight)]
    }
}
