//! The standard normal distribution in float32 on CubeCL devices.

use cubecl::prelude::*;

/// Distribution function Φ(x) and density φ(x).
#[derive(CubeType, Clone, Copy)]
pub(super) struct Normal {
    pub distribution: f32,
    pub density: f32,
}

/// Φ(x) and φ(x) by one exponential.
///
/// Φ(−a) = e^(−a²/2) · Q(a) with the smooth Q(a) = ½ erfcx(a/√2): Q(a)·(a + K) is a polynomial in
/// (a − K)/(a + K) to 1.5e-8 of itself, so that the tail keeps the relative accuracy of the
/// device's exponential, and Φ(a) = 1 − Φ(−a). The coefficients are those of the CPU kernels.
/// CubeCL's own `erf` is five terms with an error of 1.5e-7 on devices without one, and is not
/// accurate in the tail.
#[cube]
pub(super) fn normal(x: f32) -> Normal {
    let k = f32::new(3.75);
    let magnitude = x.abs();
    let a = select(magnitude > f32::new(14.5), f32::new(14.5), magnitude);
    let e = (f32::new(-0.5) * a * a).exp();
    let reciprocal = f32::new(1.0) / (a + k);
    let t = (a - k) * reciprocal;
    let mut sum = f32::new(0.000_443_447_5);
    sum = fma(sum, t, f32::new(0.000_509_628_7));
    sum = fma(sum, t, f32::new(-0.004_169_018));
    sum = fma(sum, t, f32::new(0.001_200_073_6));
    sum = fma(sum, t, f32::new(0.037_492_506));
    sum = fma(sum, t, f32::new(-0.151_520_84));
    sum = fma(sum, t, f32::new(0.352_939_6));
    sum = fma(sum, t, f32::new(-0.588_188_3));
    sum = fma(sum, t, f32::new(0.750_294_1));
    let tail = e * sum * reciprocal;
    Normal {
        distribution: select(x > f32::new(0.0), f32::new(1.0) - tail, tail),
        density: f32::new(0.398_942_3) * e,
    }
}
