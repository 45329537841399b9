//! Bringing heads into lane order.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::Heads;
use crate::cpu::blocked::BLOCK;
use crate::cpu::memory::{Room, Shared, read_at};
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::{load, store};
use crate::cpu::transpose::transpose;

/// Brings a tensor [batch, heads, tokens, width] into lane order, times `factor`: blocks
/// [width][64], unused lanes zero.
pub(super) fn pack(
    set: InstructionSet,
    room: &mut Room,
    x: Heads<'_>,
    dims: [usize; 4],
    factor: f32,
) -> Shared {
    let [batch, heads, tokens, width] = dims;
    let blocks = tokens.div_ceil(BLOCK);
    let size = width * BLOCK;
    let lanes = Shared::room(room, batch * heads * blocks * size);
    (0..batch * heads * blocks)
        .into_par_iter()
        .for_each(|task| {
            let (head, block) = (task / blocks, task % blocks);
            let count = (tokens - block * BLOCK).min(BLOCK);
            let from = x.layout.at(head / heads, head % heads, block * BLOCK);
            set.run(PackBlock {
                source: read_at(x.values, from, (count - 1) * x.layout.token_stride + width),
                source_stride: x.layout.token_stride,
                count,
                width,
                factor,
                target: lanes.at(task * size, size),
            });
        });
    lanes
}

/// One block into lane order.
pub struct PackBlock {
    /// First token.
    pub source: *const f32,
    /// Distance between tokens.
    pub source_stride: usize,
    /// Tokens, at most 64.
    pub count: usize,
    /// Features.
    pub width: usize,
    /// What every value is multiplied by.
    pub factor: f32,
    /// `[width][64]`.
    pub target: *mut f32,
}

impl WithSimd for PackBlock {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            source,
            source_stride,
            count,
            width,
            factor,
            target,
        } = self;
        // SAFETY: built over ranges checked by the slices it came from.
        unsafe {
            transpose(simd, count, width, source, source_stride, target, BLOCK);
            for d in 0..width {
                for lane in count..BLOCK {
                    *target.add(d * BLOCK + lane) = 0.0;
                }
            }
            if factor != 1.0 {
                let factor = simd.splat_f32s(factor);
                for i in 0..width * BLOCK / S::F32_LANES {
                    let place = target.add(i * S::F32_LANES);
                    store(simd, place, simd.mul_f32s(load(simd, place), factor));
                }
            }
        }
    }
}
