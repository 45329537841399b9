//! AdamW (Loshchilov and Hutter, arXiv 1711.05101) over many parameters in one parallel pass.

use rayon::prelude::*;

use super::vectorised::{mul_add, per_instruction_set};
use crate::call::AdamW;

/// Values that one task handles: four streams of them fill a second-level cache's share.
const TASK: usize = 16 * 1024;

/// A parameter with its gradient and moments, all of one length.
#[derive(Debug)]
pub struct Parameter<'a> {
    /// The values, which the step changes.
    pub values: &'a mut [f32],
    /// The gradient.
    pub gradient: &'a [f32],
    /// The running mean of gradients; zeros before the first step.
    pub first_moment: &'a mut [f32],
    /// The running mean of squared gradients; zeros before the first step.
    pub second_moment: &'a mut [f32],
    /// The learning rate of its group.
    pub learning_rate: f32,
    /// The decoupled weight decay of its group: values shrink by learning rate × decay.
    pub weight_decay: f32,
}

/// One step for all `parameters`.
///
/// # Panics
/// If the slices of a parameter differ in length.
pub fn step(settings: AdamW, parameters: &mut [Parameter<'_>]) {
    let correct =
        |beta: f32| 1.0 - f64::from(beta).powi(i32::try_from(settings.step).unwrap_or(i32::MAX));
    let correction_1 = correct(settings.beta_1);
    let correction_2 = correct(settings.beta_2);
    let mut tasks = Vec::new();
    for parameter in parameters {
        let len = parameter.values.len();
        let others = [
            parameter.gradient.len(),
            parameter.first_moment.len(),
            parameter.second_moment.len(),
        ];
        assert_eq!(others, [len; 3], "gradient and moments of a parameter");
        let rate = f64::from(parameter.learning_rate);
        let scalars = Scalars {
            beta_1: settings.beta_1,
            beta_2: settings.beta_2,
            epsilon: settings.epsilon,
            gradient_factor: settings.gradient_factor,
            keep: (1.0 - rate * f64::from(parameter.weight_decay)) as f32,
            rate: (rate / correction_1) as f32,
            root_correction: (1.0 / correction_2.sqrt()) as f32,
        };
        let moments = parameter
            .first_moment
            .chunks_mut(TASK)
            .zip(parameter.second_moment.chunks_mut(TASK));
        let values = parameter
            .values
            .chunks_mut(TASK)
            .zip(parameter.gradient.chunks(TASK));
        tasks.extend(
            values
                .zip(moments)
                .map(|((values, gradient), moments)| (scalars, values, gradient, moments)),
        );
    }
    tasks
        .into_par_iter()
        .for_each(|(scalars, values, gradient, (first, second))| {
            update(scalars, values, gradient, first, second);
        });
}

/// A step's numbers for one parameter, worked out in double precision.
#[derive(Clone, Copy)]
struct Scalars {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    gradient_factor: f32,
    /// 1 − learning rate × decay
    keep: f32,
    /// learning rate / (1 − β₁ᵗ)
    rate: f32,
    /// 1 / √(1 − β₂ᵗ)
    root_correction: f32,
}

per_instruction_set! {
    fn update(scalars: Scalars, values: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32]) {
        let Scalars { beta_1, beta_2, epsilon, gradient_factor, keep, rate, root_correction } = scalars;
        let moments = first.iter_mut().zip(second);
        for ((value, &gradient), (first, second)) in values.iter_mut().zip(gradient).zip(moments) {
            let gradient = gradient * gradient_factor;
            *first = mul_add::<FUSED>(1.0 - beta_1, gradient - *first, *first);
            *second = mul_add::<FUSED>(1.0 - beta_2, mul_add::<FUSED>(gradient, gradient, -*second), *second);
            let root = mul_add::<FUSED>(second.sqrt(), root_correction, epsilon);
            *value = mul_add::<FUSED>(*value, keep, -rate * *first / root);
        }
    }
}
