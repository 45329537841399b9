//! Expansion of one chunk.

use pulp::{Simd, WithSimd};

use super::{Chunk, Prepared, chunk_len};

/// Expands one chunk.
pub struct ExpandChunk<'a> {
    /// What to do.
    pub plan: &'a Prepared<'a>,
    /// Which tokens.
    pub chunk: Chunk,
    /// The first of them: `[heads][width]`, tokens `heads * width` apart.
    pub source: *const f32,
    /// Buffers of the sizes [`Prepared::room`].
    pub room: [*mut f32; 6],
    /// Where the chunk's first lane goes for feature 0 of head 0; features are 64 apart.
    pub target: *mut f32,
    /// Distance between heads in the target.
    pub head_stride: usize,
    /// Where [`Prepared::kept`] values go; null for nowhere.
    pub kept: *mut f32,
}

impl WithSimd for ExpandChunk<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let plan = self.plan;
        let padding = plan.padding();
        let [input, first, expanded, wide, active, room] = self.room;
        // SAFETY: the buffers have the sizes of `room`, source and target hold the chunk by the
        // promise of the builder.
        unsafe {
            plan.read_tokens(simd, self.chunk, self.source, input);
            let mut result =
                input.wrapping_add(padding * plan.sizes.heads * chunk_len(S::F32_LANES));
            if plan.weights.heads.is_some() {
                let expanded = if self.kept.is_null() {
                    expanded
                } else {
                    self.kept
                };
                plan.first_convolution(simd, input, first, Some(expanded), room);
                plan.second_convolution(simd, first, expanded, room);
                result = expanded;
            }
            if plan.weights.features.is_some() {
                plan.first_map(simd, result, active, Some(wide));
                plan.second_map(simd, active, wide);
                result = wide;
            }
            plan.deliver(simd, self.chunk, result, self.target, self.head_stride);
        }
    }
}
