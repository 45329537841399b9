//! An expansion that is ready to run: sizes checked, weights ordered.

use super::convolutions::{Convolutions, ordered};
use super::{
    Expansion, ExpansionCall, ExpansionGradients, Rotation, Sizes, chunk_len, minimal_filtering,
};
use crate::call::{ExpansionOptions, Stage};

/// An expansion ready to run: weights of the convolutions brought into the order of the rows they
/// meet.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// Sizes.
    pub sizes: Sizes,
    pub(super) weights: Expansion<'a>,
    pub(super) options: ExpansionOptions,
    /// Those of the head stage, if there is one.
    pub(super) convolutions: Option<Convolutions>,
    pub(super) before: Option<Rotation<'a>>,
    pub(super) after: Option<Rotation<'a>>,
    /// What the result is multiplied by.
    pub(super) factor: f32,
    /// Tokens in a chunk; see [`chunk_len`].
    pub chunk_len: usize,
    /// Whether convolutions are done by minimal filtering.
    pub(super) minimal: bool,
}

/// Where the gradients of the weights lie in a part's buffer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offsets {
    pub(super) heads: [usize; 4],
    pub(super) features: [usize; 4],
    end: usize,
}

impl<'a> Prepared<'a> {
    /// Checks the weights against the sizes and orders them, for vectors of `lanes` values and so
    /// many tokens an element.
    ///
    /// # Panics
    /// If a weight's length does not fit the sizes or κ is even.
    pub fn new(call: ExpansionCall<'a>, lanes: usize, tokens: usize) -> Self {
        check_weights(&call.sizes, &call.weights);
        let ExpansionCall {
            sizes,
            weights,
            options,
            before,
            after,
            factor,
        } = call;
        for (rotation, width) in [(before, sizes.width), (after, sizes.expanded_width)] {
            assert!(
                rotation.is_none_or(|r| 2 * r.half <= width),
                "more features rotate than there are"
            );
        }
        let minimal = minimal_filtering::applies(lanes, &sizes, tokens);
        let convolutions = weights
            .heads
            .map(|stage| Convolutions::new(&sizes, &stage, minimal));
        Self {
            sizes,
            weights,
            options,
            convolutions,
            before,
            after,
            factor,
            chunk_len: chunk_len(lanes),
            minimal,
        }
    }

    pub(super) fn padding(&self) -> usize {
        (self.sizes.kernel_size - 1) / 2
    }

    /// Values of the chunk's buffers: input, first stage of heads, expanded heads, first stage of
    /// features, activated, and what minimal filtering needs.
    pub fn room(&self) -> [usize; 6] {
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
            if self.minimal {
                minimal_filtering::room(&self.sizes, self.chunk_len)
            } else {
                0
            },
        ]
    }

    /// Values of the buffers that gradients need beside those: the first five of them again.
    pub fn gradient_room(&self) -> [usize; 5] {
        let [input, first, expanded, wide, active, _] = self.room();
        [input, first, expanded, wide, active]
    }

    /// Values between the head and the feature stage that backward wants kept for one chunk; 0 if
    /// it needs none.
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

    pub(super) fn offsets(&self) -> Offsets {
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
        let points = if self.minimal {
            minimal_filtering::POINTS
        } else {
            kernel_size
        };
        let (mut of_heads, mut of_features) = ([0; 4], [0; 4]);
        if self.weights.heads.is_some() {
            let lens = [
                expanded_heads * points * heads,
                expanded_heads,
                expanded_heads * points * expanded_heads,
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
        let convolution = |start: usize, inputs: usize| {
            if self.minimal {
                return minimal_filtering::filter_gradients(expanded_heads, inputs, &sum[start..]);
            }
            // From [H'][κ][inputs] back to [H'][inputs][κ].
            ordered(expanded_heads, inputs, kernel_size, |o, i, tap| {
                sum[start + (o * kernel_size + tap) * inputs + i]
            })
        };
        ExpansionGradients {
            heads: self.weights.heads.map(|_| Stage {
                first_weight: convolution(offsets.heads[0], heads),
                first_bias: piece(offsets.heads[1], expanded_heads),
                second_weight: convolution(offsets.heads[2], expanded_heads),
                second_bias: piece(offsets.heads[3], expanded_heads),
            }),
            features: self.weights.features.map(|_| Stage {
                first_weight: piece(offsets.features[0], expanded_width * width),
                first_bias: piece(offsets.features[1], expanded_width),
                second_weight: piece(offsets.features[2], expanded_width * expanded_width),
                second_bias: piece(offsets.features[3], expanded_width),
            }),
        }
    }
}

/// # Panics
/// If a weight does not fit the sizes.
fn check_weights(sizes: &Sizes, weights: &Expansion<'_>) {
    let Sizes {
        heads,
        expanded_heads,
        width,
        expanded_width,
        kernel_size,
    } = *sizes;
    if let Some(stage) = &weights.heads {
        assert!(
            kernel_size % 2 == 1,
            "the kernel size {kernel_size} is even"
        );
        let lens = Stage {
            first_weight: expanded_heads * heads * kernel_size,
            first_bias: expanded_heads,
            second_weight: expanded_heads * expanded_heads * kernel_size,
            second_bias: expanded_heads,
        };
        let got = stage.map(<[f32]>::len, <[f32]>::len);
        assert_eq!(got, lens, "weights of a head stage");
    } else {
        assert_eq!(
            (heads, kernel_size),
            (expanded_heads, 1),
            "without a head stage heads and κ do not change"
        );
    }
    if let Some(stage) = &weights.features {
        let lens = Stage {
            first_weight: expanded_width * width,
            first_bias: expanded_width,
            second_weight: expanded_width * expanded_width,
            second_bias: expanded_width,
        };
        let got = stage.map(<[f32]>::len, <[f32]>::len);
        assert_eq!(got, lens, "weights of a feature stage");
    } else {
        assert_eq!(
            width, expanded_width,
            "without a feature stage the width does not change"
        );
    }
}
