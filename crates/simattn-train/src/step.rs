//! One step: micro-batches → losses and summed gradients, checked before they touch a weight.

use burn::module::ParamId;
use burn::tensor::{Device, Int, Tensor, TensorData};
use simattn::Decoder;
use simattn::named;
use simattn_data::Batch;

use crate::error::{Origin, TrainError};
use crate::gradients::{GradientSum, first_non_finite_weight};
use crate::groups::GroupSums;

/// What the micro-batches of one step gave.
#[derive(Debug)]
pub struct StepGradients {
    /// Mean loss in nats per token.
    pub loss: f64,
    /// The gradients, summed over the micro-batches.
    pub sum: GradientSum,
    /// Micro-batches in the sum: the mean gradient is the sum divided by them.
    pub micro_batches: usize,
    /// The global norm of the mean gradient.
    pub norm: f64,
}

/// Runs `micro_batches`, all of one shape, forward and backward.
///
/// `step` (from 1) and `learning_rate` only speak in errors.
///
/// # Errors
///
/// [`TrainError::NonFiniteLoss`] and [`TrainError::NonFiniteGradient`], with the tensor's name.
pub fn step_gradients(
    decoder: &Decoder,
    micro_batches: &[Batch],
    device: &Device,
    step: u64,
    learning_rate: f64,
) -> Result<StepGradients, TrainError> {
    let at = StepAt {
        decoder,
        device,
        step,
        learning_rate,
    };
    at.gradients(micro_batches, 1)
}

/// The model as it is before a step, and what speaks in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StepAt<'a> {
    pub(crate) decoder: &'a Decoder,
    pub(crate) device: &'a Device,
    /// From 1.
    pub(crate) step: u64,
    pub(crate) learning_rate: f64,
}

impl StepAt<'_> {
    /// [`step_gradients`] of micro-batches that are cut into `groups` equal groups.
    pub(crate) fn gradients(
        &self,
        micro_batches: &[Batch],
        groups: usize,
    ) -> Result<StepGradients, TrainError> {
        let mut sums = GroupSums::new(micro_batches.len().div_ceil(groups.max(1)));
        let mut losses = 0.0;
        for batch in micro_batches {
            let (inputs, targets) = tensors(batch, self.device);
            let loss = self.decoder.loss(inputs, targets);
            let value = number(&loss);
            if !value.is_finite() {
                return Err(self.wrong_loss(value, origin(self.decoder, &loss)));
            }
            losses += value;
            sums.add(self.decoder, loss.backward());
        }
        self.finish(losses, sums.finish(), micro_batches.len())
    }

    /// The sums of losses and gradients over `count` micro-batches, if they are finite.
    pub(crate) fn finish(
        &self,
        losses: f64,
        sum: GradientSum,
        count: usize,
    ) -> Result<StepGradients, TrainError> {
        let count = count.max(1);
        let norm = sum.norm() / count as f64;
        if !norm.is_finite() {
            let tensor = sum.first_non_finite().map_or_else(
                || "all tensors together".to_owned(),
                |id| name(self.decoder, id),
            );
            return Err(TrainError::NonFiniteGradient {
                step: self.step,
                tensor,
                learning_rate: self.learning_rate,
            });
        }
        Ok(StepGradients {
            loss: losses / count as f64,
            sum,
            micro_batches: count,
            norm,
        })
    }

    /// A loss that is not finite.
    pub(crate) fn wrong_loss(&self, loss: f64, origin: Origin) -> TrainError {
        TrainError::NonFiniteLoss {
            step: self.step,
            loss,
            origin,
            learning_rate: self.learning_rate,
        }
    }
}

/// The number of a loss.
pub(crate) fn number(loss: &Tensor<1>) -> f64 {
    f64::from(loss.clone().inner().into_scalar::<f32>())
}

/// [`StepGradients`] whose numbers stand on the device still.
pub(crate) struct GradientsOnDevice {
    /// Mean loss in nats per token, `[1]`.
    pub loss: Tensor<1>,
    /// The gradients, summed over the micro-batches.
    pub sum: GradientSum,
    /// The global norm of the mean gradient, `[1]`.
    pub norm: Tensor<1>,
}

/// [`step_gradients`] in float32 and without waiting for the device, so that it cannot say whether
/// anything is not finite.
pub(crate) fn gradients_on_device(
    decoder: &Decoder,
    micro_batches: &[Batch],
    device: &Device,
) -> GradientsOnDevice {
    let plain = device.clone().without_autodiff();
    let share = 1.0 / micro_batches.len().max(1) as f64;
    let mut sum = GradientSum::new();
    let mut losses = Tensor::zeros([1], &plain);
    for batch in micro_batches {
        let (inputs, targets) = tensors(batch, device);
        let loss = decoder.loss(inputs, targets);
        losses = losses + loss.clone().inner();
        sum.add(decoder, loss.backward());
    }
    GradientsOnDevice {
        loss: losses.mul_scalar(share),
        norm: sum.norm_tensor(&plain).mul_scalar(share),
        sum,
    }
}

/// Inputs and targets of a batch, both [B, T].
pub(crate) fn tensors(batch: &Batch, device: &Device) -> (Tensor<2, Int>, Tensor<2, Int>) {
    let tensor = |ids: &Vec<i32>| {
        let shape = [batch.batch, batch.context];
        Tensor::from_data(TensorData::new(ids.clone(), shape), device)
    };
    (tensor(&batch.inputs), tensor(&batch.targets))
}

/// Where a loss that is not finite comes from: the weights, else the gradients.
fn origin(decoder: &Decoder, loss: &Tensor<1>) -> Origin {
    if let Some(id) = first_non_finite_weight(decoder) {
        return Origin::Weight(name(decoder, id));
    }
    let mut sum = GradientSum::new();
    sum.add(decoder, loss.backward());
    match sum.first_non_finite() {
        Some(id) => Origin::Gradient(name(decoder, id)),
        None => Origin::Activations,
    }
}

/// Where a loss comes from that was worked out without gradients and is not finite.
pub(crate) fn origin_of_evaluation(decoder: &Decoder) -> Origin {
    first_non_finite_weight(decoder)
        .map_or(Origin::Activations, |id| Origin::Weight(name(decoder, id)))
}

fn name(decoder: &Decoder, id: ParamId) -> String {
    named::parameters(decoder)
        .into_iter()
        .find(|parameter| parameter.id == id)
        .map_or_else(|| "an unnamed tensor".to_owned(), |found| found.name)
}
