//! A run: step after step with evaluations between, until its budget is spent.

use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use simattn::Decoder;
use simattn::cost::Cost;
use simattn::named;
use simattn_data::{BackgroundLoader, Batch, Loader, OtherWindows};

use crate::ahead::{Ahead, Stopped};
use crate::checkpoint::{CheckpointError, Progress, Snapshot};
use crate::config::{RunConfig, TrainConfig};
use crate::dataset::Dataset;
use crate::error::{Origin, TrainError};
use crate::evaluate::Validation;
use crate::flat::Flat;
use crate::gradients::clip_factor;
use crate::optimizer::Optimizer;
use crate::report::{Budget, EvaluationReport, Observer, StepReport};
use crate::schedule::Schedule;
use crate::step::{gradients_ahead, origin_of_evaluation, step_gradients};
use crate::tensors::TensorFile;

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
    before: Spent,
    step: u64,
    seconds: f64,
    /// Whether losses stay on the device until several are read.
    ahead_of_device: bool,
    /// Steps at most between two readings of their losses.
    read_every: u64,
    ahead: Ahead,
    /// As they were when losses were last read: steps and seconds.
    read_at: (u64, f64),
}

/// What steps of another size took, before a run went on with those of this one; nothing where all
/// were of this size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spent {
    steps: u64,
    tokens: u64,
    flops: f64,
}

/// Steps at most whose numbers stay on a device, where no line of progress asks for them.
const AHEAD: u64 = 100;

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
        let ahead_of_device = !Flat::is_host(&device);
        let read_every = match train.log_every {
            0 => AHEAD,
            every => every.min(AHEAD),
        };
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
            before: Spent::default(),
            step: 0,
            seconds: 0.0,
            ahead_of_device,
            read_every,
            ahead: Ahead::default(),
            read_at: (0, 0.0),
        })
    }

    /// The same, but losses are read after every `steps` steps at the latest, also on the processor, which without it reads every
    /// loss at once; other devices wait for each `log_every`-th, at most for a hundred.
    pub fn reading_every(mut self, steps: u64) -> Self {
        self.ahead_of_device = true;
        self.read_every = steps.max(1);
        self
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
                tokens: self.tokens(),
                flops: Some(self.flops()),
                seconds: self.seconds,
                optimizer_updates: self.optimizer.updates(),
                position: self.loader.position().clone(),
            },
        }
    }

    /// Goes on from where a run stood whose weights this trainer's decoder has. Without the
    /// optimiser's tensors that one starts anew.
    ///
    /// What was spent so far is taken from `progress` and not worked out from its step, whose
    /// batches may have had another size. `windows` says what its position counts, where those are
    /// not the windows of this trainer.
    ///
    /// # Errors
    ///
    /// Tensors that do not fit, or a position that this data does not have.
    pub fn restore(
        &mut self,
        progress: &Progress,
        windows: Option<&OtherWindows>,
        optimizer: Option<&mut TensorFile>,
    ) -> Result<(), CheckpointError> {
        match windows {
            None => self.loader.seek(&progress.position)?,
            Some(windows) => self.loader.seek_share(&progress.position, windows)?,
        }
        if let Some(file) = optimizer {
            let parameters = named::parameters(self.decoder());
            let device = self.device.clone();
            self.optimizer
                .restore(&parameters, file, progress.optimizer_updates, &device)?;
        }
        self.step = progress.step;
        self.seconds = progress.seconds;
        // As though all steps had been of this size.
        self.before = Spent::default();
        let flops = progress.flops.unwrap_or_else(|| self.flops());
        if progress.tokens != self.tokens() || flops != self.flops() {
            self.before = Spent {
                steps: progress.step,
                tokens: progress.tokens,
                flops,
            };
        }
        self.read_at = (self.step, self.seconds);
        Ok(())
    }

    /// Tokens trained on so far.
    pub fn tokens(&self) -> u64 {
        let steps = self.step - self.before.steps;
        let since = steps.saturating_mul(self.tokens_per_step);
        self.before.tokens.saturating_add(since)
    }

    /// Floating-point operations of training so far.
    pub fn flops(&self) -> f64 {
        let steps = self.step - self.before.steps;
        self.before.flops + steps as f64 * self.flops_per_step
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
            Budget::Flops(flops) => {
                let left = ((flops - self.before.flops) / self.flops_per_step) as u64;
                self.before.steps.saturating_add(left).max(1)
            }
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
    /// A loss or gradient that is not finite; the model is then the one before that step. An
    /// evaluation that is not finite, after the observer has heard of it.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<EvaluationReport, TrainError> {
        let mut last = self.evaluate();
        observer.on_evaluation(&last);
        self.check_evaluation(&last)?;
        while !self.is_done() {
            let mut reports = Vec::new();
            let mut made = self.advance(&mut reports);
            let evaluates = self.is_done() || self.evaluates_at(self.step);
            if made.is_ok() && evaluates {
                made = self.settle(&mut reports);
            }
            for report in &reports {
                observer.on_step(report);
            }
            made?;
            if evaluates {
                last = self.evaluate();
                observer.on_evaluation(&last);
                self.check_evaluation(&last)?;
            }
        }
        Ok(last)
    }

    /// One update, whether or not the budget is spent, without waiting for its loss where losses are read several at once.
    /// Appends the reports of all steps whose losses have been read.
    ///
    /// # Errors
    ///
    /// As [`Self::step`], for any of the steps that were read: weights and moments are those before it, and later steps
    /// were not made.
    pub fn advance(&mut self, reports: &mut Vec<StepReport>) -> Result<(), TrainError> {
        if !self.ahead_of_device {
            self.settle(reports)?;
            reports.push(self.step_now()?);
            return Ok(());
        }
        let started = Instant::now();
        let learning_rate = self.schedule.learning_rate(self.step, self.steps());
        let position = self.loader.position().clone();
        let micro_batches = self.micro_batches()?;
        let gradients = gradients_ahead(self.decoder(), &micro_batches, &self.device);
        let scale = (self.ahead).scale(&gradients, micro_batches.len(), self.config.clip);
        self.decoder = self.decoder.take().map(|decoder| {
            self.optimizer
                .update(decoder, gradients.sum, learning_rate, scale)
        });
        self.step += 1;
        self.seconds += started.elapsed().as_secs_f64();
        let report = self.report(f64::NAN, f64::NAN, learning_rate);
        (self.ahead).push(report, gradients.loss, gradients.norm, position);
        // How fast steps are decides the learning rate of such a run.
        let timed = matches!(self.budget, Budget::Seconds(_));
        let due = self.step.is_multiple_of(self.read_every) || self.ahead.len() >= self.read_every;
        if due || timed {
            self.settle(reports)?;
        }
        Ok(())
    }

    /// Waits for the steps that [`Self::advance`] made and appends their reports.
    ///
    /// # Errors
    ///
    /// As [`Self::advance`].
    pub fn settle(&mut self, reports: &mut Vec<StepReport>) -> Result<(), TrainError> {
        let started = Instant::now();
        let (mut read, stopped) = self.ahead.read();
        self.seconds += started.elapsed().as_secs_f64();
        // When each of them ended on the device is not known: they share the time.
        let (step, seconds) = self.read_at;
        let made = stopped.as_ref().map_or(0, |stopped| stopped.steps) + read.len() as u64;
        let each = (self.seconds - seconds) / made.max(1) as f64;
        for report in &mut read {
            report.seconds = seconds + each * (report.step - step) as f64;
            report.tokens_per_second = report.tokens as f64 / report.seconds.max(f64::MIN_POSITIVE);
        }
        reports.append(&mut read);
        if let Some(stopped) = stopped {
            self.step = stopped.report.step - 1;
            self.optimizer.take_back(stopped.steps);
            self.read_at = (self.step, self.seconds);
            return Err(self.explain(&stopped));
        }
        self.read_at = (self.step, self.seconds);
        Ok(())
    }

    /// What was wrong with a step: it is made once more, from the weights before it, which are the present ones.
    fn explain(&mut self, stopped: &Stopped) -> TrainError {
        let StepReport {
            step,
            loss,
            learning_rate,
            ..
        } = stopped.report;
        let again = self.loader.seek(&stopped.position);
        let again = again.map_err(TrainError::from);
        let again = again.and_then(|()| {
            let batches = self.micro_batches()?;
            step_gradients(self.decoder(), &batches, &self.device, step, learning_rate)
        });
        match again {
            Err(error) => error,
            // Read one by one the numbers are finite: what was not is their sum in float32.
            Ok(_) if loss.is_finite() => TrainError::NonFiniteGradient {
                step,
                tensor: "all tensors together".to_owned(),
                learning_rate,
            },
            Ok(_) => TrainError::NonFiniteLoss {
                step,
                loss,
                origin: Origin::Activations,
                learning_rate,
            },
        }
    }

    fn micro_batches(&mut self) -> Result<Vec<Batch>, TrainError> {
        let batches = (0..self.config.accumulation).map(|_| self.loader.next_batch());
        Ok(batches.collect::<Result<_, _>>()?)
    }

    /// The report of the step that was just made.
    fn report(&self, loss: f64, gradient_norm: f64, learning_rate: f64) -> StepReport {
        let tokens = self.tokens();
        StepReport {
            step: self.step,
            steps: self.steps(),
            loss,
            learning_rate,
            gradient_norm,
            tokens,
            seconds: self.seconds,
            tokens_per_second: tokens as f64 / self.seconds.max(f64::MIN_POSITIVE),
            flops: self.flops(),
            done: self.done(),
        }
    }

    /// One update, whether or not the budget is spent, and its report.
    ///
    /// # Errors
    ///
    /// A loss or gradient that is not finite, or token files that cannot be read any more; the weights and moments are
    /// then those before it, only the loader has moved on.
    pub fn step(&mut self) -> Result<StepReport, TrainError> {
        self.settle(&mut Vec::new())?;
        self.step_now()
    }

    fn step_now(&mut self) -> Result<StepReport, TrainError> {
        let started = Instant::now();
        let learning_rate = self.schedule.learning_rate(self.step, self.steps());
        let micro_batches = self.micro_batches()?;
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
        self.read_at = (self.step, self.seconds);
        Ok(self.report(gradients.loss, gradients.norm, learning_rate))
    }

    /// Whether an evaluation of the model as it stands is a number.
    ///
    /// # Errors
    ///
    /// [`TrainError::NonFiniteEvaluation`] where it is not.
    pub fn check_evaluation(&self, report: &EvaluationReport) -> Result<(), TrainError> {
        if report.evaluation.loss.is_finite() {
            return Ok(());
        }
        Err(TrainError::NonFiniteEvaluation {
            step: report.step,
            loss: report.evaluation.loss,
            origin: origin_of_evaluation(self.decoder()),
        })
    }

    /// The model on the validation sample, now, whatever comes out: see
    /// [`Self::check_evaluation`]. Its time is nobody's training time.
    pub fn evaluate(&self) -> EvaluationReport {
        EvaluationReport {
            step: self.step,
            tokens: self.tokens(),
            seconds: self.seconds,
            flops: self.flops(),
            evaluation: self.validation.evaluate(self.decoder()),
        }
    }

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.decoder().num_params()
    }
}
