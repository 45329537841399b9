//! How fast a layer, a training step and decoding are here, and what they take.
//!
//! [`workload`] says what is timed and how many operations it has by definition; [`layer`],
//! [`train`] and [`decode`] do the work; [`check`] compares the kernels with their definitions
//! first, because the time of a wrong kernel means nothing; [`timing`] takes times, also of a plain
//! matrix product beside them; [`record`] is the line that comes out; [`torch`] runs the same
//! beside a PyTorch program and compares.

mod call;
pub(crate) mod check;
mod comparison;
mod decode;
mod error;
mod layer;
pub(crate) mod record;
pub(crate) mod timing;
pub(crate) mod torch;
mod train;
pub(crate) mod workload;

pub(crate) use call::Bench;
pub(crate) use error::BenchError;

use burn::tensor::Device;
use rayon::ThreadPoolBuilder;

use crate::device;
use crate::peak::measured_flops;
use record::{Record, Setting};
use workload::Work;

/// Sets the threads of the whole process: to be called once, before any other work, which includes
/// the first check of a GPU.
///
/// # Errors
/// Threads that are there already, or that the system does not give.
pub(crate) fn use_threads(threads: usize) -> Result<(), BenchError> {
    ThreadPoolBuilder::new()
        .num_threads(threads)
        .build_global()
        .map_err(|error| BenchError::Threads {
            threads,
            reason: error.to_string(),
        })
}

/// Checks the kernels, then times the work; `emit` gets each record as soon as it is there.
///
/// # Errors
/// Sizes that cannot be, kernels that fail their check, a training step that breaks off.
pub(crate) fn run(bench: &Bench, emit: &mut dyn FnMut(&Record)) -> Result<(), BenchError> {
    bench.sizes.validate(bench.work, bench.variant)?;
    check::of(
        bench.work,
        bench.variant,
        &bench.sizes,
        check::Subject {
            kernels: bench.kernels,
            precision: bench.precision,
            device: &bench.device,
        },
    )?;
    let setting = Setting {
        variant: bench.variant,
        heads_only: bench.sizes.heads_only,
        kernels: bench.kernels,
        precision: bench.precision,
        threads: bench.threads,
        device: device::name(&bench.device),
        product_rate: if bench.device == Device::flex() {
            timing::product_rate()
        } else {
            measured_flops(&bench.device, bench.precision)
        },
    };
    match bench.work {
        Work::Layer => layer::bench(bench, &setting, emit),
        Work::Train => train::bench(bench, &setting, emit),
        Work::Decode => decode::bench(bench, &setting, emit),
    }
}
