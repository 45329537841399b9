//! LayerNorm (Ba, Kiros and Hinton, arXiv 1607.06450) and RMSNorm (Zhang and Sennrich, arXiv
//! 1910.07467), forward and backward.
//!
//! The backward passes work out the mean and the deviation of a row anew: the row is in the cache
//! for them anyway, and nothing but x has to be kept.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::linear::add_rows;
use super::output::Output;
use super::vectorised::{LANES, mul_add, per_instruction_set, sum_lanes};

/// Rows that one task handles. The partial sums of the weights' gradients are combined in the order
/// of tasks, so results do not depend on the number of threads.
const ROWS_PER_TASK: usize = 32;

/// y = x / √(mean x² + ε) · weight, for each row of the weight's length.
///
/// # Panics
/// If lengths do not fit.
pub fn rms_norm(epsilon: f32, x: &[f32], weight: &[f32], y: Output<'_>) {
    assert_eq!(x.len(), y.len(), "values of an RMSNorm");
    let Some(task) = task_len(x.len(), weight.len()) else {
        return;
    };
    (y.par_chunks_mut(task), x.par_chunks(task))
        .into_par_iter()
        .for_each(|(y, x)| {
            rms_rows(epsilon, x, weight, y);
        });
}

/// dx of [`rms_norm`]; returns the gradient of the weight.
///
/// # Panics
/// If lengths do not fit.
pub fn rms_norm_gradient(
    epsilon: f32,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: Output<'_>,
) -> Vec<f32> {
    assert_eq!(
        [x.len(); 2],
        [dy.len(), dx.len()],
        "values of an RMSNorm's gradient"
    );
    let width = weight.len();
    let Some(task) = task_len(x.len(), width) else {
        return vec![0.0; width];
    };
    let mut sums = vec![0.0; x.len().div_ceil(task) * width];
    (
        dx.par_chunks_mut(task),
        x.par_chunks(task),
        dy.par_chunks(task),
        sums.par_chunks_mut(width),
    )
        .into_par_iter()
        .for_each(|(dx, x, dy, sums)| rms_rows_gradient(epsilon, x, weight, dy, dx, sums));
    in_order(&mut sums, width)
}

/// y = (x − mean) / √(variance + ε) · weight + bias, for each row of the weight's length; the
/// variance is that of the row itself (divided by its length).
///
/// # Panics
/// If lengths do not fit.
pub fn layer_norm(epsilon: f32, x: &[f32], weight: &[f32], bias: &[f32], y: Output<'_>) {
    assert_eq!(x.len(), y.len(), "values of a LayerNorm");
    assert_eq!(weight.len(), bias.len(), "weight and bias of a LayerNorm");
    let Some(task) = task_len(x.len(), weight.len()) else {
        return;
    };
    (y.par_chunks_mut(task), x.par_chunks(task))
        .into_par_iter()
        .for_each(|(y, x)| {
            layer_rows(epsilon, x, weight, bias, y);
        });
}

/// dx of [`layer_norm`]; returns the gradients of weight and bias.
///
/// # Panics
/// If lengths do not fit.
pub fn layer_norm_gradient(
    epsilon: f32,
    x: &[f32],
    weight: &[f32],
    dy: &[f32],
    dx: Output<'_>,
) -> (Vec<f32>, Vec<f32>) {
    assert_eq!(
        [x.len(); 2],
        [dy.len(), dx.len()],
        "values of a LayerNorm's gradient"
    );
    let width = weight.len();
    let Some(task) = task_len(x.len(), width) else {
        return (vec![0.0; width], vec![0.0; width]);
    };
    // Each task's sums for the weight, then for the bias.
    let mut sums = vec![0.0; x.len().div_ceil(task) * 2 * width];
    (
        dx.par_chunks_mut(task),
        x.par_chunks(task),
        dy.par_chunks(task),
        sums.par_chunks_mut(2 * width),
    )
        .into_par_iter()
        .for_each(|(dx, x, dy, sums)| {
            let (d_weight, d_bias) = sums.split_at_mut(width);
            layer_rows_gradient(epsilon, x, weight, dy, dx, d_weight, d_bias);
        });
    let d_weight = in_order(&mut sums, 2 * width);
    (d_weight[..width].to_vec(), d_weight[width..].to_vec())
}

/// Values of [`ROWS_PER_TASK`] rows; none where there is nothing to do.
fn task_len(values: usize, width: usize) -> Option<usize> {
    if values == 0 {
        return None;
    }
    assert!(
        width > 0 && values.is_multiple_of(width),
        "whole rows of {width} values"
    );
    Some(ROWS_PER_TASK * width)
}

/// The sums of all tasks, added in order.
fn in_order(sums: &mut [f32], width: usize) -> Vec<f32> {
    let (total, rest) = sums.split_at_mut(width);
    add_rows(rest, total);
    total.to_vec()
}

/// Sums over a row of terms that are made of the values of `N` slices at the same place: [`LANES`]
/// sums side by side that are added in a fixed order.
#[inline(always)]
fn row_sums<const N: usize, const M: usize>(
    slices: [&[f32]; N],
    terms: impl Fn([f32; N]) -> [f32; M],
) -> [f32; M] {
    let mut sums = [[0.0; LANES]; M];
    let parts = slices.map(<[f32]>::as_chunks::<LANES>);
    let count = parts[0].0.len();
    let whole = parts.map(|(whole, _)| &whole[..count]);
    for chunk in 0..count {
        let chunks = whole.map(|whole| &whole[chunk]);
        for lane in 0..LANES {
            let terms = terms(chunks.map(|chunk| chunk[lane]));
            for (sum, term) in sums.iter_mut().zip(terms) {
                sum[lane] += term;
            }
        }
    }
    for lane in 0..parts[0].1.len() {
        let terms = terms(parts.map(|(_, rest)| rest[lane]));
        for (sum, term) in sums.iter_mut().zip(terms) {
            sum[lane] += term;
        }
    }
    sums.map(sum_lanes)
}

#[inline(always)]
fn reciprocal_root(epsilon: f32, squares: f32, width: usize) -> f32 {
    1.0 / (squares / width as f32 + epsilon).sqrt()
}

/// Reciprocal root of a row's mean square.
#[inline(always)]
fn rms_scale(epsilon: f32, x: &[f32]) -> f32 {
    let [squares] = row_sums([x], |[x]| [x * x]);
    reciprocal_root(epsilon, squares, x.len())
}

/// Mean and reciprocal deviation of a row.
#[inline(always)]
fn moments(epsilon: f32, x: &[f32]) -> (f32, f32) {
    let [sum] = row_sums([x], |x| x);
    let mean = sum / x.len() as f32;
    let [squares] = row_sums([x], |[x]| [(x - mean) * (x - mean)]);
    (mean, reciprocal_root(epsilon, squares, x.len()))
}

per_instruction_set! {
    fn rms_rows(epsilon: f32, x: &[f32], weight: &[f32], y: &mut [MaybeUninit<f32>]) {
        let width = weight.len();
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let reciprocal = rms_scale(epsilon, x);
            for (y, (x, weight)) in y.iter_mut().zip(x.iter().zip(weight)) {
                y.write(x * reciprocal * weight);
            }
        }
    }

    fn rms_rows_gradient(
        epsilon: f32, x: &[f32], weight: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>], d_weight: &mut [f32],
    ) {
        let width = weight.len();
        for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(dy.chunks_exact(width))) {
            let reciprocal = rms_scale(epsilon, x);
            // With n = x·reciprocal and g = dy·weight: dx = reciprocal·(g − n·mean(g·n)).
            let [sum] = row_sums([dy, weight, x], |[dy, weight, x]| [dy * weight * x]);
            let shared = reciprocal * sum / width as f32;
            let inputs = x.iter().zip(dy).zip(weight);
            for ((dx, d_weight), ((&x, &dy), &weight)) in dx.iter_mut().zip(&mut *d_weight).zip(inputs) {
                let normal = x * reciprocal;
                dx.write(reciprocal * mul_add::<FUSED>(dy, weight, -normal * shared));
                *d_weight = mul_add::<FUSED>(dy, normal, *d_weight);
            }
        }
    }

    fn layer_rows(epsilon: f32, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [MaybeUninit<f32>]) {
        let width = weight.len();
        for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
            let (mean, reciprocal) = moments(epsilon, x);
            for ((y, x), (&weight, &bias)) in y.iter_mut().zip(x).zip(weight.iter().zip(bias)) {
                y.write(mul_add::<FUSED>((x - mean) * reciprocal, weight, bias));
            }
        }
    }

    fn layer_rows_gradient(
        epsilon: f32, x: &[f32], weight: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>], d_weight: &mut [f32],
        d_bias: &mut [f32],
    ) {
        let width = weight.len();
        for (dx, (x, dy)) in dx.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(dy.chunks_exact(width))) {
            let (mean, reciprocal) = moments(epsilon, x);
            // With n the normalised row and g = dy·weight: dx = reciprocal·(g − mean(g) −
            // n·mean(g·n)).
            let [plain, shared] = row_sums([dy, weight, x], |[dy, weight, x]| {
                let scaled = dy * weight;
                [scaled, scaled * (x - mean)]
            });
            let (plain, shared) = (plain / width as f32, reciprocal * shared / width as f32);
            let inputs = x.iter().zip(dy).zip(weight);
            let sums = d_weight.iter_mut().zip(&mut *d_bias);
            for ((dx, (d_weight, d_bias)), ((x, &dy), &weight)) in dx.iter_mut().zip(sums).zip(inputs) {
                let normal = (x - mean) * reciprocal;
                let centred = mul_add::<FUSED>(dy, weight, -plain);
                dx.write(reciprocal * mul_add::<FUSED>(-normal, shared, centred));
                *d_weight = mul_add::<FUSED>(dy, normal, *d_weight);
                *d_bias += dy;
            }
        }
    }
}
