//! What a session writes down of its steps and evaluations.

use crate::log::Logs;
use crate::report::{EvaluationReport, Observer, StepReport};
use crate::trainer::Trainer;

/// The logs, and what a checkpoint states of them.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) logs: Logs,
    /// The newest evaluation of this process, or the one that the checkpoint states: step and loss.
    pub(super) validation: Option<(u64, f64)>,
    tokens_per_step: u64,
    flops_per_step: f64,
}

impl Record {
    /// Of the steps of `trainer`.
    pub(super) fn new(logs: Logs, validation: Option<(u64, f64)>, trainer: &Trainer) -> Self {
        Self {
            logs,
            validation,
            tokens_per_step: trainer.tokens_per_step(),
            flops_per_step: trainer.flops_per_step(),
        }
    }

    /// An observer that writes down what it hears, then tells it to another.
    pub(super) fn recorder<'a>(&'a mut self, observer: &'a mut dyn Observer) -> Recorder<'a> {
        Recorder {
            record: self,
            observer,
        }
    }
}

/// See [`Record::recorder`].
pub(super) struct Recorder<'a> {
    record: &'a mut Record,
    observer: &'a mut dyn Observer,
}

impl Observer for Recorder<'_> {
    fn on_step(&mut self, report: &StepReport) {
        let Record {
            logs,
            tokens_per_step,
            flops_per_step,
            ..
        } = self.record;
        for line in logs.step(report, *tokens_per_step, *flops_per_step) {
            self.observer.on_notice(&line);
        }
        self.observer.on_step(report);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.record.validation = Some((report.step, report.evaluation.loss));
        for line in self.record.logs.evaluation(report) {
            self.observer.on_notice(&line);
        }
        self.observer.on_evaluation(report);
    }

    fn on_notice(&mut self, line: &str) {
        self.observer.on_notice(line);
    }
}
