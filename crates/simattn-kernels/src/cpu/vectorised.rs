//! Loops compiled once for each instruction set, and functions of one value that the compiler turns
//! into vector code in them: no branches, no calls, no tables.

/// Defines functions whose bodies are compiled for each instruction set of the target; the copy for
/// `InstructionSet::current()` runs.
///
/// Inside the body the constant `FUSED` says whether `f32::mul_add` is one instruction; pass it to
/// [`mul_add`] and to the functions of this module.
macro_rules! per_instruction_set {
    ($($(#[$attribute:meta])* $visibility:vis fn $name:ident($($argument:ident: $type:ty),* $(,)?) $(-> $result:ty)? $body:block)*) => {$(
        $(#[$attribute])*
        $visibility fn $name($($argument: $type),*) $(-> $result)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments)]
            fn body<const FUSED: bool>($($argument: $type),*) $(-> $result)? $body

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,fma")]
            fn avx512($($argument: $type),*) $(-> $result)? { body::<true>($($argument),*) }

            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            fn avx2($($argument: $type),*) $(-> $result)? { body::<true>($($argument),*) }

            match $crate::cpu::simd::InstructionSet::current() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: only a set that this machine has is ever current, and it includes these
                // features.
                $crate::cpu::simd::InstructionSet::Avx512 => unsafe { avx512($($argument),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::cpu::simd::InstructionSet::Avx2Fma => unsafe { avx2($($argument),*) },
                // NEON and its fused multiply-add are part of every aarch64 target.
                _ => body::<{ cfg!(target_arch = "aarch64") }>($($argument),*),
            }
        }
    )*};
}
pub(super) use per_instruction_set;

/// a·b + c, in one rounding where `FUSED`.
#[inline(always)]
pub(super) fn mul_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

/// The polynomial with coefficients from the constant upwards, at `x`.
#[inline(always)]
fn polynomial<const FUSED: bool, const N: usize>(coefficients: [f32; N], x: f32) -> f32 {
    let mut sum = coefficients[N - 1];
    for i in (0..N - 1).rev() {
        sum = mul_add::<FUSED>(sum, x, coefficients[i]);
    }
    sum
}

/// eˣ for one value, as [`simd::exp`](super::simd::exp) for a vector: within two units in the last
/// place for −87.3 ≤ x ≤ 88.7; 0 below, infinity above, NaN for NaN.
#[inline(always)]
pub(super) fn exp<const FUSED: bool>(x: f32) -> f32 {
    /// Adding it rounds to the nearest whole number, which the low bits then hold.
    const ROUND: f32 = 1.5 * (1 << 23) as f32;
    /// ln 2 in two parts, the first of so few bits that its products with small whole numbers are
    /// exact.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    /// (eʳ − 1 − r) / r² on |r| ≤ ½ ln 2, fitted for the least relative error of eʳ, 3.1e-9.
    const TAIL: [f32; 5] = [
        0.499_999_93,
        0.166_665_2,
        0.041_668_39,
        0.008_368_717,
        0.001_381_459_9,
    ];
    let clamped = if x < -88.0 { -88.0 } else { x };
    let clamped = if clamped > 89.0 { 89.0 } else { clamped };
    let rounded = mul_add::<FUSED>(clamped, std::f32::consts::LOG2_E, ROUND);
    let whole = rounded - ROUND;
    let r = mul_add::<FUSED>(
        whole,
        -LN_2_LOW,
        mul_add::<FUSED>(whole, -LN_2_HIGH, clamped),
    );
    let value = mul_add::<FUSED>(polynomial::<FUSED, 5>(TAIL, r), r * r, r) + 1.0;
    // times 2ⁿ: the low bits of `rounded` hold n, which goes to the exponent.
    let scaled = f32::from_bits(value.to_bits().wrapping_add(rounded.to_bits() << 23));
    let scaled = if x < -87.336_54 { 0.0 } else { scaled };
    // The sum is infinity above the largest finite result, and NaN for NaN.
    if x <= 88.722_83 {
        scaled
    } else {
        x + f32::INFINITY
    }
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub(super) fn logistic<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

/// Distribution function Φ(x) and density φ(x) of the standard normal distribution, by one
/// exponential.
///
/// Φ(−a) = e^(−a²/2) · Q(a) with the smooth Q(a) = ½ erfcx(a/√2): Q(a)·(a + K) is a polynomial in
/// (a − K)/(a + K) to 1.5e-8 of itself, so that the tail keeps its relative accuracy, and Φ(a) = 1
/// − Φ(−a).
#[inline(always)]
pub(super) fn normal<const FUSED: bool>(x: f32) -> (f32, f32) {
    const K: f32 = 3.75;
    const SCALED_TAIL: [f32; 9] = [
        0.750_294_1,
        -0.588_188_3,
        0.352_939_6,
        -0.151_520_84,
        0.037_492_506,
        0.001_200_073_6,
        -0.004_169_018,
        0.000_509_628_7,
        0.000_443_447_5,
    ];
    const DENSITY_AT_0: f32 = 0.398_942_3;
    let a = x.abs();
    let a = if a > 14.5 { 14.5 } else { a };
    // a² and what its rounding lost: at a = 10 that is 3e-6 of the exponential.
    let square = a * a;
    let lost = if FUSED { a.mul_add(a, -square) } else { 0.0 };
    let e = exp::<FUSED>(-0.5 * square);
    let e = mul_add::<FUSED>(e, -0.5 * lost, e);
    let reciprocal = 1.0 / (a + K);
    let q = polynomial::<FUSED, 9>(SCALED_TAIL, mul_add::<FUSED>(-2.0 * K, reciprocal, 1.0))
        * reciprocal;
    let tail = e * q;
    (if x > 0.0 { 1.0 - tail } else { tail }, DENSITY_AT_0 * e)
}

/// GELU in the form with tanh, and its derivative.
///
/// ½(1 + tanh u) is the logistic function of 2u, which saves the tanh.
#[inline(always)]
pub(super) fn gelu_tanh<const FUSED: bool>(x: f32) -> (f32, f32) {
    /// 2√(2/π), and times 0.044715.
    const LINEAR: f32 = 1.595_769_2;
    const CUBIC: f32 = LINEAR * 0.044_715;
    let square = x * x;
    let twice_u = x * mul_add::<FUSED>(CUBIC, square, LINEAR);
    let e = exp::<FUSED>(-twice_u);
    let gate = 1.0 / (1.0 + e);
    let slope = mul_add::<FUSED>(3.0 * CUBIC, square, LINEAR);
    // e·gate is 1 − gate without its cancellation. Where the product vanishes, e or the slope may
    // be infinite.
    let spread = e * gate * gate;
    let bend = if spread > 1e-30 {
        x * spread * slope
    } else {
        0.0
    };
    (x * gate, gate + bend)
}

/// Sums that are kept side by side so that a long sum becomes vector code: the order of additions
/// is fixed by this number and is the same for every instruction set.
pub(super) const LANES: usize = 32;

/// The sum of all lanes, halving.
#[inline(always)]
pub(super) fn sum_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}
