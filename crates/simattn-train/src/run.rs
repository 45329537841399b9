//! A run: step after step with evaluations between, until its budget is spent.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use simattn::Decoder;
use simattn::cost::Cost;
use simattn::named;
use simattn_data::{BackgroundLoader, Batch, Loader};

use crate::checkpoint::{CheckpointError, Progress, Snapshot};
use crate::config::{RunConfig, TrainConfig};
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::evaluate::{Evaluation, Validation};
use crate::gradients::clip_factor;
use crate::optimizer::Optimizer;
use crate::schedule::Schedule;
use crate::step::step_gradients;
use crate::tensors::TensorFile;

/// What a run may spend; it stops at the first step that has spent it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Budget {
    /// Updates of the weights.
    Steps(u64),
    /// Floating-point operations of forward and backward passes, by [`Cost`]; as many whole steps
    /// as fit in, and at least one.
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

    /// Whatever else whoever watches should know, in one line.
    fn on_notice(&mut self, line: &str) {
        let _ = line;
    }
}

/// Nobody listens.
impl Observer for () {}

/// A decoder with everything that trains it.
#[derive(Debug)]
pub struct Trainer {
    /// Always there between calls; the optimiser takes it and gives it back within a step.
    decoder: Option<Decoder>,
    optimizer: Optimizer,
    loader: BackgroundLoader,
    validation: Validation,
    config: TrainConfig,
    schedule: Schedule,
    budget: Budget,
    device: Device,
    tokens_per_step: u64,
    flops_per_step: f64,
    step: u64,
    seconds: f64,
}

impl Trainer {
    /// A fresh model on `device`, its loader and its validation sample, all drawn from
    /// `config.seed`.
    ///
    /// Two runs with equal seeds, contexts and batches see the same windows in the same order,
    /// whatever their models are.
    ///
    /// # Errors
    ///
    /// A model that cannot be built, or a text shorter than one window.
    pub fn new(
        config: &RunConfig,
        dataset: &Dataset,
        budget: Budget,
        device: &Device,
    ) -> Result<Self, TrainError> {
        let model = dataset.fit_vocabulary(&config.model)?;
        let decoder = Decoder::new(&model, config.seed, &device.clone().autodiff())?;
        Self::with_decoder(decoder, config, dataset, budget)
    }

    /// The same for a decoder that is there already; it must stand on an autodiff device.
    ///
    /// # Errors
    ///
    /// A text shorter than one window, or a tokeniser with more ids than the decoder.
    pub fn with_decoder(
        decoder: Decoder,
        config: &RunConfig,
        dataset: &Dataset,
        budget: Budget,
    ) -> Result<Self, TrainError> {
        let model = dataset.fit_vocabulary(decoder.config())?;
        let train = &config.train;
        let context = model.context;
        let windows = train.batch * train.evaluation_batches;
        let loader = Loader::mixed(dataset.train.clone(), train.batch, context, config.seed)?;
        let validation = Validation::new(&*dataset.validation, train.batch, context, windows)?;
        let tokens_per_step = (train.sequences_per_step() * context) as u64;
        let flops_per_token = Cost::of(&model).training_flops_per_token(context);
        let device = decoder.embedding.val().device();
        let optimizer = Optimizer::new(train.optimizer(), &decoder, &device);
        Ok(Self {
            decoder: Some(
                decoder
                    .with_recompute(train.recompute)
                    .with_precision(train.precision),
            ),
            optimizer,
            loader: BackgroundLoader::new(loader),
            validation,
            config: train.clone(),
            schedule: train.schedule(),
            budget,
            device,
            tokens_per_step,
            flops_per_step: flops_per_token * tokens_per_step as f64,
            step: 0,
            seconds: 0.0,
        })
    }

    /// The model as it stands.
    pub fn decoder(&self) -> &Decoder {
        self.decoder
            .as_ref()
            .expect("the optimiser gives the decoder back within a step")
    }

    /// The model, for whoever saves it.
    pub fn into_decoder(self) -> Decoder {
        self.decoder
            .expect("the optimiser gives the decoder back within a step")
    }

    /// A copy of everything that changes with a step.
    pub fn snapshot(&self) -> Snapshot {
        let parameters = named::parameters(self.decoder());
        Snapshot {
            weights: simattn::checkpoint::tensors(self.decoder()),
            optimizer: self.optimizer.state(&parameters),
            progress: Progress {
                step: self.step,
                tokens: self.step * self.tokens_per_step,
                seconds: self.seconds,
                optimizer_updates: self.optimizer.updates(),
                position: self.loader.position().clone(),
            },
        }
    }

    /// Goes on from where a run stood whose weights this trainer's decoder has. Without the
    /// optimiser's tensors that one starts anew.
    ///
    /// # Errors
    ///
    /// Tensors that do not fit, or a position that this data does not have.
    pub fn restore(
        &mut self,
        progress: &Progress,
        optimizer: Option<&mut TensorFile>,
    ) -> Result<(), CheckpointError> {
        self.loader.seek(&progress.position)?;
        if let Some(file) = optimizer {
            let parameters = named::parameters(self.decoder());
            let device = self.device.clone();
            self.optimizer
                .restore(&parameters, file, progress.optimizer_updates, &device)?;
        }
        self.step = progress.step;
        self.seconds = progress.seconds;
        Ok(())
    }

    /// Operations of one step, forward and backward.
    pub fn flops_per_step(&self) -> f64 {
        self.flops_per_step
    }

    /// Whether an evaluation is due after `step` updates, the last one's aside.
    pub fn evaluates_at(&self, step: u64) -> bool {
        let every = self.config.evaluate_every;
        every > 0 && step.is_multiple_of(every)
    }

    /// Updates made so far.
    pub fn step_count(&self) -> u64 {
        self.step
    }

    /// Seconds of training so far, without evaluations.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Tokens that enter one step.
    pub fn tokens_per_step(&self) -> u64 {
        self.tokens_per_step
    }

    /// Updates that the run will have made at its end, as far as that is known now.
    pub fn steps(&self) -> u64 {
        match self.budget {
            Budget::Steps(steps) => steps,
            Budget::Flops(flops) => ((flops / self.flops_per_step) as u64).max(1),
            Budget::Seconds(seconds) => {
                if self.done() >= 1.0 {
                    self.step
                } else if self.step == 0 || self.seconds <= 0.0 {
                    self.config.steps
                } else {
                    let projected = self.step as f64 * seconds / self.seconds;
                    (projected.ceil() as u64).max(self.step + 1)
                }
            }
        }
    }

    /// The share of the budget that is spent, 0 to 1.
    pub fn done(&self) -> f64 {
        let share = match self.budget {
            Budget::Steps(0) => 1.0,
            Budget::Steps(_) | Budget::Flops(_) => self.step as f64 / self.steps() as f64,
            // No step is free: a budget of nothing still makes one, as with operations.
            Budget::Seconds(_) if self.step == 0 => 0.0,
            Budget::Seconds(seconds) => self.seconds / seconds,
        };
        share.min(1.0)
    }

    /// Whether the budget is spent.
    pub fn is_done(&self) -> bool {
        self.done() >= 1.0
    }

    /// Steps and evaluates until the budget is spent; the last evaluation is returned.
    ///
    /// # Errors
    ///
    /// A loss or gradient that is not finite; the model is then the one before that step.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<EvaluationReport, TrainError> {
        let mut last = self.evaluate();
        observer.on_evaluation(&last);
        while !self.is_done() {
            let report = self.step()?;
            observer.on_step(&report);
            if self.is_done() || self.evaluates_at(self.step) {
                last = self.evaluate();
                observer.on_evaluation(&last);
            }
        }
        Ok(last)
    }

    /// One update, whether or not the budget is spent.
    ///
    /// # Errors
    ///
    /// A loss or gradient that is not finite, or token files that cannot be read any more; the weights and moments are
    /// then those before it, only the loader has moved on.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        let started = Instant::now();
        let learning_rate = self.schedule.learning_rate(self.step, self.steps());
        let micro_batches: Vec<Batch> = (0..self.config.accumulation)
            .map(|_| self.loader.next_batch())
            .collect::<Result<_, _>>()?;
        let gradients = step_gradients(
            self.decoder(),
            &micro_batches,
            &self.device,
            self.step + 1,
            learning_rate,
        )?;
        let clip = clip_factor(gradients.norm, self.config.clip);
        let scale = clip / gradients.micro_batches as f64;
        self.decoder = self.decoder.take().map(|decoder| {
            self.optimizer
                .update(decoder, gradients.sum, learning_rate, scale)
        });
        self.step += 1;
        self.seconds += started.elapsed().as_secs_f64();
        let tokens = self.step * self.tokens_per_step;
        Ok(StepReport {
            step: self.step,
            steps: self.steps(),
            loss: gradients.loss,
            learning_rate,
            gradient_norm: gradients.norm,
            tokens,
            seconds: self.seconds,
            tokens_per_second: tokens as f64 / self.seconds.max(f64::MIN_POSITIVE),
            flops: self.step as f64 * self.flops_per_step,
            done: self.done(),
        })
    }

    /// The model on the validation sample, now. Its time is nobody's training time.
    pub fn evaluate(&self) -> EvaluationReport {
        EvaluationReport {
            step: self.step,
            tokens: self.step * self.tokens_per_step,
            seconds: self.seconds,
            flops: self.step as f64 * self.flops_per_step,
            evaluation: self.validation.evaluate(self.decoder()),
        }
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.decoder().num_params()
    }
}
