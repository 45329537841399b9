//! How fast a layer, a training step and decoding are here, and what they take.
//!
//! [`workload`] says what is timed and how many operations it has by definition; [`layer`], [`train`] and [`decode`]
//! do the work; [`check`] compares the kernels with their definitions first, because the time of a wrong kernel
//! means nothing; [`timing`] takes times, also of a plain matrix product beside them; [`record`] is the line that
//! comes out; [`torch`] runs the same beside a PyTorch program and compares.
//!
//! ```
//! use simattn_cli::bench::workload::{Operations, Sizes, Variant};
//!
//! let sizes = Sizes { batch: 1, ..Sizes::default() };
//! let sas = Operations::of_layer(&sizes.layer(Variant::Sas)?, sizes.batch, sizes.seq);
//! let mha = Operations::of_layer(&sizes.layer(Variant::Mha)?, sizes.batch, sizes.seq);
//! assert!(sas.forward() > 2.0 * mha.forward());
//! # Ok::<(), simattn_cli::bench::BenchError>(())
//! ```

pub mod check;
pub mod decode;
pub mod layer;
pub mod record;
pub mod timing;
pub mod torch;
pub mod train;
pub mod workload;

use burn::backend::ExecutionError;
use burn::tensor::Device;
use rayon::ThreadPoolBuilder;
use simattn::{ConfigError, Precision, Recompute};
use simattn_kernels::Kernels;
use simattn_train::TrainError;
use thiserror::Error;

use crate::device;
use crate::peak::measured_flops;
use check::Disagreement;
use record::{Record, Setting};
use timing::Repetitions;
use workload::{Sizes, Variant, Work};

/// One call of the bench.
#[derive(Clone, Debug)]
pub struct Bench {
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
    /// Threads of all kernels; see [`use_threads`].
    pub threads: usize,
    /// How often it runs.
    pub repetitions: Repetitions,
}

/// Why a bench ended early. `Display` is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BenchError {
    /// Sizes that describe no model.
    #[error(transparent)]
    Sizes(#[from] ConfigError),
    /// Sizes that no machine holds.
    #[error("these sizes ask for {values:.1e} values in one place: give smaller ones")]
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
    #[error("the device broke off: {0}")]
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
    /// Whether other arguments would put it right.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Sizes(_) | Self::TooLarge { .. })
    }
}

/// Sets the threads of the whole process: to be called once, before any other work, which includes the first check of a GPU.
///
/// # Errors
/// Threads that are there already, or that the system does not give.
pub fn use_threads(threads: usize) -> Result<(), BenchError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| BenchError::Threads {
            threads,
            reason: error.to_string(),
        })
}

impl Bench {
    /// Checks the kernels, then times the work; `emit` gets each record as soon as it is there.
    ///
    /// # Errors
    /// Sizes that cannot be, kernels that fail their check, a training step that breaks off.
    pub fn run(&self, emit: &mut dyn FnMut(&Record)) -> Result<(), BenchError> {
        self.sizes.validate(self.work, self.variant)?;
        check::of(
            self.work,
            self.variant,
            &self.sizes,
            check::Subject {
                kernels: self.kernels,
                precision: self.precision,
                device: &self.device,
            },
        )?;
        let setting = Setting {
            variant: self.variant,
            kernels: self.kernels,
            precision: self.precision,
            threads: self.threads,
            device: device::name(&self.device),
            product_rate: match self.device == Device::flex() {
                true => timing::product_rate(),
                false => measured_flops(&self.device, self.precision),
            },
        };
        match self.work {
            Work::Layer => layer::bench(self, &setting, emit),
            Work::Train => train::bench(self, &setting, emit),
            Work::Decode => decode::bench(self, &setting, emit),
        }
    }
}
