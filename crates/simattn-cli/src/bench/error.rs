//! Why a bench ends early.

use burn::backend::ExecutionError;
use simattn::ModelConfigError;
use simattn_train::TrainError;
use thiserror::Error;

/// Why a bench ended early. `Display` is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// Sizes that describe no model.
    #[error(transparent)]
    Sizes(#[from] ModelConfigError),
    /// Sizes that no machine holds.
    #[error("these sizes need a tensor of {values:.1e} values: give smaller ones")]
    TooLarge {
        /// Values of the largest activation, or parameters.
        values: f64,
    },
    /// A kernel that does not compute what it should.
    #[error(transparent)]
    Wrong(#[from] Disagreement),
    /// A training step that failed.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// Work that a device did not finish.
    #[error("the device failed: {0}")]
    Device(#[from] ExecutionError),
    /// The thread pool exists already.
    #[error("cannot run on {threads} threads: {reason}")]
    Threads {
        /// How many were asked for.
        threads: usize,
        /// What the pool says.
        reason: String,
    },
}

impl BenchError {
    /// Whether other arguments would avoid it.
    pub(crate) fn is_input(&self) -> bool {
        matches!(self, Self::Sizes(_) | Self::TooLarge { .. })
    }
}

/// A kernel that does not agree with its definition.
#[derive(Clone, Debug, PartialEq, Error)]
#[error(
    "the {kernels} kernels are wrong and are not timed: {case}: relative error {error:.1e} in {tensor}, at most \
     {limit:.0e} is allowed"
)]
pub(crate) struct Disagreement {
    /// "fast" or "reference".
    pub kernels: &'static str,
    /// What was computed.
    pub case: String,
    /// The tensor that is furthest off.
    pub tensor: String,
    /// Its relative error.
    pub error: f64,
    /// The largest that passes.
    pub limit: f64,
}
