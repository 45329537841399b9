//! The stages of an expansion on one chunk, as products.

use pulp::Simd;

use super::convolutions::Convolution;
use super::lanes::{rotate, zero, zero_planes};
use super::minimal_filtering::{self, MinimalConvolution};
use super::{Chunk, Prepared, Sizes, chunk_len};
use crate::cpu::tile::{Expand, Finish, Left, Product, Right, Target};
use crate::cpu::transpose::transpose;

impl Prepared<'_> {
    /// Brings tokens into lanes, between zero planes; unused lanes become zero.
    #[inline(always)]
    pub(super) unsafe fn read_tokens<S: Simd>(
        &self,
        simd: S,
        chunk: Chunk,
        source: *const f32,
        input: *mut f32,
    ) {
        let Sizes { heads, width, .. } = self.sizes;
        let tokens = chunk_len(S::F32_LANES);
        let plane = heads * tokens;
        // SAFETY: `input` holds width + κ − 1 planes, `source` the chunk's tokens.
        unsafe {
            zero_planes(simd, input, self.padding(), width, plane);
            let inner = input.add(self.padding() * plane);
            if chunk.count < tokens {
                zero(simd, inner, width * plane);
            }
            for head in 0..heads {
                transpose(
                    simd,
                    chunk.count,
                    width,
                    source.add(head * width),
                    heads * width,
                    inner.add(head * tokens),
                    plane,
                );
            }
            if let Some(rotation) = self.before {
                rotate(simd, &rotation, chunk, inner, heads, 1.0);
            }
        }
    }

    /// A convolution on padded planes.
    #[inline(always)]
    pub(super) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        convolution: &Convolution,
        from: *const f32,
        to: *mut f32,
        finish: Finish,
        room: *mut f32,
    ) {
        let Convolution {
            ref filters,
            inputs,
            outputs,
        } = *convolution;
        if minimal_filtering::on_vectors_of(S::F32_LANES) && self.minimal {
            simd.vectorize(MinimalConvolution {
                filters,
                inputs,
                outputs,
                width: self.sizes.width,
                from,
                to,
                finish,
                room,
            });
            return;
        }
        let steps = self.sizes.kernel_size * inputs;
        let tokens = chunk_len(S::F32_LANES);
        for part in 0..tokens / S::F32_LANES {
            let at = part * S::F32_LANES;
            // SAFETY: the planes hold width + κ − 1 (from) and width (to) times their heads of the
            // chunk's tokens.
            unsafe {
                // The κ·H rows of one feature begin at the feature: the right operand overlaps
                // itself.
                Product {
                    rows: outputs,
                    vectors: self.sizes.width,
                    steps,
                    left: Left::rows(filters.as_ptr(), steps),
                    right: Right {
                        pointer: from.add(at),
                        vector_stride: inputs * tokens,
                        step_stride: tokens,
                    },
                    target: Target {
                        pointer: to.add(at),
                        row_stride: tokens,
                        vector_stride: outputs * tokens,
                    },
                    finish: finish.moved_by(at),
                }
                .run(simd);
            }
        }
    }

    /// E1: its activation to `active` (padded), itself to `plain`.
    #[inline(always)]
    pub(super) unsafe fn first_convolution<S: Simd>(
        &self,
        simd: S,
        input: *const f32,
        active: *mut f32,
        plain: Option<*mut f32>,
        room: *mut f32,
    ) {
        let Sizes {
            expanded_heads,
            width,
            ..
        } = self.sizes;
        let (Some(stage), Some(convolutions)) = (&self.weights.heads, &self.convolutions) else {
            return;
        };
        let tokens = chunk_len(S::F32_LANES);
        let plane = expanded_heads * tokens;
        // SAFETY: `active` holds width + κ − 1 planes.
        unsafe {
            zero_planes(simd, active, self.padding(), width, plane);
            let inner = active.add(self.padding() * plane);
            let finish = Finish::Expand(Expand {
                bias: stage.first_bias.as_ptr(),
                accumulate: false,
                keep: plain.is_some() && self.options.residual,
                activated: Target {
                    pointer: inner,
                    row_stride: tokens,
                    vector_stride: plane,
                },
                relu: self.options.relu,
            });
            self.convolve(
                simd,
                &convolutions.first,
                input,
                plain.unwrap_or(inner),
                finish,
                room,
            );
        }
    }

    #[inline(always)]
    pub(super) unsafe fn second_convolution<S: Simd>(
        &self,
        simd: S,
        active: *const f32,
        expanded: *mut f32,
        room: *mut f32,
    ) {
        let (Some(stage), Some(convolutions)) = (&self.weights.heads, &self.convolutions) else {
            return;
        };
        let finish = self.second(stage.second_bias);
        // SAFETY: padded and plain planes of H' heads.
        unsafe {
            self.convolve(simd, &convolutions.second, active, expanded, finish, room);
        }
    }

    /// F1: its activation to `active`, itself to `plain`.
    #[inline(always)]
    pub(super) unsafe fn first_map<S: Simd>(
        &self,
        simd: S,
        from: *const f32,
        active: *mut f32,
        plain: Option<*mut f32>,
    ) {
        let Sizes {
            expanded_heads,
            width,
            expanded_width,
            ..
        } = self.sizes;
        let Some(stage) = &self.weights.features else {
            return;
        };
        let lanes = S::F32_LANES;
        let plane = expanded_heads * chunk_len(lanes);
        let finish = Finish::Expand(Expand {
            bias: stage.first_bias.as_ptr(),
            accumulate: false,
            keep: plain.is_some() && self.options.residual,
            activated: Target::rows::<S>(active, plane),
            relu: self.options.relu,
        });
        // SAFETY: planes of H' heads; weights of the checked sizes.
        unsafe {
            Product {
                rows: expanded_width,
                vectors: plane / lanes,
                steps: width,
                left: Left::rows(stage.first_weight.as_ptr(), width),
                right: Right::rows::<S>(from, plane),
                target: Target::rows::<S>(plain.unwrap_or(active), plane),
                finish,
            }
            .run(simd);
        }
    }

    #[inline(always)]
    pub(super) unsafe fn second_map<S: Simd>(&self, simd: S, active: *const f32, wide: *mut f32) {
        let Sizes {
            expanded_heads,
            expanded_width,
            ..
        } = self.sizes;
        let Some(stage) = &self.weights.features else {
            return;
        };
        let lanes = S::F32_LANES;
        let plane = expanded_heads * chunk_len(lanes);
        // SAFETY: planes of H' heads; weights of the checked sizes.
        unsafe {
            Product {
                rows: expanded_width,
                vectors: plane / lanes,
                steps: expanded_width,
                left: Left::rows(stage.second_weight.as_ptr(), expanded_width),
                right: Right::rows::<S>(active, plane),
                target: Target::rows::<S>(wide, plane),
                finish: self.second(stage.second_bias),
            }
            .run(simd);
        }
    }

    /// How a second stage ends.
    pub(super) fn second(&self, bias: &[f32]) -> Finish {
        Finish::Expand(Expand {
            bias: bias.as_ptr(),
            accumulate: self.options.residual,
            keep: true,
            activated: Target::NOWHERE,
            relu: false,
        })
    }

    /// How a gradient passes back through the activation in front of a second stage.
    pub(super) fn through(&self, active: *const f32) -> Finish {
        match (self.options.residual, self.options.relu) {
            (true, true) => Finish::AddMasked(active),
            (true, false) => Finish::Add,
            (false, true) => Finish::Masked(active),
            (false, false) => Finish::Store,
        }
    }
}
