//! The typed tree that describes a run, and its checks.

mod diff;
mod document;
mod error;
mod overrides;
mod tree;

use std::path::Path;

use serde::{Deserialize, Serialize};
use simattn::{ModelConfig, Precision, Recompute};
use simattn_data::TokenizerSpec;
use simattn_data::shards::{is_foreign_folder, is_prepared};

pub use diff::{Change, changes};
pub use document::parse_document;
use document::read_document;
pub use error::RunConfigError;
pub use overrides::Override;

use crate::adamw::AdamWConfig;
use crate::optimizer::{OptimizerConfig, OptimizerKind};
use crate::schedule::{Decay, Schedule};

/// Everything that a run depends on, and what a saved model carries as `config.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// The one seed: weights, order of windows and the embedded corpus each draw their own stream
    /// from it. At most 2⁶³ − 1, TOML's largest whole number.
    #[serde(default)]
    pub seed: u64,
    /// The decoder.
    pub model: ModelConfig,
    /// The text and its tokenizer.
    #[serde(default)]
    pub data: DataConfig,
    /// The optimisation.
    #[serde(default)]
    pub train: TrainConfig,
}

/// The source that is built in.
pub(crate) const TALES: &str = "tales";

/// The text a model learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataConfig {
    /// `"tales"` (the embedded corpus), or the path of a text file, of a folder of text files, of a
    /// folder that `simattn prepare` made, or of one with token files of llm.c or nanoGPT.
    pub source: String,
    /// Several folders of token ids, mixed; where given, `source` is not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<SourceConfig>,
    /// `"bytes"`, `"bpe:N"` (trained on the data, N tokens) or the path of a `tokenizer.json`.
    pub tokenizer: TokenizerSpec,
    /// The share of the text's bytes kept out of training, above 0 and at most 0.5; not used by the
    /// embedded corpus.
    pub validation_fraction: f64,
    /// Bytes of embedded stories to train on.
    pub tales_train_bytes: u64,
    /// Bytes of embedded stories held out.
    pub tales_validation_bytes: u64,
}

/// One of several folders of token ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourceConfig {
    /// A folder that `simattn prepare` made, or one with token files of llm.c or nanoGPT.
    pub path: String,
    /// Its share of the training windows, relative to the other weights.
    #[serde(default = "one")]
    pub weight: f64,
}

fn one() -> f64 {
    1.0
}

/// A configuration that does not use a field is written as before there was the field.
fn is_one(number: &usize) -> bool {
    *number == 1
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// How the weights are updated, and when they are looked at.
///
/// The defaults are what the published DAPE (NeurIPS 2024) and TPA configurations share:
/// AdamW with β 0.9 and 0.95, ε 1e-8, decay 0.1, clipping at 1, 1% of warm-up, cosine to a tenth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TrainConfig {
    /// Updates of the weights.
    pub steps: u64,
    /// Sequences in a micro-batch, the piece that is in memory at once.
    pub batch: usize,
    /// Micro-batches whose mean gradient makes one update.
    pub accumulation: usize,
    /// Equal groups that an update's micro-batches are cut into. Gradients add up within each group
    /// one after another, then the groups add up as a tree over neighbours. As many processes as
    /// divide them by a power of two can share the work, and give the same bits.
    #[serde(skip_serializing_if = "is_one")]
    pub groups: usize,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// The last learning rate; a tenth of the peak where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub minimum_learning_rate: Option<f64>,
    /// Steps of linear warm-up; 1% of `steps`, rounded up, where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// What follows the warm-up: "cosine", "wsd" or "constant".
    pub decay: Decay,
    /// Steps of the decay of "wsd"; a fifth of `steps`, rounded up, where absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_steps: Option<u64>,
    /// "adamw", or "muon" for the weight matrices inside the layers with AdamW for the rest.
    pub optimizer: OptimizerKind,
    /// Muon's momentum; AdamW does not use it.
    pub momentum: f64,
    /// Decay rate of AdamW's first moment.
    pub beta1: f64,
    /// Decay rate of AdamW's second moment.
    pub beta2: f64,
    /// AdamW's ε, outside the square root.
    pub epsilon: f64,
    /// Decoupled weight decay on tensors with two or more axes; norms and biases have none.
    pub weight_decay: f64,
    /// The largest global norm of the gradient; 0 switches clipping off.
    pub clip: f64,
    /// What backward works out again instead of keeping it: "block" for all that lies inside a
    /// decoder block; "none" for what single operations do anyway; of simulated attention on a GPU
    /// the "expansions" alone, or "nothing". It changes time and memory, no number.
    pub recompute: Recompute,
    /// The float type of a pass, "float32" or "bfloat16", evaluations included; weights, gradients
    /// and the optimiser stay float32. On the processor bfloat16 is worked out in float32 and
    /// rounded: slower than float32.
    pub precision: Precision,
    /// Whether each of several processes remembers the optimiser's moments of a share of the
    /// weights alone. It changes memory and time, no number and no checkpoint.
    #[serde(skip_serializing_if = "is_false")]
    pub shard_optimizer: bool,
    /// Steps between two evaluations; 0 evaluates only before the first step and after the last.
    pub evaluate_every: u64,
    /// Micro-batches in the fixed validation sample.
    pub evaluation_batches: usize,
    /// Steps between two lines of progress where there is no terminal; 0 prints none.
    pub log_every: u64,
    /// Steps between two checkpoints; 0 saves only at the end and on a signal.
    pub checkpoint_every: u64,
    /// Newest checkpoints that stay, at least 1; the one with the lowest validation loss stays too.
    pub keep_checkpoints: u64,
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            source: TALES.to_owned(),
            sources: Vec::new(),
            tokenizer: TokenizerSpec::Bytes,
            validation_fraction: 0.05,
            tales_train_bytes: 4 << 20,
            tales_validation_bytes: 256 << 10,
        }
    }
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 1000,
            batch: 16,
            accumulation: 1,
            groups: 1,
            learning_rate: 6e-4,
            minimum_learning_rate: None,
            warmup_steps: None,
            decay: Decay::Cosine,
            decay_steps: None,
            optimizer: OptimizerKind::AdamW,
            momentum: 0.95,
            beta1: 0.9,
            beta2: 0.95,
            epsilon: 1e-8,
            weight_decay: 0.1,
            clip: 1.0,
            recompute: Recompute::None,
            precision: Precision::Float32,
            shard_optimizer: false,
            evaluate_every: 100,
            evaluation_batches: 20,
            log_every: 10,
            checkpoint_every: 500,
            keep_checkpoints: 3,
        }
    }
}

impl RunConfig {
    /// Reads and checks a TOML file.
    ///
    /// # Errors
    ///
    /// One line with the path, and the line and column where there is one: an unreadable file,
    /// wrong TOML, an unknown field (with the nearest known one), a value out of range.
    pub fn from_file(path: &Path) -> Result<Self, RunConfigError> {
        let config: Self = read_document(path)?;
        config.validate().map_err(|error| error.in_file(path))?;
        Ok(config)
    }

    /// As [`Self::from_file`], with fields replaced before anything is checked.
    ///
    /// # Errors
    ///
    /// As [`Self::from_file`]; what is wrong with an override names it.
    pub fn from_file_with(path: &Path, overrides: &[Override]) -> Result<Self, RunConfigError> {
        if overrides.is_empty() {
            return Self::from_file(path);
        }
        let config: Self = overrides::read_with(path, &toml::Table::new(), overrides)?;
        config.validate().map_err(|error| error.in_file(path))?;
        Ok(config)
    }

    /// As [`Self::from_file_with`], for TOML text that `path` only names.
    ///
    /// # Errors
    ///
    /// As [`Self::from_file_with`], but for unreadable files.
    pub fn from_text_with(
        text: &str,
        path: &Path,
        overrides: &[Override],
    ) -> Result<Self, RunConfigError> {
        let config: Self = overrides::parse_with(text, path, &toml::Table::new(), overrides)?;
        config.validate().map_err(|error| error.in_file(path))?;
        Ok(config)
    }

    /// As [`Self::from_file_with`], for a run that starts from a model of the form `saved`: what
    /// the file's `[model]` leaves out, all of it as well, is as in `saved`.
    ///
    /// # Errors
    ///
    /// As [`Self::from_file_with`].
    pub fn from_file_over(
        path: &Path,
        saved: &ModelConfig,
        overrides: &[Override],
    ) -> Result<Self, RunConfigError> {
        let unwritable = |error: toml::ser::Error| RunConfigError::Unwritable {
            message: document::one_line(&error.to_string()),
        };
        let mut defaults = toml::Table::new();
        let model = toml::Value::try_from(saved).map_err(unwritable)?;
        defaults.insert("model".to_owned(), model);
        let config: Self = overrides::read_with(path, &defaults, overrides)?;
        config.validate().map_err(|error| error.in_file(path))?;
        Ok(config)
    }

    /// The same tree as TOML: reading it back gives an equal config.
    ///
    /// # Errors
    ///
    /// [`RunConfigError::Unwritable`] where a value has no TOML form, which [`Self::validate`]
    /// refuses.
    pub fn to_toml(&self) -> Result<String, RunConfigError> {
        toml::to_string(self).map_err(|error| RunConfigError::Unwritable {
            message: document::one_line(&error.to_string()),
        })
    }

    /// Checks every value against what it may be.
    ///
    /// # Errors
    ///
    /// [`RunConfigError::OutOfRange`] names the first wrong field; the model's own checks come as
    /// [`RunConfigError::Model`].
    pub fn validate(&self) -> Result<(), RunConfigError> {
        check(
            self.seed <= i64::MAX as u64,
            "seed",
            self.seed,
            "at most 9223372036854775807",
        )?;
        self.model.validate().map_err(RunConfigError::Model)?;
        self.data.validate()?;
        self.train.validate()
    }
}

impl DataConfig {
    /// Whether it names folders of token ids instead of text, as far as the names there say.
    pub(crate) fn is_of_ids(&self) -> bool {
        let path = Path::new(&self.source);
        let folder = || is_prepared(path) || is_foreign_folder(path);
        !self.sources.is_empty() || (self.source != TALES && folder())
    }

    /// Checks every value against what it may be.
    ///
    /// # Errors
    ///
    /// [`RunConfigError::OutOfRange`] names the first wrong field.
    pub fn validate(&self) -> Result<(), RunConfigError> {
        let Self {
            source,
            sources,
            tokenizer: _,
            validation_fraction,
            tales_train_bytes,
            tales_validation_bytes,
        } = self;
        let largest = 1u64 << 40;
        check(
            !source.is_empty(),
            "data.source",
            "\"\"",
            "\"tales\" or a path",
        )?;
        check(
            sources.is_empty() || source == TALES,
            "data.source",
            source,
            "left out where data.sources is given",
        )?;
        for SourceConfig { path, weight } in sources {
            check(!path.is_empty(), "data.sources.path", "\"\"", "a path")?;
            check(
                *weight > 0.0 && *weight <= 1e9,
                "data.sources.weight",
                weight,
                "above 0 and at most 1e9",
            )?;
        }
        check(
            *validation_fraction > 0.0 && *validation_fraction <= 0.5,
            "data.validation_fraction",
            validation_fraction,
            "above 0 and at most 0.5",
        )?;
        for (field, value) in [
            ("data.tales_train_bytes", tales_train_bytes),
            ("data.tales_validation_bytes", tales_validation_bytes),
        ] {
            check((1..=largest).contains(value), field, value, "1 to 2^40")?;
        }
        Ok(())
    }
}

impl TrainConfig {
    /// The learning rate's course.
    pub fn schedule(&self) -> Schedule {
        Schedule {
            peak: self.learning_rate,
            minimum: self
                .minimum_learning_rate
                .unwrap_or(self.learning_rate / 10.0),
            warmup_steps: self.warmup_steps.unwrap_or(self.steps.div_ceil(100)),
            decay: self.decay,
            decay_steps: self.decay_steps,
        }
    }

    /// The optimiser with its constants.
    pub fn optimizer(&self) -> OptimizerConfig {
        OptimizerConfig {
            kind: self.optimizer,
            adamw: self.adamw(),
            momentum: self.momentum,
        }
    }

    /// AdamW's constants.
    pub fn adamw(&self) -> AdamWConfig {
        AdamWConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            weight_decay: self.weight_decay,
        }
    }

    /// Sequences that enter one update: `batch` × `accumulation`.
    pub fn sequences_per_step(&self) -> usize {
        self.batch * self.accumulation
    }

    /// Checks every value against what it may be.
    ///
    /// # Errors
    ///
    /// [`RunConfigError::OutOfRange`] names the first wrong field.
    pub fn validate(&self) -> Result<(), RunConfigError> {
        const COUNT: u64 = 1 << 40;
        const SEQUENCES: usize = 1 << 20;
        let counts = [
            ("train.steps", self.steps, 1),
            ("train.warmup_steps", self.warmup_steps.unwrap_or(0), 0),
            ("train.evaluate_every", self.evaluate_every, 0),
            ("train.log_every", self.log_every, 0),
            ("train.decay_steps", self.decay_steps.unwrap_or(0), 0),
            ("train.checkpoint_every", self.checkpoint_every, 0),
            ("train.keep_checkpoints", self.keep_checkpoints, 1),
        ];
        for (field, value, least) in counts {
            let allowed = if least == 0 { "0 to 2^40" } else { "1 to 2^40" };
            check((least..=COUNT).contains(&value), field, value, allowed)?;
        }
        let sequences = [
            ("train.batch", self.batch),
            ("train.accumulation", self.accumulation),
            ("train.evaluation_batches", self.evaluation_batches),
        ];
        for (field, value) in sequences {
            check((1..=SEQUENCES).contains(&value), field, value, "1 to 2^20")?;
        }
        check(
            self.groups >= 1 && self.accumulation.is_multiple_of(self.groups),
            "train.groups",
            self.groups,
            "a divisor of train.accumulation",
        )?;
        let rate = self.learning_rate;
        check(
            rate > 0.0 && rate.is_finite(),
            "train.learning_rate",
            rate,
            "a finite number above 0",
        )?;
        if let Some(minimum) = self.minimum_learning_rate {
            check(
                minimum >= 0.0 && minimum <= rate,
                "train.minimum_learning_rate",
                minimum,
                "0 to learning_rate",
            )?;
        }
        for (field, beta) in [
            ("train.beta1", self.beta1),
            ("train.beta2", self.beta2),
            ("train.momentum", self.momentum),
        ] {
            check(
                (0.0..1.0).contains(&beta),
                field,
                beta,
                "0 or more and below 1",
            )?;
        }
        check(
            self.epsilon > 0.0 && self.epsilon.is_finite(),
            "train.epsilon",
            self.epsilon,
            "a finite number above 0",
        )?;
        for (field, value) in [
            ("train.weight_decay", self.weight_decay),
            ("train.clip", self.clip),
        ] {
            check(
                value >= 0.0 && value.is_finite(),
                field,
                value,
                "a finite number, 0 or more",
            )?;
        }
        Ok(())
    }
}

/// `Ok` where `holds`, and the error that names the field otherwise.
fn check(
    holds: bool,
    field: &'static str,
    value: impl ToString,
    allowed: &'static str,
) -> Result<(), RunConfigError> {
    if holds {
        return Ok(());
    }
    Err(RunConfigError::OutOfRange {
        field,
        value: value.to_string(),
        allowed,
    })
}
