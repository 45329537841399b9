//! Backward of the expansion of one chunk.

use pulp::{Simd, WithSimd};

use super::convolutions::Convolutions;
use super::lanes::{copy, rotate, zero_planes};
use super::minimal_filtering::{self, MinimalCorrelation};
use super::{Chunk, Prepared, Sizes, chunk_len};
use crate::call::Stage;
use crate::cpu::correlate::{Rows, add_up, correlate};
use crate::cpu::tile::{Finish, Left, Product, Right, Target};
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
    /// Buffers of the sizes [`Prepared::gradient_room`].
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
        let heads = plan.sizes.heads;
        let [input, ..] = self.room;
        // SAFETY: the buffers have the sizes of `room`, the rest by the promise of the builder.
        unsafe {
            plan.read_tokens(simd, self.chunk, self.source, input);
            let d_inner = self.features(simd);
            let d_source = match &plan.convolutions {
                Some(convolutions) => self.heads(simd, convolutions, d_inner),
                None => d_inner,
            };
            if let Some(rotation) = plan.before {
                rotate(simd, &rotation, self.chunk, d_source, heads, -1.0);
            }
            let tokens = chunk_len(S::F32_LANES);
            for head in 0..heads {
                let from = d_source.add(head * tokens);
                transpose(
                    simd,
                    plan.sizes.width,
                    self.chunk.count,
                    from,
                    heads * tokens,
                    self.target.add(head * plan.sizes.width),
                    heads * plan.sizes.width,
                );
            }
        }
    }
}

impl ContractChunk<'_> {
    /// Where the gradient of a weight is added up.
    fn sums(&self, offset: usize) -> *mut f32 {
        self.weight_gradient.wrapping_add(offset)
    }

    /// Backward of the feature stage, if there is one: the gradient of what left the head stage,
    /// between zero planes if the head stage wants it so.
    #[inline(always)]
    unsafe fn features<S: Simd>(&self, simd: S) -> *mut f32 {
        let plan = self.plan;
        let padding = plan.padding();
        let tokens = chunk_len(S::F32_LANES);
        let (plane_in, plane) = (
            plan.sizes.heads * tokens,
            plan.sizes.expanded_heads * tokens,
        );
        let [input, ..] = self.room;
        let [_, _, d_expanded, _, d_result] = self.gradient_room;
        let d_inner = d_expanded.wrapping_add(padding * plane);
        // SAFETY: as `with_simd`.
        unsafe {
            let Some(stage) = &plan.weights.features else {
                plan.collect(simd, self.chunk, self.gradient, self.head_stride, d_inner);
                return d_inner;
            };
            let expanded = if plan.weights.heads.is_some() {
                self.kept
            } else {
                input.wrapping_add(padding * plane_in).cast_const()
            };
            plan.collect(simd, self.chunk, self.gradient, self.head_stride, d_result);
            self.feature_maps(simd, stage, expanded, d_inner);
        }
        d_inner
    }

    /// Backward of both maps along the features, from the gradient of their result.
    #[inline(always)]
    unsafe fn feature_maps<S: Simd>(
        &self,
        simd: S,
        stage: &Stage<&[f32]>,
        expanded: *const f32,
        d_inner: *mut f32,
    ) {
        let plan = self.plan;
        let Sizes {
            expanded_heads,
            width,
            expanded_width: wide,
            ..
        } = plan.sizes;
        let [first_weight, first_bias, second_weight, second_bias] =
            plan.offsets().features.map(|offset| self.sums(offset));
        let [_, _, _, _, active, _] = self.room;
        let [_, _, _, d_wide, d_result] = self.gradient_room;
        let tokens = chunk_len(S::F32_LANES);
        let plane = expanded_heads * tokens;
        let vectors = plane / S::F32_LANES;
        // Features are rows, heads are steps.
        let rows = |pointer: *const f32| Rows {
            pointer,
            row_stride: plane,
            step_stride: tokens,
        };
        // SAFETY: as `with_simd`.
        unsafe {
            plan.first_map(simd, expanded, active, None);
            correlate(
                simd,
                wide,
                wide,
                expanded_heads,
                rows(d_result),
                rows(active),
                second_weight,
            );
            add_up(simd, wide, expanded_heads, rows(d_result), second_bias);
            if plan.options.residual {
                copy(simd, d_result, d_wide, wide * plane);
            }
            Product {
                rows: wide,
                vectors,
                steps: wide,
                left: Left::columns(stage.second_weight.as_ptr(), wide),
                right: Right::rows::<S>(d_result, plane),
                target: Target::rows::<S>(d_wide, plane),
                finish: plan.through(active),
            }
            .run(simd);
            correlate(
                simd,
                wide,
                width,
                expanded_heads,
                rows(d_wide),
                rows(expanded),
                first_weight,
            );
            add_up(simd, wide, expanded_heads, rows(d_wide), first_bias);
            Product {
                rows: width,
                vectors,
                steps: wide,
                left: Left::columns(stage.first_weight.as_ptr(), width),
                right: Right::rows::<S>(d_wide, plane),
                target: Target::rows::<S>(d_inner, plane),
                finish: Finish::Store,
            }
            .run(simd);
        }
    }

    /// Backward of both convolutions, from the gradient of their result; the gradient of their
    /// input.
    #[inline(always)]
    unsafe fn heads<S: Simd>(
        &self,
        simd: S,
        convolutions: &Convolutions,
        d_inner: *mut f32,
    ) -> *mut f32 {
        let plan = self.plan;
        let Sizes {
            heads,
            expanded_heads,
            width,
            ..
        } = plan.sizes;
        let padding = plan.padding();
        let [first_weight, first_bias, second_weight, second_bias] =
            plan.offsets().heads.map(|offset| self.sums(offset));
        let [input, first, _, _, _, room] = self.room;
        let [d_input, d_first, d_expanded, _, _] = self.gradient_room;
        let tokens = chunk_len(S::F32_LANES);
        let plane = expanded_heads * tokens;
        // Heads are rows, features are steps.
        let rows = |pointer: *const f32| Rows {
            pointer,
            row_stride: tokens,
            step_stride: plane,
        };
        // SAFETY: as `with_simd`.
        unsafe {
            zero_planes(simd, d_expanded, padding, width, plane);
            zero_planes(simd, d_first, padding, width, plane);
            plan.first_convolution(simd, input, first, None, room);
            plan.correlate_taps(simd, expanded_heads, first, d_inner, second_weight, room);
            add_up(simd, expanded_heads, width, rows(d_inner), second_bias);
            let d_first_inner = d_first.wrapping_add(padding * plane);
            if plan.options.residual {
                copy(simd, d_inner, d_first_inner, width * plane);
            }
            let through = plan.through(first.wrapping_add(padding * plane));
            plan.convolve(
                simd,
                &convolutions.second_back,
                d_expanded,
                d_first_inner,
                through,
                room,
            );
            plan.correlate_taps(simd, heads, input, d_first_inner, first_weight, room);
            add_up(simd, expanded_heads, width, rows(d_first_inner), first_bias);
            plan.convolve(
                simd,
                &convolutions.first_back,
                d_first,
                d_input,
                Finish::Store,
                room,
            );
        }
        d_input
    }
}

impl Prepared<'_> {
    /// Adds the gradient of a convolution's weights: from `inputs` heads on padded planes and the
    /// gradient of its result.
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
        // SAFETY: the planes hold width + κ − 1 (from) and width (gradient) times their heads, the
        // sums what `offsets` says.
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
