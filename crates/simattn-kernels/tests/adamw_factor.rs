//! AdamW by a factor that is a tensor, on the CPU: the same step as with the factor in the
//! settings, and none if it is not finite.

use burn::tensor::{Device, Tensor, TensorData};
use simattn_kernels::ops::{self, AdamW, AdamWState, GroupSettings};
use simattn_random::stream;

const GROUP: GroupSettings = GroupSettings {
    learning_rate: 3e-3,
    weight_decay: 0.1,
};

const SETTINGS: AdamW = AdamW {
    beta_1: 0.9,
    beta_2: 0.95,
    epsilon: 1e-8,
    step: 3,
    gradient_factor: 0.5,
};

type Step = fn(
    AdamW,
    GroupSettings,
    Tensor<2>,
    Tensor<2>,
    AdamWState<2>,
    Tensor<1>,
) -> (Tensor<2>, AdamWState<2>);

fn random(name: &str) -> Tensor<2> {
    let mut numbers = stream(3, name);
    let values: Vec<f32> = (0..7 * 5).map(|_| numbers.normal() as f32).collect();
    Tensor::from_data(TensorData::new(values, [7, 5]), &Device::flex())
}

fn state() -> AdamWState<2> {
    AdamWState {
        first_moment: random("first"),
        second_moment: random("second").square(),
    }
}

fn results((values, state): (Tensor<2>, AdamWState<2>)) -> Vec<f32> {
    let all = [values, state.first_moment, state.second_moment];
    let read = |x: Tensor<2>| x.into_data().iter::<f32>().collect::<Vec<_>>();
    all.into_iter().flat_map(read).collect()
}

fn by(step: Step, factor: f32) -> Vec<f32> {
    let factor = Tensor::from_floats([factor], &Device::flex());
    let (values, gradient) = (random("values"), random("gradient"));
    results(step(SETTINGS, GROUP, values, gradient, state(), factor))
}

#[test]
fn a_factor_multiplies_the_gradient() {
    let settings = AdamW {
        gradient_factor: 0.5 * 0.3,
        ..SETTINGS
    };
    let (values, gradient) = (random("values"), random("gradient"));
    let want = results(ops::adamw_step(settings, GROUP, values, gradient, state()));
    for step in [
        ops::adamw_step_by::<2> as Step,
        ops::adamw_step_by_portable::<2> as Step,
    ] {
        let got = by(step, 0.3);
        let near = |(got, want): (&f32, &f32)| (got - want).abs() <= 1e-6 * want.abs().max(1e-3);
        assert!(got.iter().zip(&want).all(near));
    }
}

#[test]
fn a_factor_that_is_not_finite_changes_nothing() {
    let before = results((random("values"), state()));
    for factor in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(by(ops::adamw_step_by::<2>, factor), before);
        assert_eq!(by(ops::adamw_step_by_portable::<2>, factor), before);
    }
}

#[test]
fn the_squared_norm_stays_a_tensor() {
    let x = random("x");
    let norm = ops::squared_norm_tensor(&x)
        .into_data()
        .iter::<f64>()
        .next();
    let want = ops::squared_norm(&x);
    assert!((norm.unwrap() - want).abs() < 1e-6 * want);
}
