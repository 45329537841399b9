//! A decoder with everything that trains it, and how far it has come.

mod exchange;
mod following;
mod stepping;
mod unread;

use burn::module::Module;
use burn::tensor::Device;
use simattn::Decoder;
use simattn::cost::Cost;
use simattn::named;
use simattn_data::{BackgroundLoader, Loader, OtherWindows};

use crate::checkpoint::{CheckpointError, Progress, Snapshot};
use crate::config::{RunConfig, TrainConfig};
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::evaluate::Validation;
use crate::flat::Flat;
use crate::optimizer::Optimizer;
use crate::ranks::{Command, Ranks};
use crate::report::Budget;
use crate::schedule::Schedule;
use crate::tensors::TensorFile;
use unread::Unread;

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
    reading: Reading,
    unread: Unread,
    /// Those that train this model together.
    ranks: Ranks,
    /// As they were when losses were last read: steps and seconds.
    read_at: (u64, f64),
}

/// When the losses of steps are read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Reading {
    /// Within each step, in this process's memory.
    WithEachStep,
    /// After this many steps at the latest. Until then they stay on the device, which decides on
    /// its own whether a step may be made.
    Every(u64),
}

/// What steps of another size took, before a run went on with those of this one; nothing where all
/// were of this size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Spent {
    steps: u64,
    tokens: u64,
    flops: f64,
}

/// Steps at most whose losses stay on a device, where no line of progress asks for them.
const MOST_UNREAD: u64 = 100;

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
    /// A text shorter than one window, or a tokenizer with more ids than the decoder.
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
        // With groups every rank reads its losses, so that one rank does too.
        let reading = if Flat::is_host(&device) || train.groups > 1 {
            Reading::WithEachStep
        } else {
            Reading::Every(match train.log_every {
                0 => MOST_UNREAD,
                every => every.min(MOST_UNREAD),
            })
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
            reading,
            unread: Unread::default(),
            ranks: Ranks::alone(),
            read_at: (0, 0.0),
        })
    }

    /// The same, but losses are read after every `steps` steps at the latest, on the CPU too.
    ///
    /// Without this the CPU reads the loss of every step within it; other devices are asked after
    /// every `log_every` steps, at the latest after a hundred.
    pub fn reading_every(mut self, steps: u64) -> Self {
        self.reading = Reading::Every(steps.max(1));
        self
    }

    /// The model in its present state.
    pub fn decoder(&self) -> &Decoder {
        self.decoder
            .as_ref()
            .expect("the optimiser gives the decoder back within a step")
    }

    /// A copy of everything that changes with a step.
    pub fn snapshot(&self) -> Snapshot {
        let parameters = named::parameters(self.decoder());
        if self.optimizer.is_sharded() {
            self.ranks.tell(Command::Gather);
        }
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
    fn evaluates_at(&self, step: u64) -> bool {
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

    /// Parameters of the model.
    pub fn parameters(&self) -> usize {
        self.decoder().num_params()
    }
}
