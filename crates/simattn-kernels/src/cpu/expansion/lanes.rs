//! Small passes over a chunk in lane order.

use pulp::Simd;

use super::{Chunk, Rotation, chunk_len};
use crate::cpu::blocked::EDGE;
use crate::cpu::tile::{load, store};

/// Rotates `[features][heads][tokens]` by the chunk's positions, or back with `direction` −1.
#[inline(always)]
pub(super) unsafe fn rotate<S: Simd>(
    simd: S,
    rotation: &Rotation<'_>,
    chunk: Chunk,
    values: *mut f32,
    heads: usize,
    direction: f32,
) {
    let lanes = S::F32_LANES;
    let tokens = chunk_len(lanes);
    let half = rotation.half;
    // SAFETY: the values hold at least 2 half features.
    unsafe {
        for i in 0..half {
            let (mut cos, mut sin) = ([1.0f32; EDGE], [0.0f32; EDGE]);
            for lane in 0..chunk.count {
                let at = (chunk.token + lane) * half + i;
                cos[lane] = rotation.cos[at];
                sin[lane] = rotation.sin[at] * direction;
            }
            for at in (0..tokens).step_by(lanes) {
                let (cos, sin) = (
                    load(simd, cos.as_ptr().add(at)),
                    load(simd, sin.as_ptr().add(at)),
                );
                for head in 0..heads {
                    let one = values.add((i * heads + head) * tokens + at);
                    let two = one.add(half * heads * tokens);
                    let (a, b) = (load(simd, one), load(simd, two));
                    let minus = simd.neg_f32s(sin);
                    store(
                        simd,
                        one,
                        simd.mul_add_e_f32s(b, minus, simd.mul_f32s(a, cos)),
                    );
                    store(
                        simd,
                        two,
                        simd.mul_add_e_f32s(a, sin, simd.mul_f32s(b, cos)),
                    );
                }
            }
        }
    }
}

#[inline(always)]
pub(super) unsafe fn zero<S: Simd>(simd: S, place: *mut f32, len: usize) {
    // SAFETY: `len`, a multiple of the chunk's length, values by the caller's promise.
    unsafe {
        for at in (0..len).step_by(S::F32_LANES) {
            store(simd, place.add(at), simd.splat_f32s(0.0));
        }
    }
}

/// Zero planes before and behind `width` planes.
#[inline(always)]
pub(super) unsafe fn zero_planes<S: Simd>(
    simd: S,
    place: *mut f32,
    padding: usize,
    width: usize,
    plane: usize,
) {
    // SAFETY: width + 2 padding planes by the caller's promise.
    unsafe {
        zero(simd, place, padding * plane);
        zero(simd, place.add((padding + width) * plane), padding * plane);
    }
}

#[inline(always)]
pub(super) unsafe fn copy<S: Simd>(simd: S, from: *const f32, to: *mut f32, len: usize) {
    // SAFETY: `len`, a multiple of the chunk's length, values by the caller's promise.
    unsafe {
        for at in (0..len).step_by(S::F32_LANES) {
            store(simd, to.add(at), load(simd, from.add(at)));
        }
    }
}
