//! Head and feature expansion of 8 or 16 tokens at a time, forward and backward, tokens in the lanes.
//!
//! Values of a chunk lie as `[feature][head][tokens]`. The head expansion is a convolution along the features: with this order
//! the κ·H values that meet in one output form one run of rows, which starts at the output's own feature, so it is a plain
//! product whose right operand overlaps itself. The feature expansion is a product with all heads side by side. Nothing is
//! ever copied to line it up, and all of a chunk stays in the second-level cache.

mod contract;
mod expand;
mod lanes;
mod stages;

pub use contract::ContractChunk;
pub use expand::ExpandChunk;

use super::blocked::EDGE;
use crate::reference::ExpansionOptions;

/// Tokens in a chunk, on vectors of `lanes` values.
///
/// All stages of a chunk should fit the second-level cache. Machines whose widest vectors hold 8 values often have 512 KiB
/// of it: one vector of tokens does, two do not.
pub const fn chunk_len(lanes: usize) -> usize {
    if lanes == 8 { 8 } else { EDGE }
}

/// Weights of a head expansion, H → H' heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadExpansion<'a> {
    /// First convolution, [H', H, κ].
    pub first_weight: &'a [f32],
    /// Its bias, `[H']`.
    pub first_bias: &'a [f32],
    /// Second convolution, [H', H', κ].
    pub second_weight: &'a [f32],
    /// Its bias, `[H']`.
    pub second_bias: &'a [f32],
}

/// Weights of a feature expansion, D → D'.
#[derive(Clone, Copy, Debug)]
pub struct FeatureExpansion<'a> {
    /// First map, [D', D].
    pub first_weight: &'a [f32],
    /// Its bias, `[D']`.
    pub first_bias: &'a [f32],
    /// Second map, [D', D'].
    pub second_weight: &'a [f32],
    /// Its bias, `[D']`.
    pub second_bias: &'a [f32],
}

/// The maps that one of q, k, v goes through; a stage that is `None` is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expansion<'a> {
    /// H → H' heads.
    pub heads: Option<HeadExpansion<'a>>,
    /// D → D' features.
    pub features: Option<FeatureExpansion<'a>>,
}

/// Gradients of one stage, laid out as its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageGradients {
    /// Of the first weight.
    pub first_weight: Vec<f32>,
    /// Of the first bias.
    pub first_bias: Vec<f32>,
    /// Of the second weight.
    pub second_weight: Vec<f32>,
    /// Of the second bias.
    pub second_bias: Vec<f32>,
}

/// Gradients of an [`Expansion`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpansionGradients {
    /// Of the head stage.
    pub heads: Option<StageGradients>,
    /// Of the feature stage.
    pub features: Option<StageGradients>,
}

/// Cosines and sines of the positions of a tensor's tokens, each [tokens, half]: features i and i + half rotate together.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// Cosines.
    pub cos: &'a [f32],
    /// Sines.
    pub sin: &'a [f32],
    /// Half of the number of rotated features.
    pub half: usize,
}

/// Sizes of an expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Heads that come in.
    pub heads: usize,
    /// Heads that go out.
    pub expanded_heads: usize,
    /// Width that comes in.
    pub width: usize,
    /// Width that goes out.
    pub expanded_width: usize,
    /// κ; 1 without a head stage.
    pub kernel_size: usize,
}

/// An expansion ready to run: weights of the convolutions brought into the order of the rows they meet.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Sizes.
    pub sizes: Sizes,
    weights: Expansion<'a>,
    options: ExpansionOptions,
    /// [H'][κ][H], [H'][κ][H'], and for backward [H][κ][H'], [H'][κ][H'] with the taps reversed.
    convolutions: [Vec<f32>; 4],
    before: Option<Rotation<'a>>,
    after: Option<Rotation<'a>>,
    /// What the result is multiplied by.
    factor: f32,
    /// Tokens in a chunk; see [`chunk_len`].
    pub chunk_len: usize,
}

/// Where the gradients of the weights lie in a part's buffer.
#[derive(Clone, Copy, Debug, Default)]
struct Offsets {
    heads: [usize; 4],
    features: [usize; 4],
    end: usize,
}

/// A chunk's place in its tensor.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// First token, a multiple of the chunk's length.
    pub token: usize,
    /// Tokens, at most the chunk's length.
    pub count: usize,
}

impl<'a> Prepared<'a> {
    /// Checks the weights against the sizes and orders them.
    ///
    /// # Panics
    /// If a weight's length does not fit the sizes or κ is even.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        sizes: Sizes,
        weights: Expansion<'a>,
        options: ExpansionOptions,
        before: Option<Rotation<'a>>,
        after: Option<Rotation<'a>>,
        factor: f32,
        chunk_len: usize,
    ) -> Self {
        let Sizes {
            heads,
            expanded_heads,
            width,
            expanded_width,
            kernel_size,
        } = sizes;
        let mut convolutions: [Vec<f32>; 4] = Default::default();
        if let Some(stage) = &weights.heads {
            assert!(
                kernel_size % 2 == 1,
                "the kernel size {kernel_size} is even"
            );
            assert_eq!(
                stage.first_weight.len(),
                expanded_heads * heads * kernel_size,
                "first convolution"
            );
            assert_eq!(
                stage.second_weight.len(),
                expanded_heads * expanded_heads * kernel_size,
                "second convolution"
            );
            assert_eq!(
                stage.first_bias.len(),
                expanded_heads,
                "bias of the first convolution"
            );
            assert_eq!(
                stage.second_bias.len(),
                expanded_heads,
                "bias of the second convolution"
            );
            let forward = |w: &[f32], inputs: usize| {
                let at = move |o: usize, tap: usize, i: usize| (o * inputs + i) * kernel_size + tap;
                ordered(expanded_heads, kernel_size, inputs, |o, tap, i| {
                    w[at(o, tap, i)]
                })
            };
            let backward = |w: &[f32], inputs: usize| {
                let at = move |o: usize, tap: usize, i: usize| (o * inputs + i) * kernel_size + tap;
                ordered(inputs, kernel_size, expanded_heads, |i, tap, o| {
                    w[at(o, kernel_size - 1 - tap, i)]
                })
            };
            convolutions = [
                forward(stage.first_weight, heads),
                forward(stage.second_weight, expanded_heads),
                backward(stage.first_weight, heads),
                backward(stage.second_weight, expanded_heads),
            ];
        } else {
            assert_eq!(
                (heads, kernel_size),
                (expanded_heads, 1),
                "without a head stage heads and κ do not change"
            );
        }
        if let Some(stage) = &weights.features {
            assert_eq!(
                stage.first_weight.len(),
                expanded_width * width,
                "first feature map"
            );
            assert_eq!(
                stage.second_weight.len(),
                expanded_width * expanded_width,
                "second feature map"
            );
            assert_eq!(
                stage.first_bias.len(),
                expanded_width,
                "bias of the first feature map"
            );
            assert_eq!(
                stage.second_bias.len(),
                expanded_width,
                "bias of the second feature map"
            );
        } else {
            assert_eq!(
                width, expanded_width,
                "without a feature stage the width does not change"
            );
        }
        for (rotation, width) in [(before, width), (after, expanded_width)] {
            assert!(
                rotation.is_none_or(|r| 2 * r.half <= width),
                "more features rotate than there are"
            );
        }
        Self {
            sizes,
            weights,
            options,
            convolutions,
            before,
            after,
            factor,
            chunk_len,
        }
    }

    fn padding(&self) -> usize {
        (self.sizes.kernel_size - 1) / 2
    }

    /// Values of the chunk's buffers: input, first stage of heads, expanded heads, first stage of features, activated.
    pub fn room(&self) -> [usize; 5] {
        let Sizes {
            heads,
            expanded_heads,
            width,
            expanded_width,
            kernel_size,
        } = self.sizes;
        let planes = width + kernel_size - 1;
        let features = if self.weights.features.is_some() {
            expanded_width * expanded_heads * self.chunk_len
        } else {
            0
        };
        [
            planes * heads * self.chunk_len,
            planes * expanded_heads * self.chunk_len,
            planes * expanded_heads * self.chunk_len,
            features,
            features,
        ]
    }

    /// Values between the head and the feature stage that backward wants kept for one chunk; 0 if it needs none.
    pub fn kept(&self) -> usize {
        match (self.weights.heads, self.weights.features) {
            (Some(_), Some(_)) => self.sizes.width * self.sizes.expanded_heads * self.chunk_len,
            _ => 0,
        }
    }

    /// Values of one part of the weights' gradients.
    pub fn gradient_len(&self) -> usize {
        self.offsets().end
    }

    fn offsets(&self) -> Offsets {
        let Sizes {
            heads,
            expanded_heads,
            width,
            expanded_width,
            kernel_size,
        } = self.sizes;
        let mut offsets = Offsets::default();
        let mut place = |len: usize| {
            offsets.end += len;
            offsets.end - len
        };
        let (mut of_heads, mut of_features) = ([0; 4], [0; 4]);
        if self.weights.heads.is_some() {
            let lens = [
                expanded_heads * kernel_size * heads,
                expanded_heads,
                expanded_heads * kernel_size * expanded_heads,
                expanded_heads,
            ];
            of_heads = lens.map(&mut place);
        }
        if self.weights.features.is_some() {
            of_features = [
                expanded_width * width,
                expanded_width,
                expanded_width * expanded_width,
                expanded_width,
            ]
            .map(&mut place);
        }
        Offsets {
            heads: of_heads,
            features: of_features,
            end: offsets.end,
        }
    }

    /// The gradients of the weights from the sum of all parts.
    pub fn gradients(&self, sum: &[f32]) -> ExpansionGradients {
        let Sizes {
            heads,
            expanded_heads,
            width,
            expanded_width,
            kernel_size,
        } = self.sizes;
        let offsets = self.offsets();
        let piece = |start: usize, len: usize| sum[start..start + len].to_vec();
        // From [H'][κ][inputs] back to [H'][inputs][κ].
        let convolution = |start: usize, inputs: usize| {
            ordered(expanded_heads, inputs, kernel_size, |o, i, tap| {
                sum[start + (o * kernel_size + tap) * inputs + i]
            })
        };
        ExpansionGradients {
            heads: self.weights.heads.map(|_| StageGradients {
                first_weight: convolution(offsets.heads[0], heads),
                first_bias: piece(offsets.heads[1], expanded_heads),
                second_weight: convolution(offsets.heads[2], expanded_heads),
                second_bias: piece(offsets.heads[3], expanded_heads),
            }),
            features: self.weights.features.map(|_| StageGradients {
                first_weight: piece(offsets.features[0], expanded_width * width),
                first_bias: piece(offsets.features[1], expanded_width),
                second_weight: piece(offsets.features[2], expanded_width * expanded_width),
                second_bias: piece(offsets.features[3], expanded_width),
            }),
        }
    }
}

fn ordered(a: usize, b: usize, c: usize, value: impl Fn(usize, usize, usize) -> f32) -> Vec<f32> {
    let mut out = Vec::with_capacity(a * b * c);
    for i in 0..a {
        for j in 0..b {
            out.extend((0..c).map(|k| value(i, j, k)));
        }
    }
    out
}
