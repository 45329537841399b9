//! What a run may spend, and what it reports while it trains.

use crate::evaluate::Evaluation;

/// What a run may spend; it stops at the first step that has spent it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Updates of the weights.
    Steps(u64),
    /// Floating-point operations of forward and backward passes, by [`Cost`](simattn::cost::Cost);
    /// as many whole steps as fit in, and at least one.
    Flops(f64),
    /// Seconds of training, without evaluations. The learning rate follows the share of them that
    /// is spent, so that such a run is the one that cannot be repeated bit for bit.
    Seconds(f64),
}

/// One finished step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Updates made, this one included.
    pub step: u64,
    /// Updates the run will have made at its end; an estimate where seconds are the budget.
    pub steps: u64,
    /// Mean training loss of this step, before its update, in nats per token.
    pub loss: f64,
    /// The learning rate of this update.
    pub learning_rate: f64,
    /// The gradient's global norm before clipping.
    pub gradient_norm: f64,
    /// Tokens trained on so far.
    pub tokens: u64,
    /// Seconds of training so far, without evaluations.
    pub seconds: f64,
    /// Tokens a second over all training so far.
    pub tokens_per_second: f64,
    /// Floating-point operations of training so far.
    pub flops: f64,
    /// The share of the budget that is spent, 0 to 1.
    pub done: f64,
    /// What the exchange with other ranks took, where there are any.
    pub exchange: Option<Exchange>,
}

/// What the exchange with other ranks took in one step, as one of them sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exchange {
    /// Seconds in which gradients were on their way, most of them during backward.
    pub seconds: f64,
    /// Seconds in which nothing else was done but wait for the others.
    pub waiting: f64,
}

/// One evaluation on the fixed validation sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EvaluationReport {
    /// Updates made before it.
    pub step: u64,
    /// Tokens trained on before it.
    pub tokens: u64,
    /// Seconds of training before it, without evaluations.
    pub seconds: f64,
    /// Floating-point operations of training before it.
    pub flops: f64,
    /// The loss and its kin.
    pub evaluation: Evaluation,
}

/// Who listens to a run. Every method may be left out.
pub trait Observer {
    /// After every step.
    fn on_step(&mut self, report: &StepReport) {
        let _ = report;
    }

    /// After every evaluation: before the first step, every `evaluate_every` steps, at the end.
    fn on_evaluation(&mut self, report: &EvaluationReport) {
        let _ = report;
    }

    /// Anything else that the user should know, in one line.
    fn on_notice(&mut self, line: &str) {
        let _ = line;
    }
}

/// Nobody listens.
impl Observer for () {}
