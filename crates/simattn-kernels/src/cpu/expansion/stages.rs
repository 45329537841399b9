//! The stages of an expansion on one chunk, as products.

use pulp::Simd;

use super::lanes::{rotate, zero, zero_planes};
use super::minimal_filtering::{self, MinimalConvolution};
use super::{Chunk, Prepared, Sizes, chunk_len};
use crate::cpu::tile::{Expand, Finish, Left, Right, Target, product};
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

    /// Convolution `index` of `convolutions`, from `[inputs, outputs]` heads, on padded planes.
    #[inline(always)]
    #[allow(clippy::too_many_arguments)]
    pub(super) unsafe fn convolve<S: Simd>(
        &self,
        simd: S,
        index: usize,
        [inputs, outputs]: [usize; 2],
        from: *const f32,
        to: *mut f32,
        finish: Finish,
        room: *mut f32,
    ) {
        if minimal_filtering::on_vectors_of(S::F32_LANES) && self.minimal {
            simd.vectorize(MinimalConvolution {
                filters: &self.convolutions[index],
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
        let left = Left {
            pointer: self.convolutions[index].as_ptr(),
            row_stride: steps,
            step_stride: 1,
        };
        let tokens = chunk_len(S::F32_LANES);
        for part in 0..tokens / S::F32_LANES {
            let at = part * S::F32_LANES;
            // SAFETY: the planes hold width + κ − 1 (from) and width (to) times their heads of the chunk's tokens.
            unsafe {
                let right = Right {
                    pointer: from.add(at),
                    vector_stride: inputs * tokens,
                    step_stride: tokens,
                };
                let target = Target {
                    pointer: to.add(at),
                    row_stride: tokens,
                    vector_stride: outputs * tokens,
                };
                product(
                    simd,
                    outputs,
                    self.sizes.width,
                    steps,
                    left,
                    right,
                    target,
                    finish.moved_by(at),
                );
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
            heads,
            expanded_heads,
            width,
            ..
        } = self.sizes;
        let Some(stage) = &self.weights.heads else {
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
                0,
                [heads, expanded_heads],
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
        let heads = self.sizes.expanded_heads;
        let Some(stage) = &self.weights.heads else {
            return;
        };
        let finish = self.second(stage.second_bias);
        // SAFETY: padded and plain planes of H' heads.
        unsafe { self.convolve(simd, 1, [heads, heads], active, expanded, finish, room) }
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
        let target = |pointer| Target {
            pointer,
            row_stride: plane,
            vector_stride: lanes,
        };
        let finish = Finish::Expand(Expand {
            bias: stage.first_bias.as_ptr(),
            accumulate: false,
            keep: plain.is_some() && self.options.residual,
            activated: target(active),
            relu: self.options.relu,
        });
        let left = Left {
            pointer: stage.first_weight.as_ptr(),
            row_stride: width,
            step_stride: 1,
        };
        let right = Right {
            pointer: from,
            vector_stride: lanes,
            step_stride: plane,
        };
        // SAFETY: planes of H' heads; weights of the checked sizes.
        unsafe {
            product(
                simd,
                expanded_width,
                plane / lanes,
                width,
                left,
                right,
                target(plain.unwrap_or(active)),
                finish,
            )
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
        let left = Left {
            pointer: stage.second_weight.as_ptr(),
            row_stride: expanded_width,
            step_stride: 1,
        };
        let right = Right {
            pointer: active,
            vector_stride: lanes,
            step_stride: plane,
        };
        let target = Target {
            pointer: wide,
            row_stride: plane,
            vector_stride: lanes,
        };
        let finish = self.second(stage.second_bias);
        // SAFETY: planes of H' heads; weights of the checked sizes.
        unsafe {
            product(
                simd,
                expanded_width,
                plane / lanes,
                expanded_width,
                left,
                right,
                target,
                finish,
            )
        }
    }

    /// How a second stage ends.
    pub(super) fn second(&self, bias: &[f32]) -> Finish {
        Finish::Expand(Expand {
            bias: bias.as_ptr(),
            accumulate: self.options.residual,
            keep: true,
            activated: Target {
                pointer: std::ptr::null_mut(),
                row_stride: 0,
                vector_stride: 0,
            },
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
