//! The norm of all gradients together, and which one is not finite.

use rayon::prelude::*;

use super::vectorised::per_instruction_set;

/// Values that one task adds up; sums of tasks are combined in order, so the norm does not depend
/// on the number of threads.
const TASK: usize = 64 * 1024;

/// The norm of many gradients together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GradientNorm {
    /// √(Σ g²) over all values, in double precision.
    pub norm: f64,
    /// Index of the first gradient that holds a NaN or an infinity.
    pub first_not_finite: Option<usize>,
}

/// The norm of all `gradients` together.
pub fn global_norm(gradients: &[&[f32]]) -> GradientNorm {
    let squares = squared_sums(gradients);
    GradientNorm {
        norm: squares.iter().sum::<f64>().sqrt(),
        first_not_finite: squares.iter().position(|sum| !sum.is_finite()),
    }
}

/// Σ g² of each gradient, in double precision: squares of finite single-precision values do not
/// overflow there, so a sum is finite exactly if all values are.
pub fn squared_sums(gradients: &[&[f32]]) -> Vec<f64> {
    let tasks: Vec<_> = gradients
        .iter()
        .enumerate()
        .flat_map(|(index, gradient)| gradient.chunks(TASK).map(move |values| (index, values)))
        .collect();
    let partial: Vec<(usize, f64)> = tasks
        .into_par_iter()
        .map(|(index, values)| (index, squared_sum(values)))
        .collect();
    let mut sums = vec![0.0; gradients.len()];
    for (index, sum) in partial {
        sums[index] += sum;
    }
    sums
}

/// What gradients have to be multiplied by so that their norm is at most `most`: 1 where it is
/// already.
///
/// NaN where the norm is NaN, 0 where it is infinite: look at [`GradientNorm::first_not_finite`]
/// first.
pub fn clip_factor(norm: f64, most: f64) -> f32 {
    if norm <= most {
        1.0
    } else {
        (most / norm) as f32
    }
}

per_instruction_set! {
    fn squared_sum(values: &[f32]) -> f64 {
        let mut lanes = [0.0_f64; 16];
        let (whole, rest) = values.as_chunks::<16>();
        for chunk in whole {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                let value = f64::from(value);
                *lane += value * value;
            }
        }
        for (lane, &value) in lanes.iter_mut().zip(rest) {
            let value = f64::from(value);
            *lane += value * value;
        }
        lanes.iter().sum()
    }
}
