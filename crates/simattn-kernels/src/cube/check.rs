//! Whether a device computes what it should, before anybody trusts it with a training run.

use burn::tensor::{Device, Tensor, TensorData};
use thiserror::Error;

use crate::ops;
use crate::reference::{self, AttentionOptions};

/// Tokens: more than one tile of them.
const TOKENS: usize = 70;
/// Width of q, k and v: divided by no strip.
const WIDTH: usize = 20;
/// The largest RMS relative error that passes.
const TOLERANCE: f64 = 1e-4;

/// A device on which attention is wrong. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Error)]
#[error(
    "{device} computes attention with a relative error of {error:.1e} in a first check: its driver, or the code that was made \
     for it, is wrong"
)]
pub struct WrongDevice {
    /// The device, as Burn calls it.
    pub device: String,
    /// RMS of the difference over RMS of the truth; NaN if a value is not finite.
    pub error: f64,
}

/// Runs attention once on `device` and compares it with the definition on the CPU: it takes a fraction of a second, and a
/// driver that mistakes shared memory shows.
///
/// # Errors
/// The error, if it is above 1e-4.
pub fn agrees(device: &Device) -> Result<(), WrongDevice> {
    let shape = [1, 2, TOKENS, WIDTH];
    let tensor = |phase: usize, device: &Device| {
        let values: Vec<f32> = (0..2 * TOKENS * WIDTH)
            .map(|i| ((i * 37 + phase * 101) % 64) as f32 / 16.0 - 2.0)
            .collect();
        Tensor::<4>::from_data(TensorData::new(values, shape), device)
    };
    let options = AttentionOptions::causal(WIDTH);
    let inputs = |device: &Device| [0, 1, 2].map(|phase| tensor(phase, device));
    let [q, k, v] = inputs(&device.clone().inner());
    let got = ops::attention(q, k, v, &options).into_data();
    let [q, k, v] = inputs(&Device::flex());
    let exact = reference::attention(q, k, v, &options).into_data();
    let square = |x: f64| x * x;
    let pairs = got.iter::<f64>().zip(exact.iter::<f64>());
    let difference: f64 = pairs.map(|(got, exact)| square(got - exact)).sum();
    let size: f64 = exact.iter::<f64>().map(square).sum();
    let error = (difference / size).sqrt();
    // NaN is no agreement either.
    if error <= TOLERANCE {
        return Ok(());
    }
    Err(WrongDevice {
        device: format!("{device:?}"),
        error,
    })
}
