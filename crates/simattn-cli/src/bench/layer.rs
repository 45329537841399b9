//! One attention layer: x [B, T, C] → projections of q, k and v → attention → output projection.

use std::hint::black_box;

use burn::module::Module;
use burn::tensor::{DType, Tensor, TensorData};
use simattn::attention::{Attention, Pass};
use simattn::init::Initialiser;
use simattn_kernels::Kernels;

use super::call::Bench;
use super::error::BenchError;
use super::record::{Measurement, Record, Setting};
use super::timing::{Times, measure};
use super::workload::{Operations, SEED, normals};
use crate::memory::Peak;

/// A pass without positions.
pub(super) fn without_positions(kernels: Kernels) -> Pass<'static> {
    Pass::new(None, kernels)
}

/// A layer's input or output in the type of a pass, or back from it.
pub(super) fn in_type(x: Tensor<3>, dtype: DType) -> Tensor<3> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// Times the forward pass without a graph, then forward and backward with the gradients of x and of
/// all weights.
///
/// # Errors
/// Sizes that describe no layer.
pub(crate) fn bench(
    bench: &Bench,
    setting: &Setting,
    emit: &mut dyn FnMut(&Record),
) -> Result<(), BenchError> {
    let (batch, tokens) = (bench.sizes.batch, bench.sizes.seq);
    let model = bench.sizes.layer(bench.variant)?;
    let device = bench.device.clone().autodiff();
    let layer = Attention::new(&model, &Initialiser::new(&model, SEED, &device));
    let values = normals("bench.x", batch * tokens * model.width);
    let data = TensorData::new(values, [batch, tokens, model.width]);
    let x = Tensor::<3>::from_data(data, &device).require_grad();
    let operations = Operations::of_layer(&model, batch, tokens);
    let pass = without_positions(bench.kernels);
    let dtype = bench.precision.dtype();

    let mut record = |what, operations, (times, peak): (Times, _)| {
        let measurement = Measurement {
            what,
            positions: "none",
            times: &times,
            tokens: batch * tokens,
            operations,
            peak,
            parameters: None,
        };
        emit(&Record::new(setting, &measurement));
    };
    let plain = layer.valid();
    let plain_x = x.clone().inner();
    let forward = timed(bench, || {
        black_box(plain.forward(in_type(plain_x.clone(), dtype), &pass));
    })?;
    record("layer forward", operations.forward(), forward);
    drop((plain, plain_x));
    let both = timed(bench, || {
        // From a gradient of ones, which costs no operation to make part of the graph.
        let y = layer.forward(in_type(x.clone(), dtype), &pass);
        black_box(in_type(y, DType::F32).backward());
    })?;
    let all = operations.forward() + operations.backward();
    record("layer forward+backward", all, both);
    Ok(())
}

/// Times of work, and the largest resident set meanwhile.
///
/// # Errors
/// A device that breaks off.
pub(super) fn timed(
    bench: &Bench,
    mut work: impl FnMut(),
) -> Result<(Times, Option<u64>), BenchError> {
    let peak = Peak::start();
    let times = measure(bench.repetitions, || {
        work();
        // Devices that work behind our back are waited for.
        bench.device.sync()
    })?;
    Ok((times, peak.bytes()))
}
