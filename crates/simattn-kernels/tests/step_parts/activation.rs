use proptest::prelude::*;
use simattn_kernels::call::GeluForm;
use simattn_kernels::cpu::activation::{
    gelu, gelu_gradient, swiglu, swiglu_gradient, swiglu_packed, swiglu_packed_gradient,
};

use crate::{assert_each, assert_same_on_any_number_of_threads, normals, over_nan, wide};

/// The errors that the module states: of values and of gradients.
const RELATIVE: f64 = 5e-7;
const RELATIVE_GRADIENT: f64 = 1e-6;
const ABSOLUTE: f64 = 2e-7;

/// Φ(x) in float64 from erf's series and erfc's continued fraction.
fn distribution(x: f64) -> f64 {
    let z = x.abs() / std::f64::consts::SQRT_2;
    let tail = if z < 2.5 {
        let mut term = z;
        let mut sum = z;
        for n in 1..80 {
            term *= -z * z / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        0.5 - sum / std::f64::consts::PI.sqrt()
    } else {
        let fraction = (1..=120)
            .rev()
            .fold(z, |below, n| z + f64::from(n) / 2.0 / below);
        0.5 * (-z * z).exp() / fraction / std::f64::consts::PI.sqrt()
    };
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// GELU and its derivative in float64.
fn gelu_64(form: GeluForm, x: f64) -> (f64, f64) {
    match form {
        GeluForm::Exact => {
            let density = (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt();
            (x * distribution(x), distribution(x) + x * density)
        }
        GeluForm::Tanh => {
            let root = (2.0 / std::f64::consts::PI).sqrt();
            let tanh = (root * (x + 0.044715 * x.powi(3))).tanh();
            // (1 + tanh)/2 without cancellation on the negative side.
            let gate = 1.0 / (1.0 + (-2.0 * root * (x + 0.044715 * x.powi(3))).exp());
            let slope = 0.5 * x * (1.0 - tanh * tanh) * root * (1.0 + 3.0 * 0.044715 * x * x);
            (x * gate, gate + slope)
        }
    }
}

/// Nearly every exponent and both signs, densely where the functions bend.
fn arguments() -> Vec<f32> {
    let fine = (-160_000..=160_000).map(|i| i as f32 * 1e-4);
    let all = (0..u32::MAX / 2)
        .step_by(1 << 15)
        .flat_map(|b| [f32::from_bits(b), -f32::from_bits(b)]);
    fine.chain(all.filter(|x| x.abs() < 1e38)).collect()
}

#[test]
fn gelu_keeps_its_stated_error_everywhere() {
    let x = arguments();
    let ones = vec![1.0; x.len()];
    for form in [GeluForm::Exact, GeluForm::Tanh] {
        let (y, slope): (Vec<f64>, Vec<f64>) =
            x.iter().map(|&x| gelu_64(form, f64::from(x))).unzip();
        assert_each(
            "gelu",
            &over_nan(x.len(), |out| gelu(form, &x, None, out)),
            &y,
            RELATIVE,
            ABSOLUTE,
        );
        let got = over_nan(x.len(), |out| gelu_gradient(form, &x, None, &ones, out));
        assert_each("gelu'", &got, &slope, RELATIVE_GRADIENT, ABSOLUTE);
    }
}

#[test]
fn the_tail_of_the_exact_gelu_keeps_its_relative_accuracy() {
    let x: Vec<f32> = (0..13_000).map(|i| i as f32 * -1e-3).collect();
    let want: Vec<f64> = x
        .iter()
        .map(|&x| gelu_64(GeluForm::Exact, f64::from(x)).0)
        .collect();
    // Without fused multiply-add the rounding of x² counts in the exponent.
    let relative = if simattn_kernels::cpu::simd::InstructionSet::current().lanes() > 1 {
        1e-6
    } else {
        1e-5
    };
    assert_each(
        "gelu",
        &over_nan(x.len(), |out| gelu(GeluForm::Exact, &x, None, out)),
        &want,
        relative,
        1e-37,
    );
}

#[test]
fn not_a_number_stays_visible() {
    let x = [f32::NAN, 1.0, -f32::NAN, f32::from_bits(0x7f80_0001)];
    for form in [GeluForm::Exact, GeluForm::Tanh] {
        let y = over_nan(4, |out| gelu(form, &x, None, out));
        assert!(y[0].is_nan() && y[1].is_finite() && y[2].is_nan() && y[3].is_nan());
    }
    let y = over_nan(4, |out| swiglu(&x, &[1.0; 4], out));
    assert!(y[0].is_nan() && y[1].is_finite() && y[2].is_nan() && y[3].is_nan());
}

#[test]
fn swiglu_keeps_its_stated_error_everywhere() {
    let a = arguments();
    let (b, dy) = (vec![0.75; a.len()], vec![-1.5; a.len()]);
    let gate = |a: f64| 1.0 / (1.0 + (-a).exp());
    let a64 = wide(&a);
    let y: Vec<f64> = a64.iter().map(|&a| a * gate(a) * 0.75).collect();
    assert_each(
        "swiglu",
        &over_nan(a.len(), |out| swiglu(&a, &b, out)),
        &y,
        RELATIVE,
        ABSOLUTE,
    );
    let mut db = Vec::new();
    let da = over_nan(a.len(), |da| {
        db = over_nan(a.len(), |db| swiglu_gradient(&a, &b, &dy, da, db));
    });
    let want: Vec<f64> = a64
        .iter()
        .map(|&a| -1.5 * 0.75 * gate(a) * (1.0 + if a > 700.0 { 0.0 } else { a * gate(-a) }))
        .collect();
    assert_each("da", &da, &want, RELATIVE_GRADIENT, ABSOLUTE);
    let want: Vec<f64> = a64.iter().map(|&a| -1.5 * a * gate(a)).collect();
    assert_each("db", &db, &want, RELATIVE_GRADIENT, ABSOLUTE);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_bias_is_added_to_each_row(rows in 0..40_usize, width in 1..700_usize, exact in any::<bool>()) {
        let form = if exact { GeluForm::Exact } else { GeluForm::Tanh };
        let (x, bias, dy) = (normals("x", rows * width), normals("bias", width), normals("dy", rows * width));
        let sum: Vec<f32> = x.iter().enumerate().map(|(i, x)| x + bias[i % width]).collect();
        let fused = over_nan(x.len(), |out| gelu(form, &x, Some(&bias), out));
        let apart = over_nan(x.len(), |out| gelu(form, &sum, None, out));
        prop_assert_eq!(fused, apart);
        let fused = over_nan(x.len(), |out| gelu_gradient(form, &x, Some(&bias), &dy, out));
        let apart = over_nan(x.len(), |out| gelu_gradient(form, &sum, None, &dy, out));
        prop_assert_eq!(fused, apart);
    }

    #[test]
    fn packed_swiglu_is_swiglu(rows in 0..40_usize, width in 0..500_usize) {
        let (ab, dy) = (normals("ab", 2 * rows * width), normals("dy", rows * width));
        let half = |second: usize| -> Vec<f32> {
            let rows = ab.chunks_exact(2 * width.max(1));
            rows.flat_map(|row| row[second * width..(second + 1) * width].to_vec()).collect()
        };
        let (a, b) = (half(0), half(1));
        let packed = over_nan(dy.len(), |out| swiglu_packed(width, &ab, out));
        prop_assert_eq!(packed, over_nan(dy.len(), |out| swiglu(&a, &b, out)));
        let packed = over_nan(ab.len(), |out| swiglu_packed_gradient(width, &ab, &dy, out));
        let mut db = Vec::new();
        let da = over_nan(dy.len(), |da| db = over_nan(dy.len(), |db| swiglu_gradient(&a, &b, &dy, da, db)));
        for row in 0..rows {
            prop_assert_eq!(&packed[2 * row * width..][..width], &da[row * width..][..width]);
            prop_assert_eq!(&packed[(2 * row + 1) * width..][..width], &db[row * width..][..width]);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (a, b, dy) = (
        normals("a", 50_001),
        normals("b", 50_001),
        normals("dy", 50_001),
    );
    assert_same_on_any_number_of_threads(|| {
        vec![
            over_nan(a.len(), |out| gelu(GeluForm::Exact, &a, None, out)),
            over_nan(a.len(), |out| {
                gelu_gradient(GeluForm::Tanh, &a, None, &dy, out)
            }),
            over_nan(a.len(), |out| swiglu(&a, &b, out)),
        ]
    });
}
