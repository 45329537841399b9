//! Backward of the expansion of one chunk.

use pulp::{Simd, WithSimd};

use super::lanes::{copy, rotate, zero_planes};
use super::minimal_filtering::{self, MinimalCorrelation};
use super::{Chunk, Prepared, Sizes, chunk_len};
use crate::cpu::correlate::{Rows, add_up, correlate};
use crate::cpu::tile::{Finish, Left, Right, Target, product};
use crate::cpu::transpose::transpose;

/// Backward of [`ExpandChunk`].
pub struct ContractChunk<'a> {
    /// What was done.
    pub plan: &'a Prepared<'a>,
    /// Which tokens.
    pub chunk: Chunk,
    /// The first of them, as it went in.
    pub source: *const f32,
    /// What [`ExpandChunk`] kept.
    pub kept: *const f32,
    /// Gradient of the result, placed as the result was.
    pub gradient: *const f32,
    /// Distance between heads in the gradient.
    pub head_stride: usize,
    /// Buffers of the sizes [`Prepared::room`].
    pub room: [*mut f32; 6],
    /// The first five of them again.
    pub gradient_room: [*mut f32; 5],
    /// Gradients of the weights, added to, [`Prepared::gradient_len`] values.
    pub weight_gradient: *mut f32,
    /// Gradient of the source, placed as the source.
    pub target: *mut f32,
}

impl WithSimd for ContractChunk<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plan = self.plan;
        let Sizes {
            heads,
            expanded_heads,
            width,
            expanded_width,
            ..
        } = plan.sizes;
        let padding = plan.padding();
        let offsets = plan.offsets();
        let [input, first, _, _, active, room] = self.room;
        let [d_input, d_first, d_expanded, d_wide, d_result] = self.gradient_room;
        let tokens = chunk_len(S::F32_LANES);
        let (plane_in, plane) = (heads * tokens, expanded_heads * tokens);
        let sums = |offset: usize| self.weight_gradient.wrapping_add(offset);
        // SAFETY: the buffers have the sizes of `room`, the rest by the promise of the builder.
        unsafe {
            plan.read_tokens(simd, self.chunk, self.source, input);
            let inner = input.wrapping_add(padding * plane_in);
            // Gradient of what left the head stage, between zero planes.
            let d_inner = d_expanded.wrapping_add(padding * plane);
            if let Some(stage) = &plan.weights.features {
                let expanded = if plan.weights.heads.is_some() {
                    self.kept
                } else {
                    inner.cast_const()
                };
                plan.collect(simd, self.chunk, self.gradient, self.head_stride, d_result);
                plan.first_map(simd, expanded, active, None);
                // Features are rows, heads are steps.
                let rows = |pointer: *const f32| Rows {
                    pointer,
                    row_stride: plane,
                    step_stride: tokens,
                };
                let wide = expanded_width;
                correlate(
                    simd,
                    wide,
                    wide,
                    expanded_heads,
                    rows(d_result),
                    rows(active),
                    sums(offsets.features[2]),
                );
                add_up(
                    simd,
                    wide,
                    expanded_heads,
                    rows(d_result),
                    sums(offsets.features[3]),
                );
                let lanes = S::F32_LANES;
                let vectors = plane / lanes;
                let target = |pointer: *mut f32| Target {
                    pointer,
                    row_stride: plane,
                    vector_stride: lanes,
                };
                let right = |pointer: *const f32| Right {
                    pointer,
                    vector_stride: lanes,
                    step_stride: plane,
                };
                if plan.options.residual {
                    copy(simd, d_result, d_wide, wide * plane);
                }
                let left = Left {
                    pointer: stage.second_weight.as_ptr(),
                    row_stride: 1,
                    step_stride: wide,
                };
                product(
                    simd,
                    wide,
                    vectors,
                    wide,
                    left,
                    right(d_result),
                    target(d_wide),
                    plan.through(active),
                );
                correlate(
                    simd,
                    wide,
                    width,
                    expanded_heads,
                    rows(d_wide),
                    rows(expanded),
                    sums(offsets.features[0]),
                );
                add_up(
                    simd,
                    wide,
                    expanded_heads,
                    rows(d_wide),
                    sums(offsets.features[1]),
                );
                let left = Left {
                    pointer: stage.first_weight.as_ptr(),
                    row_stride: 1,
                    step_stride: width,
                };
                product(
                    simd,
                    width,
                    vectors,
                    wide,
                    left,
                    right(d_wide),
                    target(d_inner),
                    Finish::Store,
                );
            } else {
                plan.collect(simd, self.chunk, self.gradient, self.head_stride, d_inner);
            }
            let mut d_source = d_inner;
            if plan.weights.heads.is_some() {
                zero_planes(simd, d_expanded, padding, width, plane);
                zero_planes(simd, d_first, padding, width, plane);
                plan.first_convolution(simd, input, first, None, room);
                // Heads are rows, features are steps.
                let rows = |pointer: *const f32, plane: usize| Rows {
                    pointer,
                    row_stride: tokens,
                    step_stride: plane,
                };
                plan.correlate_taps(
                    simd,
                    expanded_heads,
                    first,
                    d_inner,
                    sums(offsets.heads[2]),
                    room,
                );
                add_up(
                    simd,
                    expanded_heads,
                    width,
                    rows(d_inner, plane),
                    sums(offsets.heads[3]),
                );
                let d_first_inner = d_first.wrapping_add(padding * plane);
                if plan.options.residual {
                    copy(simd, d_inner, d_first_inner, width * plane);
                }
                let through = plan.through(first.wrapping_add(padding * plane));
                plan.convolve(
                    simd,
                    3,
                    [expanded_heads, expanded_heads],
                    d_expanded,
                    d_first_inner,
                    through,
                    room,
                );
                plan.correlate_taps(
                    simd,
                    heads,
                    input,
                    d_first_inner,
                    sums(offsets.heads[0]),
                    room,
                );
                let left = rows(d_first_inner, plane);
                add_up(simd, expanded_heads, width, left, sums(offsets.heads[1]));
                plan.convolve(
                    simd,
                    2,
                    [expanded_heads, heads],
                    d_first,
                    d_input,
                    Finish::Store,
                    room,
                );
                d_source = d_input;
            }
            if let Some(rotation) = plan.before {
                rotate(simd, &rotation, self.chunk, d_source, heads, -1.0);
            }
            for head in 0..heads {
                let from = d_source.add(head * tokens);
                transpose(
                    simd,
                    width,
                    self.chunk.count,
                    from,
                    plane_in,
                    self.target.add(head * width),
                    heads * width,
                );
            }
        }
    }
}

impl Prepared<'_> {
    /// Adds the gradient of a convolution's weights: from `inputs` heads on padded planes and the gradient of its result.
    #[inline(always)]
    unsafe fn correlate_taps<S: Simd>(
        &self,
        simd: S,
        inputs: usize,
        from: *const f32,
        gradient: *const f32,
        sums: *mut f32,
        room: *mut f32,
    ) {
        let Sizes {
            expanded_heads,
            width,
            kernel_size,
            ..
        } = self.sizes;
        if minimal_filtering::on_vectors_of(S::F32_LANES) && self.minimal {
            simd.vectorize(MinimalCorrelation {
                inputs,
                outputs: expanded_heads,
                width,
                from,
                gradient,
                sums,
                room,
            });
            return;
        }
        let tokens = chunk_len(S::F32_LANES);
        // Heads are rows, features are steps; a tap moves by one plane, and so do its rows.
        let rows = |pointer: *const f32, heads: usize| Rows {
            pointer,
            row_stride: tokens,
            step_stride: heads * tokens,
        };
        // SAFETY: the planes hold width + κ − 1 (from) and width (gradient) times their heads, the sums what `offsets` says.
        unsafe {
            correlate(
                simd,
                expanded_heads,
                kernel_size * inputs,
                width,
                rows(gradient, expanded_heads),
                rows(from, inputs),
                sums,
            );
        }
    }
}
