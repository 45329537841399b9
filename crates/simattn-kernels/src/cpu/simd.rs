//! Which vector instructions run, and the vector exponential.
//!
//! Kernels are generic over [`pulp::Simd`]; [`InstructionSet::run`] compiles one copy of a kernel
//! per set and picks at run time. The set is chosen once per process: the widest that the machine
//! has, restricted by the environment variable `SIMATTN_SIMD`.

use std::fmt;
use std::sync::OnceLock;

use pulp::{Simd, WithSimd};

/// Environment variable that restricts the choice: `avx512`, `avx2`, `neon` or `scalar`.
pub const ENVIRONMENT_VARIABLE: &str = "SIMATTN_SIMD";

/// A set of vector instructions that the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstructionSet {
    /// AVX-512 F, BW, CD, DQ and VL: 16 lanes of float32.
    Avx512,
    /// AVX2 with fused multiply-add: 8 lanes.
    Avx2Fma,
    /// Arm NEON: 4 lanes.
    Neon,
    /// Portable code, one lane; the compiler may still use the target's baseline vectors.
    Scalar,
}

impl InstructionSet {
    /// Every set, widest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2Fma, Self::Neon, Self::Scalar];

    /// The name that [`ENVIRONMENT_VARIABLE`] takes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2Fma => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }

    /// Float32 values in one vector.
    pub fn lanes(self) -> usize {
        match self {
            Self::Avx512 => 16,
            Self::Avx2Fma => 8,
            Self::Neon => 4,
            Self::Scalar => 1,
        }
    }

    /// Whether this machine can run the set.
    pub(crate) fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => pulp::x86::V4::try_new().is_some(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Fma => pulp::x86::V3::try_new().is_some(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => pulp::aarch64::Neon::try_new().is_some(),
            Self::Scalar => true,
            #[allow(unreachable_patterns)]
            _ => false,
        }
    }

    /// The sets that this machine can run, widest first. Never empty.
    pub fn available() -> Vec<Self> {
        Self::ALL
            .into_iter()
            .filter(|set| set.is_available())
            .collect()
    }

    /// The set that kernels use in this process.
    pub fn current() -> Self {
        Selection::of_process().set
    }

    /// Runs `kernel` compiled for this set; for [`InstructionSet::Scalar`] if the machine lacks it.
    #[inline]
    pub fn run<K: WithSimd>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                if let Some(simd) = pulp::x86::V4::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2Fma => {
                if let Some(simd) = pulp::x86::V3::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            #[cfg(target_arch = "aarch64")]
            Self::Neon => {
                if let Some(simd) = pulp::aarch64::Neon::try_new() {
                    return Simd::vectorize(simd, kernel);
                }
            }
            _ => {}
        }
        Simd::vectorize(pulp::Scalar, kernel)
    }
}

impl fmt::Display for InstructionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The instruction set of this process, and what to tell the user about the choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Selection {
    /// The set that kernels use.
    pub(crate) set: InstructionSet,
    /// Set if the environment asked for a set that is unknown or that the machine lacks.
    pub(crate) warning: Option<String>,
}

impl Selection {
    /// The choice of this process, made at the first call.
    pub(crate) fn of_process() -> &'static Self {
        static SELECTION: OnceLock<Selection> = OnceLock::new();
        SELECTION.get_or_init(|| {
            let requested = std::env::var_os(ENVIRONMENT_VARIABLE);
            Self::choose(
                requested
                    .as_ref()
                    .map(|value| value.to_string_lossy())
                    .as_deref(),
                &InstructionSet::available(),
            )
        })
    }

    /// Chooses among `available` (widest first): the requested set, else the widest one and a
    /// warning.
    fn choose(requested: Option<&str>, available: &[InstructionSet]) -> Self {
        let widest = available.first().copied().unwrap_or(InstructionSet::Scalar);
        let Some(name) = requested.map(str::trim).filter(|name| !name.is_empty()) else {
            return Self {
                set: widest,
                warning: None,
            };
        };
        let known = InstructionSet::ALL
            .into_iter()
            .find(|set| set.name() == name);
        match known {
            Some(set) if available.contains(&set) => Self { set, warning: None },
            Some(set) => Self {
                set: widest,
                warning: Some(format!(
                    "{ENVIRONMENT_VARIABLE}={set}: this machine lacks that instruction set; using {widest}"
                )),
            },
            None => Self {
                set: widest,
                warning: Some(format!(
                    "{ENVIRONMENT_VARIABLE}={name}: unknown instruction set (avx512, avx2, neon or scalar); using {widest}"
                )),
            },
        }
    }
}

/// Arguments below this give zero: the result would be below the smallest normal float32, nearly.
pub(crate) const EXP_UNDERFLOW: f32 = -87.33;

/// Arguments above this give infinity.
pub(crate) const EXP_OVERFLOW: f32 = 88.72;

/// `e^x` in every lane.
///
/// Relative error below 1.2e-7 (two units in the last place) on [`EXP_UNDERFLOW`, `EXP_OVERFLOW`];
/// zero below, infinity above, so `e^-inf = 0`. A NaN gives a NaN.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let [y] = exp_side_by_side(simd, [x]);
    y
}

/// [`exp`] of V vectors, step by step side by side.
///
/// One exponential is a chain of some fifteen operations. Written one behind the other, chains fill
/// a core's queue with operations that wait; side by side, each finds its operands ready.
#[inline(always)]
pub(crate) fn exp_side_by_side<S: Simd, const V: usize>(simd: S, x: [S::f32s; V]) -> [S::f32s; V] {
    let mul_add = |a: [S::f32s; V], b: [S::f32s; V], c: f32| -> [S::f32s; V] {
        let c = simd.splat_f32s(c);
        std::array::from_fn(|v| simd.mul_add_e_f32s(a[v], b[v], c))
    };
    // n = round(x / ln 2) by adding 1.5 * 2^23: the sum's low mantissa bits hold n in two's
    // complement.
    const MAGIC: f32 = 12_582_912.0;
    let shifted = mul_add(x, [simd.splat_f32s(std::f32::consts::LOG2_E); V], MAGIC);
    let n = shifted.map(|s| simd.sub_f32s(s, simd.splat_f32s(MAGIC)));
    // ln 2 in two parts: the first has few enough bits that n times it is exact.
    let less = |n: [S::f32s; V], part: f32, x: [S::f32s; V]| -> [S::f32s; V] {
        std::array::from_fn(|v| simd.mul_add_e_f32s(n[v], simd.splat_f32s(part), x[v]))
    };
    let r = less(n, -0.693_359_4, x);
    let r = less(n, 2.121_944_4e-4, r);
    // e^r = 1 + r + r^2 q(r) on |r| <= ln 2 / 2, q fitted for the least relative error (3.1e-9).
    let q = [simd.splat_f32s(1.381_458_1e-3); V];
    let q = mul_add(q, r, 8.368_726e-3);
    let q = mul_add(q, r, 4.166_839e-2);
    let q = mul_add(q, r, 1.666_652_1e-1);
    let q = mul_add(q, r, 4.999_999_3e-1);
    let p = mul_add(q, r, 1.0);
    let p = mul_add(p, r, 1.0);
    // Multiply by 2^n in the exponent field.
    let y: [S::f32s; V] = std::array::from_fn(|v| {
        let exponent =
            simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted[v]), simd.splat_u32s(23));
        simd.transmute_f32s_u32s(simd.add_u32s(simd.transmute_u32s_f32s(p[v]), exponent))
    });
    let y: [S::f32s; V] = std::array::from_fn(|v| {
        simd.select_f32s(
            simd.less_than_f32s(x[v], simd.splat_f32s(EXP_UNDERFLOW)),
            simd.splat_f32s(0.0),
            y[v],
        )
    });
    std::array::from_fn(|v| {
        simd.select_f32s(
            simd.greater_than_f32s(x[v], simd.splat_f32s(EXP_OVERFLOW)),
            simd.splat_f32s(f32::INFINITY),
            y[v],
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct ExpOf<'a>(&'a [f32]);

    impl WithSimd for ExpOf<'_> {
        type Output = Vec<f32>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
            let mut out = vec![f32::NAN; self.0.len()];
            for (x, y) in self
                .0
                .chunks(S::F32_LANES)
                .zip(out.chunks_mut(S::F32_LANES))
            {
                simd.partial_store_f32s(y, exp(simd, simd.partial_load_f32s(x)));
            }
            out
        }
    }

    #[test]
    fn exp_is_within_its_stated_error_on_every_set() {
        // Every 257th float32 of both signs: about eight million arguments in range per sign.
        let bits = (0..u32::MAX / 2).step_by(257);
        let xs: Vec<f32> = bits
            .flat_map(|b| [f32::from_bits(b), -f32::from_bits(b)])
            .filter(|x| (EXP_UNDERFLOW..=EXP_OVERFLOW).contains(x))
            .collect();
        let exact: Vec<f64> = xs.iter().map(|&x| f64::from(x).exp()).collect();
        for set in InstructionSet::available() {
            let got = set.run(ExpOf(&xs));
            let worst = got
                .iter()
                .zip(&exact)
                .map(|(&y, &e)| ((f64::from(y) - e) / e).abs())
                .fold(0.0, f64::max);
            assert!(worst < 1.2e-7, "{set}: {worst:e}");
            assert!(got.iter().all(|y| y.is_finite()), "{set}");
        }
    }

    #[test]
    fn exp_at_the_edges() {
        let xs = [
            f32::NEG_INFINITY,
            -1e30,
            -100.0,
            0.0,
            1e30,
            f32::INFINITY,
            f32::NAN,
            -0.0,
        ];
        for set in InstructionSet::available() {
            let y = set.run(ExpOf(&xs));
            assert_eq!(
                y[..6],
                [0.0, 0.0, 0.0, 1.0, f32::INFINITY, f32::INFINITY],
                "{set}"
            );
            assert!(y[6].is_nan(), "{set}");
            assert_eq!(y[7], 1.0, "{set}");
        }
    }

    #[test]
    fn the_environment_restricts_the_choice() {
        use InstructionSet::*;
        let machine = [Avx512, Avx2Fma, Scalar];
        let chosen = |requested| Selection::choose(requested, &machine);
        assert_eq!(
            chosen(None),
            Selection {
                set: Avx512,
                warning: None
            }
        );
        assert_eq!(
            chosen(Some("")),
            Selection {
                set: Avx512,
                warning: None
            }
        );
        assert_eq!(
            chosen(Some("avx2")),
            Selection {
                set: Avx2Fma,
                warning: None
            }
        );
        assert_eq!(
            chosen(Some("scalar")),
            Selection {
                set: Scalar,
                warning: None
            }
        );
        for refused in ["neon", "sse9"] {
            let selection = chosen(Some(refused));
            assert_eq!(selection.set, Avx512);
            assert!(
                selection
                    .warning
                    .is_some_and(|w| w.contains(refused) && w.contains("using avx512"))
            );
        }
    }
}
