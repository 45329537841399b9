//! Trains the candidates of a study one after another and keeps what happened.

use burn::tensor::Device;
use simattn::{Decoder, cost::Cost};
use simattn_kernels::Kernels;
use simattn_train::{
    Budget, Dataset, EvaluationReport, Observer, RunConfig, StepReport, TrainError, Trainer,
};

use super::{
    matching::Candidate,
    results::{Equal, EvalPoint, Parameters, RunResults, RunStatus, TrainPoint, VariantResults},
};
use crate::memory::Peak;
use crate::training_progress::TrainingProgress;

/// What every candidate gets the same amount of, and how often.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Everything but the model: data, optimiser, schedule, the first seed.
    pub config: RunConfig,
    /// What is held equal.
    pub equal: Equal,
    /// One run of every candidate per seed.
    pub seeds: Vec<u64>,
    /// The candidate that sets the budget of FLOPs or seconds; it runs first.
    pub baseline: String,
    /// The implementation of the operations.
    pub kernels: Kernels,
}

/// Runs every candidate with every seed. A run that diverges is kept as failed and the study goes
/// on; the seeds are the outer loop, so that a slow hour of the machine falls on all candidates.
///
/// # Errors
/// A model or text that cannot be trained at all.
pub(crate) fn run(
    plan: &Plan,
    candidates: &[Candidate],
    dataset: &Dataset,
) -> Result<Vec<VariantResults>, TrainError> {
    let mut variants: Vec<VariantResults> = candidates.iter().map(|c| empty(c, plan)).collect();
    // The baseline goes first where its spending is the others' budget.
    let mut order: Vec<usize> = (0..candidates.len()).collect();
    order.sort_by_key(|&index| candidates[index].name != plan.baseline);
    for &seed in &plan.seeds {
        let mut budget = Budget::Steps(plan.config.train.steps);
        for &index in &order {
            let candidate = &candidates[index];
            let run = train(plan, candidate, dataset, seed, budget)?;
            if candidate.name == plan.baseline && run.status == RunStatus::Finished {
                budget = match plan.equal {
                    Equal::Steps => budget,
                    Equal::Flops => {
                        Budget::Flops(variants[index].training_flops_per_token * run.tokens as f64)
                    }
                    Equal::Time => Budget::Seconds(run.seconds),
                };
            }
            variants[index].runs.push(run);
        }
    }
    Ok(variants)
}

fn empty(candidate: &Candidate, plan: &Plan) -> VariantResults {
    let cost = Cost::of(&candidate.model);
    let context = candidate.model.context;
    VariantResults {
        name: candidate.name.clone(),
        label: candidate.label.clone(),
        attention: candidate.attention.clone(),
        parameters: Parameters {
            total: cost.parameters.total as u64,
            embedding: cost.parameters.embedding as u64,
            attention: cost.parameters.attention as u64,
        },
        forward_flops_per_token: cost.forward_flops_per_token(context),
        training_flops_per_token: cost.training_flops_per_token(context),
        cache_bytes_per_token: 2.0 * cost.cache_values_per_token as f64,
        step_seconds: Vec::new(),
        rate_search: None,
        runs: Vec::with_capacity(plan.seeds.len()),
    }
}

fn train(
    plan: &Plan,
    candidate: &Candidate,
    dataset: &Dataset,
    seed: u64,
    budget: Budget,
) -> Result<RunResults, TrainError> {
    let config = RunConfig {
        seed,
        model: candidate.model.clone(),
        ..plan.config.clone()
    };
    let peak = Peak::start();
    let device = Device::flex().autodiff();
    let decoder = Decoder::new(&config.model, seed, &device)?.with_kernels(plan.kernels);
    let mut trainer = Trainer::with_decoder(decoder, &config, dataset, budget)?;
    let label = match plan.seeds.len() {
        1 => format!("{:<4}", candidate.name),
        _ => format!("{:<4} seed {seed}", candidate.name),
    };
    let mut recorder = Recorder {
        progress: TrainingProgress::new(&label, trainer.steps(), config.train.log_every),
        train: Vec::new(),
        evaluations: Vec::new(),
    };
    let status = match trainer.run(&mut recorder) {
        Ok(_) => RunStatus::Finished,
        Err(error) => RunStatus::Failed {
            reason: error.to_string(),
        },
    };
    let last = recorder.train.last();
    let seconds = last.map_or(0.0, |point| point.seconds);
    let tokens = trainer.tokens();
    Ok(RunResults {
        seed,
        steps: trainer.step_count(),
        tokens,
        seconds,
        tokens_per_second: if seconds > 0.0 {
            tokens as f64 / seconds
        } else {
            f64::NAN
        },
        peak_memory_bytes: peak.bytes(),
        train: recorder.train,
        evaluations: recorder.evaluations,
        status,
        machine: None,
    })
}

/// Shows a run and keeps its course.
struct Recorder {
    progress: TrainingProgress,
    train: Vec<TrainPoint>,
    evaluations: Vec<EvalPoint>,
}

impl Observer for Recorder {
    fn on_step(&mut self, report: &StepReport) {
        self.train.push(TrainPoint {
            step: report.step,
            loss: report.loss,
            learning_rate: report.learning_rate,
            gradient_norm: report.gradient_norm,
            seconds: report.seconds,
        });
        self.progress.on_step(report);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.evaluations.push(EvalPoint {
            step: report.step,
            tokens: report.tokens,
            seconds: report.seconds,
            flops: report.flops,
            loss: report.evaluation.loss,
        });
        self.progress.on_evaluation(report);
    }
}
