//! The convolution of five taps along the features with 8 products for 4 outputs instead of 20:
//! minimal filtering F(4, 5).
//!
//! Four outputs and five taps are two polynomials; their product is known by its values at 0, ±1,
//! ±2, ±½ and ∞. So a tile of 8 inputs is spread to 8 points (B), each point has a product over the
//! heads of its own with weights spread likewise (G), and 4 outputs are gathered from the 8 results
//! (A). Factors are small multiples of powers of two, and the points come in pairs whose even and
//! odd parts are shared. The error of a convolution over 36 heads grows from 2.4e-7 to 5.7e-7 of
//! its root mean square.
//!
//! The gradient of a weight is the same bilinear form read the other way: gradients are spread by
//! A, inputs by B, their correlations are added up at each point, and G comes last, once a call.

mod convolution;
mod correlation;
mod points;

pub(super) use convolution::MinimalConvolution;
pub(super) use correlation::MinimalCorrelation;

use super::{Sizes, chunk_len};

/// Points at which the polynomials are known.
pub(super) const POINTS: usize = 8;

/// Taps of the convolution.
const TAPS: usize = 5;

/// Outputs of a tile; it begins that many inputs behind the last one.
const OUTPUTS: usize = 4;

/// Tiles that are worked on together: vectors of one product.
const TOGETHER: usize = 2;

/// G: a filter's value at each point, over the denominator of that point's interpolation.
const FILTER: [[f64; TAPS]; POINTS] = [
    [-1.0, 0.0, 0.0, 0.0, 0.0],
    powers(1.0, -4.5),
    powers(-1.0, -4.5),
    powers(2.0, 90.0),
    powers(-2.0, 90.0),
    powers(0.5, 1.40625),
    powers(-0.5, 1.40625),
    [0.0, 0.0, 0.0, 0.0, 1.0],
];

const fn powers(x: f64, denominator: f64) -> [f64; TAPS] {
    let mut out = [1.0 / denominator; TAPS];
    let mut i = 1;
    while i < TAPS {
        out[i] = out[i - 1] * x;
        i += 1;
    }
    out
}

/// Fewer tokens than this in a tensor do not pay for bringing the weights to the points.
const LEAST_TOKENS: usize = 64;

/// Whether convolutions of these sizes are done so, on vectors of `lanes` values.
///
/// Measured on vectors of 8. On 16 lanes the products and the ways to the points and back shrink
/// alike, and so does the gain; vectors of 4 and single values keep the plain product, because a
/// chunk is several of them.
pub(super) const fn applies(lanes: usize, sizes: &Sizes, tokens: usize) -> bool {
    on_vectors_of(lanes)
        && sizes.kernel_size == TAPS
        && sizes.width.is_multiple_of(OUTPUTS)
        && tokens >= LEAST_TOKENS
}

/// The part of [`applies`] that a kernel knows when it is compiled.
pub(super) const fn on_vectors_of(lanes: usize) -> bool {
    lanes >= 8 && chunk_len(lanes) == lanes
}

/// Values of the buffer that [`MinimalConvolution`] and [`MinimalCorrelation`] need.
pub(super) fn room(sizes: &Sizes, chunk_len: usize) -> usize {
    let heads = sizes.expanded_heads + sizes.expanded_heads.max(sizes.heads);
    POINTS * heads * chunk_len * (sizes.width / OUTPUTS).max(TOGETHER)
}

/// Weights at the points, [8][outputs][inputs], from `weight(output, tap, input)`.
pub(super) fn filters(
    outputs: usize,
    inputs: usize,
    weight: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    let mut out = vec![0.0; POINTS * outputs * inputs];
    for o in 0..outputs {
        for i in 0..inputs {
            let taps: [f64; TAPS] = std::array::from_fn(|tap| f64::from(weight(o, tap, i)));
            for (p, factors) in FILTER.iter().enumerate() {
                let value: f64 = factors.iter().zip(&taps).map(|(f, w)| f * w).sum();
                out[(p * outputs + o) * inputs + i] = value as f32;
            }
        }
    }
    out
}

/// Gradients of the weights, [outputs][inputs][5], from the sums at the points,
/// [8][outputs][inputs].
pub(super) fn filter_gradients(outputs: usize, inputs: usize, sums: &[f32]) -> Vec<f32> {
    let len = outputs * inputs;
    let tap_of = |at: usize, tap: usize| {
        let terms = FILTER
            .iter()
            .enumerate()
            .map(|(p, factors)| factors[tap] * f64::from(sums[p * len + at]));
        terms.sum::<f64>() as f32
    };
    (0..len * TAPS)
        .map(|i| tap_of(i / TAPS, i % TAPS))
        .collect()
}
