//! Whether a device computes what it should, before anybody trusts it with a training run.

use burn::tensor::{DType, Device, Gradients, Tensor, TensorData};
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

/// Runs attention once on `device` in float32 and compares it with the definition on the CPU: it
/// takes a fraction of a second, and a driver that mistakes shared memory shows.
///
/// # Errors
/// The error, if it is above 1e-4.
pub fn agrees(device: &Device) -> Result<(), WrongDevice> {
    let got = attention(&device.clone().inner(), ops::attention);
    let exact = attention(&Device::flex(), reference::attention);
    judge(device, DType::F32, relative_error(&got, &exact), TOLERANCE)
}

/// Runs simulated attention forward and backward on `device` in `dtype`, bfloat16 or float16, and
/// compares output and gradients with the definition on the CPU in float32: the kernels of matrix
/// units, which no run in float32 touches.
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
    let worst = errors.fold(0.0, |worst: f64, error| {
        if error > worst || error.is_nan() {
            error
        } else {
            worst
        }
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

/// Makes tensors of numbers that every type holds as they are, each tensor of others.
struct Leaves<'a> {
    device: &'a Device,
    dtype: DType,
    made: usize,
}

impl Leaves<'_> {
    /// Multiples of `unit`, at most 32 of them.
    fn leaf<const R: usize>(&mut self, shape: [usize; R], unit: f32) -> Tensor<R> {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|i| (((i * 37 + self.made * 101) % 64) as f32 - 32.0) * unit)
            .collect();
        self.made += 1;
        let values = TensorData::new(values, shape);
        Tensor::from_data(values, (self.device, self.dtype))
    }
}

fn attention(
    device: &Device,
    attend: fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionOptions) -> Tensor<4>,
) -> Vec<f64> {
    // More than one tile of tokens, a width that no strip divides.
    let (tokens, width) = (70, 20);
    let mut leaves = Leaves {
        device,
        dtype: DType::F32,
        made: 0,
    };
    let [q, k, v] = [(); 3].map(|()| leaves.leaf([1, 2, tokens, width], 1.0 / 16.0));
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

/// Output and gradients of the inputs and of the weights' matrices: those of some biases are zero
/// by symmetry.
fn simulated_attention(device: &Device, dtype: DType, attend: SimulatedAttention) -> Vec<Vec<f64>> {
    // Widths that the kernels for tensor cores take, where a device has these.
    let (tokens, heads, expanded_heads, width, expanded_width, taps) = (40, 2, 6, 16, 32, 5);
    let mut leaves = Leaves {
        device,
        dtype,
        made: 0,
    };
    let compact = [1, tokens, heads, width];
    let [q, k, v] = [(); 3].map(|()| leaves.leaf(compact, 1.0 / 16.0).require_grad());
    // Units that keep expanded values near one.
    let (first, second, bias) = (1.0 / 64.0, 1.0 / 256.0, 1.0 / 128.0);
    let mut expansion = |features: bool| Expansion {
        heads: Some(HeadExpansion {
            first_weight: leaves
                .leaf([expanded_heads, heads, taps], first)
                .require_grad(),
            first_bias: leaves.leaf([expanded_heads], bias),
            second_weight: leaves
                .leaf([expanded_heads, expanded_heads, taps], second)
                .require_grad(),
            second_bias: leaves.leaf([expanded_heads], bias),
        }),
        features: features.then(|| FeatureExpansion {
            first_weight: leaves.leaf([expanded_width, width], first).require_grad(),
            first_bias: leaves.leaf([expanded_width], bias),
            second_weight: leaves
                .leaf([expanded_width, expanded_width], second)
                .require_grad(),
            second_bias: leaves.leaf([expanded_width], bias),
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
    let dy = leaves.leaf(y.dims(), 1.0 / 16.0);
    let gradients = (y.clone() * dy).sum().backward();
    let mut all = vec![values(y.inner())];
    all.extend([&q, &k, &v].map(|x| gradient(x, &gradients)));
    for expansion in [&weights.q, &weights.k, &weights.v] {
        if let Some(s) = &expansion.heads {
            all.extend([&s.first_weight, &s.second_weight].map(|x| gradient(x, &gradients)));
        }
        if let Some(s) = &expansion.features {
            all.extend([&s.first_weight, &s.second_weight].map(|x| gradient(x, &gradients)));
        }
    }
    all
}

/// None of its values where there is none: an error then.
fn gradient<const R: usize>(x: &Tensor<R>, gradients: &Gradients) -> Vec<f64> {
    x.grad(gradients).map_or(Vec::new(), values)
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
