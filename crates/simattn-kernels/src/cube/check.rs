//! Whether a device computes what it should, before anybody trusts it with a training run.

use burn::tensor::{DType, Device, Tensor, TensorData};
use thiserror::Error;

use crate::ops;
use crate::reference::{
    self, Aggregation, AttentionOptions, Expansion, ExpansionOptions, FeatureExpansion,
    HeadExpansion, RopePlacement, SasOptions, SasWeights,
};

/// The largest RMS relative error of attention that passes, in float32.
const TOLERANCE: f64 = 1e-4;

/// The same of simulated attention and its gradients in bfloat16, of which 3e-2 is rounding.
const TOLERANCE_OF_HALVES: f64 = 0.1;

/// A device on which attention is wrong. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Error)]
#[error(
    "{device} computes attention in {dtype:?} with a relative error of {error:.1e} in a first check: its driver, or the code that \
     was made for it, is wrong"
)]
pub struct WrongDevice {
    /// The device, as Burn calls it.
    pub device: String,
    /// The type in which it was asked.
    pub dtype: DType,
    /// RMS of the difference over RMS of the truth; NaN if a value is not finite.
    pub error: f64,
}

/// Runs attention once on `device` in float32 and compares it with the definition on the CPU: it takes a fraction of a second,
/// and a driver that mistakes shared memory shows.
///
/// # Errors
/// The error, if it is above 1e-4.
pub fn agrees(device: &Device) -> Result<(), WrongDevice> {
    let got = attention(&device.clone().inner(), ops::attention);
    let exact = attention(&Device::flex(), reference::attention);
    judge(device, DType::F32, relative_error(&got, &exact), TOLERANCE)
}

/// Runs simulated attention forward and backward on `device` in `dtype`, bfloat16 or float16, and compares output and gradients with
/// the definition on the CPU in float32: the kernels of matrix units, which no run in float32 touches.
///
/// # Errors
/// The largest error, if it is above 0.1.
pub fn agrees_in(device: &Device, dtype: DType) -> Result<(), WrongDevice> {
    let got = simulated_attention(&device.clone().autodiff(), dtype, ops::sas_attention);
    let exact = simulated_attention(
        &Device::flex().autodiff(),
        DType::F32,
        reference::sas_attention,
    );
    let errors = got.iter().zip(&exact).map(|(g, e)| relative_error(g, e));
    // A NaN stays: `max` would pass over it.
    let worst = errors.fold(0.0, |worst: f64, error| match error > worst {
        false if !error.is_nan() => worst,
        _ => error,
    });
    judge(device, dtype, worst, TOLERANCE_OF_HALVES)
}

fn judge(device: &Device, dtype: DType, error: f64, tolerance: f64) -> Result<(), WrongDevice> {
    // NaN is no agreement either.
    if error <= tolerance {
        return Ok(());
    }
    Err(WrongDevice {
        device: format!("{device:?}"),
        dtype,
        error,
    })
}

/// Multiples of `unit`, at most 32 of them: every type holds them as they are.
fn tensor<const R: usize>(
    phase: usize,
    shape: [usize; R],
    unit: f32,
    device: &Device,
    dtype: DType,
) -> Tensor<R> {
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|i| (((i * 37 + phase * 101) % 64) as f32 - 32.0) * unit)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), (device, dtype))
}

fn attention(
    device: &Device,
    attend: fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionOptions) -> Tensor<4>,
) -> Vec<f64> {
    // More than one tile of tokens, a width that no strip divides.
    let (tokens, width) = (70, 20);
    let [q, k, v] =
        [0, 1, 2].map(|phase| tensor(phase, [1, 2, tokens, width], 1.0 / 16.0, device, DType::F32));
    values(attend(q, k, v, &AttentionOptions::causal(width)))
}

type SimulatedAttention = fn(
    Tensor<4>,
    Tensor<4>,
    Tensor<4>,
    &SasWeights,
    Option<(&reference::RopeTable, &reference::RopeTable)>,
    &SasOptions,
) -> Tensor<3>;

/// Output and gradients of the inputs and of the weights' matrices: those of some biases are zero by symmetry.
fn simulated_attention(device: &Device, dtype: DType, attend: SimulatedAttention) -> Vec<Vec<f64>> {
    let (tokens, heads, expanded_heads, width, expanded_width, taps) = (40, 2, 6, 16, 24, 5);
    let mut phase = 0;
    let mut next = || {
        phase += 1;
        phase
    };
    let [q, k, v] = [(); 3].map(|()| {
        let shape = [1, tokens, heads, width];
        tensor(next(), shape, 1.0 / 16.0, device, dtype).require_grad()
    });
    // Units that keep expanded values near one.
    let mut expansion = |features: bool| Expansion {
        heads: Some(HeadExpansion {
            first_weight: tensor(
                next(),
                [expanded_heads, heads, taps],
                1.0 / 64.0,
                device,
                dtype,
            )
            .require_grad(),
            first_bias: tensor(next(), [expanded_heads], 1.0 / 128.0, device, dtype),
            second_weight: tensor(
                next(),
                [expanded_heads, expanded_heads, taps],
                1.0 / 256.0,
                device,
                dtype,
            )
            .require_grad(),
            second_bias: tensor(next(), [expanded_heads], 1.0 / 128.0, device, dtype),
        }),
        features: features.then(|| FeatureExpansion {
            first_weight: tensor(next(), [expanded_width, width], 1.0 / 64.0, device, dtype)
                .require_grad(),
            first_bias: tensor(next(), [expanded_width], 1.0 / 128.0, device, dtype),
            second_weight: tensor(
                next(),
                [expanded_width, expanded_width],
                1.0 / 256.0,
                device,
                dtype,
            )
            .require_grad(),
            second_bias: tensor(next(), [expanded_width], 1.0 / 128.0, device, dtype),
        }),
    };
    let weights = SasWeights {
        q: expansion(true),
        k: expansion(true),
        v: expansion(false),
    };
    let options = SasOptions {
        attention: AttentionOptions::causal(expanded_width),
        // A ReLU near zero would take the other branch by rounding.
        expansion: ExpansionOptions {
            relu: false,
            ..ExpansionOptions::default()
        },
        rope: RopePlacement::None,
        aggregation: Aggregation::default(),
    };
    let y = attend(q.clone(), k.clone(), v.clone(), &weights, None, &options);
    let dy = tensor(next(), y.dims(), 1.0 / 16.0, device, dtype);
    let gradients = (y.clone() * dy).sum().backward();
    let mut all = vec![values(y.inner())];
    all.extend([&q, &k, &v].map(|x| x.grad(&gradients).map_or(Vec::new(), values)));
    for expansion in [&weights.q, &weights.k, &weights.v] {
        if let Some(stage) = &expansion.heads {
            let of = [&stage.first_weight, &stage.second_weight];
            all.extend(of.map(|x| x.grad(&gradients).map_or(Vec::new(), values)));
        }
        if let Some(stage) = &expansion.features {
            let of = [&stage.first_weight, &stage.second_weight];
            all.extend(of.map(|x| x.grad(&gradients).map_or(Vec::new(), values)));
        }
    }
    all
}

fn values<const R: usize>(x: Tensor<R>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// NaN where a value is not finite or one is missing.
fn relative_error(got: &[f64], exact: &[f64]) -> f64 {
    if got.len() != exact.len() {
        return f64::NAN;
    }
    let square = |x: f64| x * x;
    let difference: f64 = got.iter().zip(exact).map(|(g, e)| square(g - e)).sum();
    let size: f64 = exact.iter().copied().map(square).sum();
    (difference / size).sqrt()
}
