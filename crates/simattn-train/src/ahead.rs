//! Steps that were made before anybody knew their loss.
//!
//! On a device with a queue of its own the host need not wait for a step: it hands over the next ones, uploads of their batches
//! included, and reads the losses of several steps at once. What the loss decides, clipping and whether a step may be made at
//! all, is decided on the device.

use burn::tensor::{Bool, Tensor};
use simattn_data::Position;

use crate::adamw::Scale;
use crate::report::StepReport;
use crate::step::GradientsAhead;

/// The steps whose numbers stand on the device still.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    steps: Vec<StepAhead>,
    /// Whether one of all steps so far had a number that is not finite; no update is made from then on.
    stopped: Option<Tensor<1, Bool>>,
}

/// One of them.
#[derive(Debug)]
struct StepAhead {
    /// Without loss and norm.
    report: StepReport,
    loss: Tensor<1>,
    norm: Tensor<1>,
    /// Of the loader, before its batches.
    position: Position,
}

/// A step that could not be made.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// What is known of it.
    pub report: StepReport,
    /// Of the loader, before its batches.
    pub position: Position,
    /// Steps from it on, itself included.
    pub steps: u64,
}

impl Ahead {
    /// Steps.
    pub(crate) fn len(&self) -> u64 {
        self.steps.len() as u64
    }

    /// What the gradients of a step over `micro_batches` are multiplied by, so that their mean is no longer than `clip`, where
    /// that is not 0; not finite if this step or one before it may not be made.
    pub(crate) fn scale(
        &mut self,
        gradients: &GradientsAhead,
        micro_batches: usize,
        clip: f64,
    ) -> Scale {
        let wrong = |x: &Tensor<1>| x.clone().is_finite().bool_not();
        let mut stopped = wrong(&gradients.loss).bool_or(wrong(&gradients.norm));
        if let Some(before) = self.stopped.take() {
            stopped = stopped.bool_or(before);
        }
        self.stopped = Some(stopped.clone());
        let norm = gradients.norm.clone();
        let factor = match clip > 0.0 {
            // A norm of zero gives infinity, which becomes 1.
            true => norm.recip().mul_scalar(clip).clamp_max(1.0),
            false => norm.ones_like(),
        };
        let factor = factor.mul_scalar(1.0 / micro_batches.max(1) as f64);
        Scale::OnDevice(factor.mask_fill(stopped, f32::NAN))
    }

    /// Remembers a step; `position` is the loader's before it.
    pub(crate) fn push(
        &mut self,
        report: StepReport,
        loss: Tensor<1>,
        norm: Tensor<1>,
        position: Position,
    ) {
        self.steps.push(StepAhead {
            report,
            loss,
            norm,
            position,
        });
    }

    /// Waits for all steps and gives their reports, up to the first that could not be made. Their `seconds` are 0.
    pub(crate) fn read(&mut self) -> (Vec<StepReport>, Option<Stopped>) {
        let steps = std::mem::take(&mut self.steps);
        let mut reports = Vec::with_capacity(steps.len());
        if steps.is_empty() {
            return (reports, None);
        }
        let numbers = steps.iter().flat_map(|step| [&step.loss, &step.norm]);
        let numbers = Tensor::cat(numbers.cloned().collect(), 0).into_data();
        let mut numbers = numbers.iter::<f64>();
        let mut left = steps.len() as u64;
        for step in steps {
            let mut next = || numbers.next().unwrap_or(f64::NAN);
            let report = StepReport {
                loss: next(),
                gradient_norm: next(),
                ..step.report
            };
            if !(report.loss.is_finite() && report.gradient_norm.is_finite()) {
                self.stopped = None;
                let stopped = Stopped {
                    report,
                    position: step.position,
                    steps: left,
                };
                return (reports, Some(stopped));
            }
            reports.push(report);
            left -= 1;
        }
        (reports, None)
    }
}
