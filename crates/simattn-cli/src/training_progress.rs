//! How a training run shows its progress.

use simattn_train::{EvaluationReport, Observer, StepReport};

use crate::console::tell;
use crate::progress::Bar;
use crate::quantity::{count, duration, grouped, perplexity};

/// An observer that writes to standard error; results belong to standard output.
#[derive(Debug)]
pub(crate) struct TrainingProgress {
    bar: Bar,
    /// Put before every line.
    label: String,
    /// Steps between two lines where there is no terminal; 0 for none.
    log_every: u64,
    validation: Option<f64>,
    rest: Option<Rest>,
}

/// The time that runs take which come after this one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Rest {
    /// Seconds, as far as steps like theirs were seen before.
    pub(crate) seconds: f64,
    /// What comes on top, as a multiple of this run.
    pub(crate) multiple: f64,
}

impl TrainingProgress {
    /// A bar that runs to `steps` if standard error is a terminal, otherwise a line every
    /// `log_every` steps; `label` names the run.
    pub(crate) fn new(label: &str, steps: u64, log_every: u64) -> Self {
        Self {
            bar: Bar::new(label, "{pos}/{len}", steps),
            label: label.to_owned(),
            log_every,
            validation: None,
            rest: None,
        }
    }

    /// The same for one run of several, which says besides how long all of them take.
    pub(crate) fn before(mut self, rest: Rest) -> Self {
        self.rest = Some(rest);
        self
    }
}

impl Observer for TrainingProgress {
    fn on_step(&mut self, report: &StepReport) {
        let state = step_line(report, self.validation, self.rest);
        if self.bar.is_shown() {
            self.bar.show(report.step, report.steps, state);
        } else if self.log_every > 0 && report.step.is_multiple_of(self.log_every) {
            let steps = grouped(report.steps as f64);
            let step = grouped(report.step as f64);
            tell(format_args!("{} step {step}/{steps} {state}", self.label));
        }
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        let evaluation = &report.evaluation;
        self.validation = Some(evaluation.loss);
        self.bar.say(format_args!(
            "{} step {}: validation loss {:.4}, perplexity {}, {:.4} bits per byte",
            self.label,
            grouped(report.step as f64),
            evaluation.loss,
            perplexity(evaluation.perplexity),
            evaluation.bits_per_byte,
        ));
    }

    fn on_notice(&mut self, line: &str) {
        self.bar.say(format_args!("{}: {line}", self.label));
    }
}

/// Loss, validation loss, speed and time left.
fn step_line(report: &StepReport, validation: Option<f64>, rest: Option<Rest>) -> String {
    let validation = validation
        .map(|loss| format!(" val {loss:.4}"))
        .unwrap_or_default();
    let left = if report.done > 0.0 {
        duration(report.seconds * (1.0 - report.done) / report.done)
    } else {
        "unknown time".to_owned()
    };
    let all = rest.filter(|_| report.done > 0.0).map(|rest| {
        let whole = report.seconds / report.done;
        let left = whole * (1.0 - report.done) + rest.seconds + whole * rest.multiple;
        format!(" ({} for all runs)", duration(left))
    });
    let all = all.unwrap_or_default();
    format!(
        "loss {:.4}{validation} lr {:.1e} {} tok/s, {left} left{all}",
        report.loss,
        report.learning_rate,
        count(report.tokens_per_second),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_says_loss_speed_and_time_left() {
        let report = StepReport {
            exchange: None,
            step: 25,
            steps: 100,
            loss: 2.5,
            learning_rate: 6e-4,
            gradient_norm: 1.0,
            tokens: 25_600,
            seconds: 10.0,
            tokens_per_second: 2560.0,
            flops: 1e9,
            done: 0.25,
        };
        let left = duration(30.0);
        assert_eq!(
            step_line(&report, Some(2.25), None),
            format!("loss 2.5000 val 2.2500 lr 6.0e-4 2,560 tok/s, {left} left")
        );
        let rest = Rest {
            seconds: 5.0,
            multiple: 0.5,
        };
        let line = step_line(&report, None, Some(rest));
        assert!(line.starts_with("loss 2.5000 lr"), "{line}");
        assert!(
            line.ends_with("30.0 s left (55.0 s for all runs)"),
            "{line}"
        );
    }
}
