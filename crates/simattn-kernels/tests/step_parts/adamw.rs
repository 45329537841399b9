use proptest::prelude::*;
use simattn_kernels::call::AdamW;
use simattn_kernels::cpu::adamw::{Parameter, step};
use simattn_kernels::cpu::gradient_norm::{clip_factor, global_norm, squared_sums};

use crate::{assert_rms, assert_same_on_any_number_of_threads, normals, wide};

const SETTINGS: AdamW = AdamW {
    beta_1: 0.9,
    beta_2: 0.95,
    epsilon: 1e-8,
    step: 1,
    gradient_factor: 1.0,
};

/// Ten steps on parameters of the given lengths; the gradient of a step is the parameter itself
/// plus noise.
fn ten_steps(lengths: &[usize], factor: f32) -> Vec<Vec<f32>> {
    let mut values: Vec<_> = lengths.iter().map(|&len| normals("values", len)).collect();
    let mut first: Vec<_> = lengths.iter().map(|&len| vec![0.0; len]).collect();
    let mut second = first.clone();
    for number in 1..=10 {
        let gradients: Vec<_> = lengths
            .iter()
            .map(|&len| normals(&format!("gradient {number}"), len))
            .collect();
        let moments = first.iter_mut().zip(&mut second);
        let mut parameters: Vec<_> = (values.iter_mut().zip(&gradients).zip(moments).enumerate())
            .map(|(i, ((values, gradient), (first, second)))| Parameter {
                values,
                gradient,
                first_moment: first,
                second_moment: second,
                learning_rate: 1e-3 * (i + 1) as f32,
                weight_decay: if i == 0 { 0.1 } else { 0.0 },
            })
            .collect();
        step(
            AdamW {
                step: number,
                gradient_factor: factor,
                ..SETTINGS
            },
            &mut parameters,
        );
    }
    values
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn ten_steps_are_those_of_the_paper(lengths in prop::collection::vec(0..300_usize, 1..4), factor in 0.01..2.0_f32) {
        let got = ten_steps(&lengths, factor);
        for (i, &len) in lengths.iter().enumerate() {
            let rate = f64::from(1e-3 * (i + 1) as f32);
            let decay = if i == 0 { f64::from(0.1_f32) } else { 0.0 };
            let (beta_1, beta_2) = (f64::from(0.9_f32), f64::from(0.95_f32));
            let mut values = wide(&normals("values", len));
            let (mut first, mut second) = (vec![0.0; len], vec![0.0; len]);
            for number in 1..=10 {
                let gradient = wide(&normals(&format!("gradient {number}"), len));
                for j in 0..len {
                    let g = gradient[j] * f64::from(factor);
                    first[j] = beta_1 * first[j] + (1.0 - beta_1) * g;
                    second[j] = beta_2 * second[j] + (1.0 - beta_2) * g * g;
                    let corrected = (second[j] / (1.0 - beta_2.powi(number))).sqrt() + 1e-8;
                    values[j] -= rate * decay * values[j] + rate * first[j] / (1.0 - beta_1.powi(number)) / corrected;
                }
            }
            assert_rms("values", &got[i], &values, 2e-6);
        }
    }

    #[test]
    fn the_norm_is_that_of_all_values(lengths in prop::collection::vec(0..5000_usize, 0..6)) {
        let gradients: Vec<_> = lengths.iter().map(|&len| normals("gradient", len)).collect();
        let slices: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
        let want: f64 = gradients.iter().flatten().map(|&g| f64::from(g).powi(2)).sum::<f64>().sqrt();
        let got = global_norm(&slices);
        prop_assert!((got.norm - want).abs() <= 1e-12 * want);
        prop_assert_eq!(got.first_not_finite, None);
        prop_assert!((f64::from(clip_factor(got.norm, 1.0)) * want).min(want) <= 1.0 + 1e-6);
    }
}

#[test]
fn the_first_gradient_that_is_not_finite_is_named() {
    let mut gradients = vec![vec![f32::MAX; 100_000]; 4];
    let name = |gradients: &[Vec<f32>]| {
        global_norm(&gradients.iter().map(Vec::as_slice).collect::<Vec<_>>()).first_not_finite
    };
    assert_eq!(
        name(&gradients),
        None,
        "squares of the greatest finite values do not overflow"
    );
    gradients[3][7] = f32::INFINITY;
    assert_eq!(name(&gradients), Some(3));
    gradients[1][99_999] = f32::NAN;
    assert_eq!(name(&gradients), Some(1));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let gradients = [normals("a", 400_001), normals("b", 3), normals("c", 70_000)];
    let slices: Vec<&[f32]> = gradients.iter().map(Vec::as_slice).collect();
    assert_same_on_any_number_of_threads(|| {
        let mut results = ten_steps(&[40_001, 5], 1.0);
        // Both halves of the float64 sums, bit by bit.
        let halves =
            |sum: &f64| [sum.to_bits() as u32, (sum.to_bits() >> 32) as u32].map(f32::from_bits);
        results.push(squared_sums(&slices).iter().flat_map(halves).collect());
        results
    });
}
