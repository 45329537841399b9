//! What backward does to one block: 64 queries of a head, or 64 keys of several parts.

use pulp::{Simd, WithSimd};

use super::tasks::Scratch;
use crate::cpu::blocked::{self, BLOCK, Geometry, HeadBackward};
use crate::cpu::tile::{load, store};
use crate::cpu::transpose::transpose;

/// One block of queries of one head, and its gradient into token order.
pub(super) struct BackwardBlock<'a> {
    pub(super) geometry: &'a Geometry,
    pub(super) block: usize,
    pub(super) head: HeadBackward,
    pub(super) scale: f32,
    pub(super) target: *mut f32,
    pub(super) target_stride: usize,
    pub(super) scratch: &'a mut Scratch,
}

impl WithSimd for BackwardBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scratch { gradient, backward } = self.scratch;
        let width = self.geometry.width;
        let count = self.geometry.queries_in(self.block);
        // SAFETY: ranges checked where this was built.
        unsafe {
            blocked::backward(
                simd,
                self.geometry,
                self.block,
                self.head,
                gradient,
                backward,
            );
            let scale = simd.splat_f32s(self.scale);
            for i in 0..width * BLOCK / S::F32_LANES {
                let place = self.head.query_gradient.add(i * S::F32_LANES);
                store(simd, place, simd.mul_f32s(load(simd, place), scale));
            }
            transpose(
                simd,
                width,
                count,
                self.head.query_gradient,
                BLOCK,
                self.target,
                self.target_stride,
            );
        }
    }
}

/// Adds the parts of one block in order and brings it into token order.
pub(super) struct SumBlocks {
    pub(super) parts: usize,
    pub(super) part_stride: usize,
    pub(super) from: *mut f32,
    pub(super) width: usize,
    pub(super) count: usize,
    pub(super) target: *mut f32,
    pub(super) target_stride: usize,
}

impl WithSimd for SumBlocks {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: ranges checked where this was built; each block belongs to one task.
        unsafe {
            for part in 1..self.parts {
                for i in 0..self.width * BLOCK / S::F32_LANES {
                    let at = i * S::F32_LANES;
                    let sum = simd.add_f32s(
                        load(simd, self.from.add(at)),
                        load(simd, self.from.add(part * self.part_stride + at)),
                    );
                    store(simd, self.from.add(at), sum);
                }
            }
            transpose(
                simd,
                self.width,
                self.count,
                self.from,
                BLOCK,
                self.target,
                self.target_stride,
            );
        }
    }
}
