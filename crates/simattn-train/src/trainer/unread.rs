//! Steps whose losses have not been read.
//!
//! On a device with a queue of its own the host need not wait for a step: it hands over the next
//! ones, uploads of their batches included, and reads the losses of several steps at once. What the
//! loss decides, clipping and whether a step may be made at all, is decided on the device.

use burn::tensor::{Bool, Tensor};
use simattn_data::Position;

use crate::adamw::Scale;
use crate::report::StepReport;
use crate::step::GradientsOnDevice;

/// The steps that the observer has not heard of, in their order.
#[derive(Debug, Default)]
pub(super) struct Unread {
    steps: Vec<UnreadStep>,
    /// Whether a number of any step so far was not finite; no update is made from then on.
    stopped: Option<Tensor<1, Bool>>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct UnreadStep {
    /// Without loss and norm.
    pub(super) report: StepReport,
    pub(super) numbers: Numbers,
    /// Of the loader, before its batches.
    pub(super) position: Position,
}

/// The loss and the gradient's norm of a step.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "there is one a step, and a hundred at most"
)]
pub(super) enum Numbers {
    /// In this process's memory.
    Known { loss: f64, norm: f64 },
    /// On the device still, each `[1]`.
    OnDevice { loss: Tensor<1>, norm: Tensor<1> },
}

/// A step that could not be made.
#[derive(Debug)]
pub(super) struct Stopped {
    /// What is known of it.
    pub(super) report: StepReport,
    /// Of the loader, before its batches.
    pub(super) position: Position,
    /// Steps from it on, itself included.
    pub(super) steps: u64,
}

impl Unread {
    /// Steps.
    pub(super) fn len(&self) -> u64 {
        self.steps.len() as u64
    }

    /// What the gradients of a step over `micro_batches` are multiplied by, so that their mean is
    /// no longer than `clip`, where that is not 0; not finite if this step or one before it may not
    /// be made.
    pub(super) fn scale(
        &mut self,
        gradients: &GradientsOnDevice,
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
        let factor = if clip > 0.0 {
            // A norm of zero gives infinity, which becomes 1.
            norm.recip().mul_scalar(clip).clamp_max(1.0)
        } else {
            norm.ones_like()
        };
        let factor = factor.mul_scalar(1.0 / micro_batches.max(1) as f64);
        Scale::OnDevice(factor.mask_fill(stopped, f32::NAN))
    }

    /// Remembers a step.
    pub(super) fn push(&mut self, step: UnreadStep) {
        self.steps.push(step);
    }

    /// Waits for all steps and gives their reports, up to the first that could not be made.
    pub(super) fn read(&mut self) -> (Vec<StepReport>, Option<Stopped>) {
        let steps = std::mem::take(&mut self.steps);
        let mut numbers = numbers(&steps).into_iter();
        let mut reports = Vec::with_capacity(steps.len());
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

/// Loss and norm of each step, one after another; those on a device in one transfer.
fn numbers(steps: &[UnreadStep]) -> Vec<f64> {
    let mut known = Vec::new();
    let mut on_device = Vec::new();
    for step in steps {
        match &step.numbers {
            Numbers::Known { loss, norm } => known.extend([*loss, *norm]),
            Numbers::OnDevice { loss, norm } => on_device.extend([loss.clone(), norm.clone()]),
        }
    }
    if !on_device.is_empty() {
        known.extend(Tensor::cat(on_device, 0).into_data().iter::<f64>());
    }
    known
}
