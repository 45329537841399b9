//! What a checkpoint knows besides tensors.

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use simattn_data::Position;

use crate::fingerprint::Fingerprint;
use simattn::checkpoint::NamedTensor;

/// The newest layout of a checkpoint that this version writes and reads.
pub(super) const FORMAT: u32 = 1;

/// How far a run has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Updates of the weights.
    pub step: u64,
    /// Tokens trained on.
    pub tokens: u64,
    /// Floating-point operations of training; older checkpoints do not state them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flops: Option<f64>,
    /// Seconds of training, without evaluations.
    pub seconds: f64,
    /// Updates that the optimiser remembers; below `step` where it started anew on the way.
    pub optimizer_updates: u64,
    /// Where the next batch begins.
    pub position: Position,
}

/// `state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The layout of the checkpoint.
    pub format: u32,
    /// The version that wrote it.
    pub tool: String,
    /// How far the run had come.
    pub progress: Progress,
    /// The validation loss of exactly these weights, where they were evaluated.
    pub validation_loss: Option<f64>,
    /// The tokens that it learns from.
    pub data: Fingerprint,
    /// Bytes of `metrics.jsonl` that belong to the run up to here.
    pub metrics_bytes: u64,
    /// Bytes of the TensorBoard file that belong to the run up to here.
    pub events_bytes: u64,
    /// Bytes of the other files, to tell a truncated one at a glance.
    pub files: BTreeMap<String, u64>,
}

/// A copy of everything that changes with a step; training continues while it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// The weights.
    pub weights: Vec<NamedTensor>,
    /// What the optimiser remembers.
    pub optimizer: Vec<NamedTensor>,
    /// How far the run has come.
    pub progress: Progress,
}

impl Snapshot {
    /// The first tensor that holds NaN or infinity; those of the optimiser are named as such.
    pub fn first_non_finite(&self) -> Option<String> {
        let wrong =
            |tensor: &&NamedTensor| !tensor.values.par_iter().all(|value| value.is_finite());
        let weight = self.weights.iter().find(wrong);
        let weight = weight.map(|tensor| format!("the weight {}", tensor.name));
        weight.or_else(|| {
            let memory = self.optimizer.iter().find(wrong)?;
            Some(format!("what the optimizer remembers, {},", memory.name))
        })
    }
}
