//! One optimiser step of a decoder on random ids: forward, backward, clipping by the global norm,
//! AdamW.

use burn::module::Module;
use burn::tensor::Device;
use simattn::{Decoder, named};
use simattn_data::Batch;
use simattn_random::stream;
use simattn_train::{AdamW, AdamWConfig, TrainError, clip_factor, step_gradients};

use super::call::Bench;
use super::error::BenchError;
use super::record::{Measurement, Record, Setting};
use super::timing::measure;
use super::workload::{Operations, SEED, Sizes};
use crate::memory::Peak;

const LEARNING_RATE: f64 = 6e-4;
const CLIP: f64 = 1.0;
const ADAMW: AdamWConfig = AdamWConfig {
    beta1: 0.9,
    beta2: 0.95,
    epsilon: 1e-8,
    weight_decay: 0.1,
};

/// Times whole steps of a NeoX-style decoder with rotary positions.
///
/// # Errors
/// Sizes that describe no decoder, a loss or gradient that is not finite.
pub(crate) fn bench(
    bench: &Bench,
    setting: &Setting,
    emit: &mut dyn FnMut(&Record),
) -> Result<(), BenchError> {
    let model = bench.sizes.decoder(bench.variant)?;
    let device = bench.device.clone().autodiff();
    let decoder = Decoder::new(&model, SEED, &device)?
        .with_kernels(bench.kernels)
        .with_recompute(bench.recompute)
        .with_precision(bench.precision);
    let parameters = decoder.num_params();
    let batch = random_batch(&bench.sizes);
    // Drawing the weights took more memory than they do; that is not the step's.
    let peak = Peak::start();
    let mut optimizer = AdamW::new(ADAMW);
    optimizer.reserve(&named::parameters(&decoder), &device);
    let mut decoder = Some(decoder);
    let times = measure(bench.repetitions, || {
        if let Some(before) = decoder.take() {
            decoder = Some(step(before, &batch, &mut optimizer, &device)?);
        }
        Ok::<(), BenchError>(device.sync()?)
    })?;
    let operations = Operations::of_decoder(&model, batch.batch, batch.context);
    let measurement = Measurement {
        what: "train step",
        positions: "rope",
        times: &times,
        tokens: batch.batch * batch.context,
        operations: operations.forward() + operations.backward(),
        peak: peak.bytes(),
        parameters: Some(parameters),
    };
    emit(&Record::new(setting, &measurement));
    Ok(())
}

fn step(
    decoder: Decoder,
    batch: &Batch,
    optimizer: &mut AdamW,
    device: &Device,
) -> Result<Decoder, TrainError> {
    let number = optimizer.updates() + 1;
    let batches = std::slice::from_ref(batch);
    let gradients = step_gradients(&decoder, batches, device, number, LEARNING_RATE)?;
    let scale = clip_factor(gradients.norm, CLIP);
    Ok(optimizer.update(decoder, gradients.sum, LEARNING_RATE, scale))
}

/// Ids drawn evenly from the vocabulary, each the target of the one before it.
pub(super) fn random_batch(sizes: &Sizes) -> Batch {
    let mut chance = stream(SEED, "bench.ids");
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..sizes.batch {
        let row: Vec<i32> = (0..=sizes.seq)
            .map(|_| chance.below(sizes.vocabulary as u64) as i32)
            .collect();
        inputs.extend(&row[..sizes.seq]);
        targets.extend(&row[1..]);
    }
    Batch {
        inputs,
        targets,
        batch: sizes.batch,
        context: sizes.seq,
    }
}
