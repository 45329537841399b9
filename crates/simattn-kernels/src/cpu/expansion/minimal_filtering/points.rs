//! From inputs to points and back: the matrices A and B, written out.

use pulp::Simd;

use super::OUTPUTS;
use crate::cpu::tile::{load, store};

/// B: eight inputs, `stride` apart, to the points, `point_stride` apart.
#[inline(always)]
pub(super) unsafe fn spread_inputs<S: Simd>(
    simd: S,
    from: *const f32,
    stride: usize,
    to: *mut f32,
    point_stride: usize,
) {
    let times = |factor: f32, x: S::f32s| simd.mul_f32s(simd.splat_f32s(factor), x);
    let add_times = |sum: S::f32s, factor: f32, x: S::f32s| {
        simd.mul_add_e_f32s(simd.splat_f32s(factor), x, sum)
    };
    // SAFETY: eight inputs and eight points by the caller's promise.
    unsafe {
        let x = |i: usize| load(simd, from.add(i * stride));
        let put = |p: usize, value: S::f32s| store(simd, to.add(p * point_stride), value);
        let (x1, x2, x3, x4, x5, x6) = (x(1), x(2), x(3), x(4), x(5), x(6));
        put(
            0,
            add_times(simd.sub_f32s(x6, x(0)), 5.25, simd.sub_f32s(x2, x4)),
        );
        put(
            7,
            add_times(simd.sub_f32s(x(7), x1), 5.25, simd.sub_f32s(x3, x5)),
        );
        let pair = |p: usize, even: S::f32s, odd: S::f32s| {
            put(p, simd.add_f32s(even, odd));
            put(p + 1, simd.sub_f32s(even, odd));
        };
        pair(
            1,
            add_times(simd.add_f32s(x2, x6), -4.25, x4),
            add_times(simd.add_f32s(x1, x5), -4.25, x3),
        );
        pair(
            3,
            add_times(add_times(x6, 0.25, x2), -1.25, x4),
            add_times(add_times(times(0.5, x1), 2.0, x5), -2.5, x3),
        );
        pair(
            5,
            add_times(add_times(x6, 4.0, x2), -5.0, x4),
            add_times(add_times(times(0.5, x5), 2.0, x1), -2.5, x3),
        );
    }
}

/// Aᵀ: four outputs from the results at the points, `point_stride` apart.
#[inline(always)]
pub(super) unsafe fn gather_outputs<S: Simd>(
    simd: S,
    from: *const f32,
    point_stride: usize,
) -> [S::f32s; OUTPUTS] {
    let add_times = |sum: S::f32s, factor: f32, x: S::f32s| {
        simd.mul_add_e_f32s(simd.splat_f32s(factor), x, sum)
    };
    // SAFETY: eight points by the caller's promise.
    let m = |p: usize| unsafe { load(simd, from.add(p * point_stride)) };
    let pair = |p: usize| {
        let (plus, minus) = (m(p), m(p + 1));
        (simd.add_f32s(plus, minus), simd.sub_f32s(plus, minus))
    };
    let ((even_1, odd_1), (even_2, odd_2), (even_half, odd_half)) = (pair(1), pair(3), pair(5));
    [
        simd.add_f32s(
            simd.add_f32s(m(0), even_1),
            simd.add_f32s(even_2, even_half),
        ),
        add_times(add_times(odd_1, 2.0, odd_2), 0.5, odd_half),
        add_times(add_times(even_1, 4.0, even_2), 0.25, even_half),
        add_times(
            add_times(simd.add_f32s(odd_1, m(7)), 8.0, odd_2),
            0.125,
            odd_half,
        ),
    ]
}

/// A: gradients of four outputs, `stride` apart, to the points, `point_stride` apart.
#[inline(always)]
pub(super) unsafe fn spread_gradients<S: Simd>(
    simd: S,
    from: *const f32,
    stride: usize,
    to: *mut f32,
    point_stride: usize,
) {
    let times = |factor: f32, x: S::f32s| simd.mul_f32s(simd.splat_f32s(factor), x);
    let add_times = |sum: S::f32s, factor: f32, x: S::f32s| {
        simd.mul_add_e_f32s(simd.splat_f32s(factor), x, sum)
    };
    // SAFETY: four gradients and eight points by the caller's promise.
    unsafe {
        let g: [S::f32s; OUTPUTS] = std::array::from_fn(|i| load(simd, from.add(i * stride)));
        let put = |p: usize, value: S::f32s| store(simd, to.add(p * point_stride), value);
        let pair = |p: usize, even: S::f32s, odd: S::f32s| {
            put(p, simd.add_f32s(even, odd));
            put(p + 1, simd.sub_f32s(even, odd));
        };
        put(0, g[0]);
        pair(1, simd.add_f32s(g[0], g[2]), simd.add_f32s(g[1], g[3]));
        pair(
            3,
            add_times(g[0], 4.0, g[2]),
            add_times(times(2.0, g[1]), 8.0, g[3]),
        );
        pair(
            5,
            add_times(g[0], 0.25, g[2]),
            add_times(times(0.5, g[1]), 0.125, g[3]),
        );
        put(7, g[3]);
    }
}
