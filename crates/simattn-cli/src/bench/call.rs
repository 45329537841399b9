//! What one call of the bench times, and how.

use burn::tensor::Device;
use simattn::{Precision, Recompute};
use simattn_kernels::Kernels;

use super::timing::Repetitions;
use super::workload::{Sizes, Variant, Work};

/// One call of the bench.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    /// What is timed.
    pub work: Work,
    /// With which attention.
    pub variant: Variant,
    /// How large it is.
    pub sizes: Sizes,
    /// Through which implementation.
    pub kernels: Kernels,
    /// What a training step works out again in backward.
    pub recompute: Recompute,
    /// The float type of a pass; weights are float32 in either.
    pub precision: Precision,
    /// Where.
    pub device: Device,
    /// Threads of all kernels; see [`super::use_threads`].
    pub threads: usize,
    /// How often it runs.
    pub repetitions: Repetitions,
}
