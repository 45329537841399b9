//! Where attention reads the result of a chunk, and where it leaves the result's gradient.

use pulp::Simd;

use super::lanes::rotate;
use super::{Chunk, Prepared, Sizes, chunk_len};
use crate::cpu::blocked::BLOCK;
use crate::cpu::tile::{load, store};

impl Prepared<'_> {
    /// Rotates, multiplies, and places a result where attention reads it.
    #[inline(always)]
    pub(super) unsafe fn deliver<S: Simd>(
        &self,
        simd: S,
        chunk: Chunk,
        result: *mut f32,
        target: *mut f32,
        head_stride: usize,
    ) {
        let lanes = S::F32_LANES;
        let tokens = chunk_len(lanes);
        let factor = simd.splat_f32s(self.factor);
        let Sizes {
            expanded_heads: heads,
            expanded_width: width,
            ..
        } = self.sizes;
        // SAFETY: `result` holds [width][heads][tokens], the target as promised by the builder.
        unsafe {
            if let Some(rotation) = self.after {
                rotate(simd, &rotation, chunk, result, heads, 1.0);
            }
            // Heads lie far apart in the blocks, often at the same place of the cache: one after
            // another.
            for head in 0..heads {
                for d in 0..width {
                    for at in (0..tokens).step_by(lanes) {
                        let value = load(simd, result.add((d * heads + head) * tokens + at));
                        store(
                            simd,
                            target.add(head * head_stride + d * BLOCK + at),
                            simd.mul_f32s(value, factor),
                        );
                    }
                }
            }
        }
    }

    /// The reverse of [`Prepared::deliver`] for gradients.
    #[inline(always)]
    pub(super) unsafe fn collect<S: Simd>(
        &self,
        simd: S,
        chunk: Chunk,
        gradient: *const f32,
        head_stride: usize,
        to: *mut f32,
    ) {
        let lanes = S::F32_LANES;
        let tokens = chunk_len(lanes);
        let factor = simd.splat_f32s(self.factor);
        let Sizes {
            expanded_heads: heads,
            expanded_width: width,
            ..
        } = self.sizes;
        // SAFETY: as `deliver`.
        unsafe {
            for head in 0..heads {
                for d in 0..width {
                    for at in (0..tokens).step_by(lanes) {
                        let value = load(simd, gradient.add(head * head_stride + d * BLOCK + at));
                        store(
                            simd,
                            to.add((d * heads + head) * tokens + at),
                            simd.mul_f32s(value, factor),
                        );
                    }
                }
            }
            if let Some(rotation) = self.after {
                rotate(simd, &rotation, chunk, to, heads, -1.0);
            }
        }
    }
}
