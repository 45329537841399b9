//! The weights of an expansion's convolutions in the order of the rows that they meet.

use super::{Sizes, minimal_filtering};
use crate::call::Stage;

/// One convolution along the features, as a product reads it.
#[derive(Debug)]
pub(super) struct Convolution {
    /// [outputs][κ][inputs]; for minimal filtering its filters, [8][outputs][inputs].
    pub(super) filters: Vec<f32>,
    /// Heads that come in.
    pub(super) inputs: usize,
    /// Heads that go out.
    pub(super) outputs: usize,
}

/// Those of a head stage.
#[derive(Debug)]
pub(super) struct Convolutions {
    /// H → H'
    pub(super) first: Convolution,
    /// H' → H'
    pub(super) second: Convolution,
    /// Backward of the first, H' → H: the taps are reversed.
    pub(super) first_back: Convolution,
    /// Backward of the second, H' → H'.
    pub(super) second_back: Convolution,
}

impl Convolutions {
    pub(super) fn new(sizes: &Sizes, stage: &Stage<&[f32]>, minimal: bool) -> Self {
        let (heads, expanded_heads) = (sizes.heads, sizes.expanded_heads);
        let taps = sizes.kernel_size;
        let arranged =
            |outputs: usize, inputs: usize, weight: &dyn Fn(usize, usize, usize) -> f32| {
                let filters = if minimal {
                    minimal_filtering::filters(outputs, inputs, weight)
                } else {
                    ordered(outputs, taps, inputs, weight)
                };
                Convolution {
                    filters,
                    inputs,
                    outputs,
                }
            };
        let forward = |w: &[f32], inputs: usize| {
            let at = move |o: usize, tap: usize, i: usize| (o * inputs + i) * taps + tap;
            arranged(expanded_heads, inputs, &|o, tap, i| w[at(o, tap, i)])
        };
        let backward = |w: &[f32], inputs: usize| {
            let at = move |o: usize, tap: usize, i: usize| (o * inputs + i) * taps + tap;
            arranged(inputs, expanded_heads, &|i, tap, o| {
                w[at(o, taps - 1 - tap, i)]
            })
        };
        Self {
            first: forward(stage.first_weight, heads),
            second: forward(stage.second_weight, expanded_heads),
            first_back: backward(stage.first_weight, heads),
            second_back: backward(stage.second_weight, expanded_heads),
        }
    }
}

/// [a][b][c] values.
pub(super) fn ordered(
    a: usize,
    b: usize,
    c: usize,
    value: impl Fn(usize, usize, usize) -> f32,
) -> Vec<f32> {
    let mut out = Vec::with_capacity(a * b * c);
    for i in 0..a {
        for j in 0..b {
            out.extend((0..c).map(|k| value(i, j, k)));
        }
    }
    out
}
