use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};

use super::{LossGradients, LossOps, WithGradients};
use crate::call::HeadGradientsWanted;
use crate::cpu::loss::{self as kernel, HeadShape, IGNORED};
use crate::cpu::output::filled;
use crate::cpu::scale::scale;
use crate::ops::flex::{ids, tensor, values};

fn targets_of(tensor: &FlexTensor) -> Vec<u32> {
    ids(tensor)
        .into_iter()
        .map(|target| target.unwrap_or(IGNORED))
        .collect()
}

impl LossOps for Flex {
    fn cross_entropy_of(logits: FlexTensor, targets: FlexTensor) -> FlexTensor {
        let logits = logits.to_contiguous();
        let loss = kernel::cross_entropy(
            logits.shape()[1],
            values(&logits),
            &targets_of(&targets),
            None,
        );
        tensor(vec![loss.mean as f32], [1])
    }

    fn cross_entropy_of_head(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: FlexTensor,
    ) -> FlexTensor {
        Self::head_with_gradients(hidden, weight, targets, HeadGradientsWanted::default()).0
    }
}

impl LossGradients for Flex {
    fn cross_entropy_with_gradient(
        logits: FlexTensor,
        targets: FlexTensor,
    ) -> (FlexTensor, FlexTensor) {
        let logits = logits.to_contiguous();
        let (targets, mut mean) = (targets_of(&targets), f64::NAN);
        // SAFETY: the kernel writes all of the gradient.
        let gradient = unsafe {
            filled(values(&logits).len(), |out| {
                mean =
                    kernel::cross_entropy(logits.shape()[1], values(&logits), &targets, Some(out))
                        .mean;
            })
        };
        (
            tensor(vec![mean as f32], [1]),
            tensor(gradient, logits.shape()),
        )
    }

    fn head_with_gradients(
        hidden: FlexTensor,
        weight: FlexTensor,
        targets: FlexTensor,
        wanted: HeadGradientsWanted,
    ) -> WithGradients<Self> {
        let (hidden, weight) = (hidden.to_contiguous(), weight.to_contiguous());
        let ([tokens, width], [vocabulary, features]) =
            (hidden.shape().dims(), weight.shape().dims());
        assert_eq!(
            width, features,
            "features of the hidden states and of the head's weight"
        );
        let shape = HeadShape {
            tokens,
            width,
            vocabulary,
        };
        let targets = targets_of(&targets);
        let (loss, gradients) =
            kernel::head_cross_entropy(shape, values(&hidden), values(&weight), &targets, wanted);
        let gradients = [
            gradients
                .hidden
                .map(|values| tensor(values, hidden.shape())),
            gradients
                .weight
                .map(|values| tensor(values, weight.shape())),
        ];
        (tensor(vec![loss.mean as f32], [1]), gradients)
    }

    fn scaled(mut gradient: FlexTensor, factor: FlexTensor) -> FlexTensor {
        let factor = values(&factor.to_contiguous())[0];
        if factor != 1.0 {
            scale(gradient.storage_mut(), factor);
        }
        gradient
    }
}
