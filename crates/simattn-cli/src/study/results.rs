//! What a study measured, as it is kept in `results.json`.
//!
//! Losses are mean negative log-likelihoods in nats per token. A number that is not finite (a
//! diverged loss) is written as `null`, because JSON has no word for it, and read back as NaN.

use serde::{Deserialize, Serialize};
use simattn_train::exact_json;

pub use super::equal::Equal;
use super::nan_as_null;
use super::plan::Plan;
pub use super::rate_search::{RateSearch, RateTry};
use crate::machine::Machine;

/// Everything one study measured, with what a reader needs to repeat it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StudyResults {
    /// The study's title.
    pub name: String,
    /// When it began, as an RFC 3339 time.
    pub created: String,
    /// The command line that repeats it.
    pub command: String,
    /// Where it ran.
    pub machine: Machine,
    /// The version of simattn that ran it.
    pub tool_version: String,
    /// What the models were trained and scored on.
    pub corpus: CorpusFacts,
    /// How every model was trained.
    pub schedule: Schedule,
    /// How the variants' sizes were matched, one statement a line.
    pub matching: Vec<String>,
    /// The variants, in the order in which they are shown.
    pub variants: Vec<VariantResults>,
    /// The [`VariantResults::name`] that the others are measured against, usually `mha`.
    pub baseline: String,
    /// What it was to do, to the last field; None where an older version wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
}

/// The text behind a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CorpusFacts {
    /// Where the text came from: a name or paths.
    pub source: String,
    /// The tokenizer, in words.
    pub tokenizer: String,
    /// Entries in the vocabulary.
    pub vocabulary: u64,
    /// Tokens there were to train on.
    pub train_tokens: u64,
    /// Target tokens every evaluation scored.
    pub validation_tokens: u64,
    /// UTF-8 bytes that those targets spell: the denominator of bits per byte.
    pub validation_bytes: u64,
}

/// How every model of a study was trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Schedule {
    /// What was held equal.
    pub equal: Equal,
    /// Optimiser steps of the baseline; every variant's where steps are equal.
    pub steps: u64,
    /// Sequences in a step.
    pub batch: u64,
    /// Tokens in a sequence.
    pub context: u64,
    /// Target tokens in a step.
    pub tokens_per_step: u64,
    /// The peak learning rate.
    #[serde(deserialize_with = "exact_json::number")]
    pub learning_rate: f64,
    /// One run of every variant for each seed.
    pub seeds: Vec<u64>,
}

/// One variant of attention: what its model costs, and its runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VariantResults {
    /// The name by which commands and [`StudyResults::baseline`] know it, such as `sas`.
    pub name: String,
    /// The name that readers see, such as `SAS`.
    pub label: String,
    /// Its heads and widths in one line.
    pub attention: String,
    /// Its parameters.
    pub parameters: Parameters,
    /// FLOPs of a forward pass, per token.
    #[serde(deserialize_with = "exact_json::number")]
    pub forward_flops_per_token: f64,
    /// FLOPs of a training step (forward and backward), per token.
    #[serde(deserialize_with = "exact_json::number")]
    pub training_flops_per_token: f64,
    /// Bytes that the cache of a generating model grows by with every token, over all layers.
    #[serde(deserialize_with = "exact_json::number")]
    pub cache_bytes_per_token: f64,
    /// Seconds of a training step, one number a round, where the steps of all variants were timed
    /// in turn (A B C A B C …) on the study's machine; round n is the same for all variants.
    #[serde(
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "exact_json::numbers"
    )]
    pub step_seconds: Vec<f64>,
    /// How its peak learning rate was chosen; None where it is the schedule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_search: Option<RateSearch>,
    /// One run a seed, in the order of [`Schedule::seeds`].
    pub runs: Vec<RunResults>,
}

/// Counts of parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// All parameters.
    pub total: u64,
    /// Those of the token embedding (and the output head, where it is not tied).
    pub embedding: u64,
    /// Those of the attention layers.
    pub attention: u64,
}

/// One training run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResults {
    /// The seed that everything random in it came from.
    pub seed: u64,
    /// Optimiser steps it took.
    pub steps: u64,
    /// Target tokens it was trained on.
    pub tokens: u64,
    /// Training time in seconds, without evaluation.
    #[serde(with = "nan_as_null")]
    pub seconds: f64,
    /// [`tokens`](Self::tokens) over [`seconds`](Self::seconds).
    #[serde(with = "nan_as_null")]
    pub tokens_per_second: f64,
    /// The most memory it held, in bytes, where that could be measured.
    pub peak_memory_bytes: Option<u64>,
    /// What training logged, in order of steps.
    pub train: Vec<TrainPoint>,
    /// What evaluation on the validation split gave, in order of steps; the last one is after the
    /// last step.
    pub evaluations: Vec<EvalPoint>,
    /// How it ended.
    pub status: RunStatus,
    /// Where it ran, if that is not the study's machine: times are compared within a machine alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub machine: Option<Machine>,
}

/// One logged training step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainPoint {
    /// Optimiser steps so far, this one included.
    pub step: u64,
    /// The step's training loss, nats per token.
    #[serde(with = "nan_as_null")]
    pub loss: f64,
    /// The step's learning rate.
    #[serde(with = "nan_as_null")]
    pub learning_rate: f64,
    /// The gradient's Euclidean norm before clipping.
    #[serde(with = "nan_as_null")]
    pub gradient_norm: f64,
    /// Training seconds so far.
    #[serde(with = "nan_as_null")]
    pub seconds: f64,
}

/// One evaluation on the validation split.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EvalPoint {
    /// Optimiser steps so far.
    pub step: u64,
    /// Target tokens trained on so far.
    pub tokens: u64,
    /// Training seconds so far, without evaluation.
    #[serde(with = "nan_as_null")]
    pub seconds: f64,
    /// Training FLOPs so far.
    #[serde(with = "nan_as_null")]
    pub flops: f64,
    /// Validation loss, nats per token.
    #[serde(with = "nan_as_null")]
    pub loss: f64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum RunStatus {
    /// It trained to its budget.
    Finished,
    /// It stopped before.
    Failed {
        /// Why, in one line.
        reason: String,
    },
}

/// A mean over runs, and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Estimate {
    /// The arithmetic mean.
    pub mean: f64,
    /// The mean's standard error: the sample deviation (over n − 1) divided by √n. None for one
    /// run.
    pub standard_error: Option<f64>,
    /// How many runs it comes from.
    pub runs: usize,
}

impl Estimate {
    /// The mean of `samples`; None where there is none, or one of them is not finite.
    pub(crate) fn of(samples: &[f64]) -> Option<Self> {
        if samples.is_empty() || samples.iter().any(|sample| !sample.is_finite()) {
            return None;
        }
        let runs = samples.len();
        let mean = samples.iter().sum::<f64>() / runs as f64;
        let standard_error = (runs > 1).then(|| {
            let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
            (squares / (runs - 1) as f64 / runs as f64).sqrt()
        });
        Some(Self {
            mean,
            standard_error,
            runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_has_the_standard_error_of_the_mean() {
        // Deviations −1, 0, 1: sample variance 1, over three runs 1/3.
        let estimate = Estimate::of(&[1.0, 2.0, 3.0]).unwrap();
        assert_eq!(estimate.mean, 2.0);
        assert!((estimate.standard_error.unwrap() - (1.0f64 / 3.0).sqrt()).abs() < 1e-15);
        assert_eq!(Estimate::of(&[5.0]).unwrap().standard_error, None);
        assert_eq!(Estimate::of(&[]), None);
        assert_eq!(Estimate::of(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn a_diverged_loss_survives_json() {
        let point = EvalPoint {
            step: 1,
            tokens: 2,
            seconds: 3.0,
            flops: 4.0,
            loss: f64::INFINITY,
        };
        let json = serde_json::to_string(&point).unwrap();
        assert!(json.contains("\"loss\":null"), "{json}");
        let back: EvalPoint = serde_json::from_str(&json).unwrap();
        assert!(back.loss.is_nan());
        assert_eq!(
            (back.step, back.tokens, back.seconds, back.flops),
            (1, 2, 3.0, 4.0)
        );
    }

    #[test]
    fn what_an_older_version_wrote_is_read_and_written_alike() {
        let study = crate::study::synthetic::study(2);
        let older = serde_json::to_value(&study).unwrap();
        let variant = &older["variants"][0];
        for newer in [&variant["step_seconds"], &variant["rate_search"]] {
            assert!(newer.is_null());
        }
        assert!(variant["runs"][0].get("machine").is_none());
        let read: StudyResults = serde_json::from_value(older.clone()).unwrap();
        assert!(read == study && serde_json::to_value(&read).unwrap() == older);
    }

    #[test]
    fn results_survive_json() {
        let results = crate::study::synthetic::study(3);
        let json = serde_json::to_string(&results).unwrap();
        let back: StudyResults = exact_json::from_str(&json).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }
}
