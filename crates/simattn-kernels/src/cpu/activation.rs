//! GELU and SwiGLU, forward and backward, in one parallel pass each.
//!
//! GELU: Hendrycks and Gimpel, arXiv 1606.08415. SwiGLU: Shazeer, arXiv 2002.05202. Errors against
//! float64, as the tests hold them: 5e-7 of a value and 1e-6 of a gradient, plus 2e-7.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::output::Output;
use super::vectorised::{gelu_tanh, logistic, mul_add, normal, per_instruction_set};
use crate::call::GeluForm;

/// Values that one task handles: input and output stay in the first-level cache.
const TASK: usize = 8 * 1024;

/// y = gelu(x + bias), bias added to each row of its length.
///
/// # Panics
/// If lengths differ or `x` is not a whole number of rows of the bias's length.
pub fn gelu(form: GeluForm, x: &[f32], bias: Option<&[f32]>, y: Output<'_>) {
    assert_eq!(x.len(), y.len(), "values of a GELU");
    let Some(bias) = bias.filter(|bias| !bias.is_empty()) else {
        (y.par_chunks_mut(TASK), x.par_chunks(TASK))
            .into_par_iter()
            .for_each(|(y, x)| match form {
                GeluForm::Exact => exact(x, y),
                GeluForm::Tanh => tanh(x, y),
            });
        return;
    };
    let task = whole_rows(x.len(), bias.len());
    (y.par_chunks_mut(task), x.par_chunks(task))
        .into_par_iter()
        .for_each(|(y, x)| {
            for (y, x) in y
                .chunks_exact_mut(bias.len())
                .zip(x.chunks_exact(bias.len()))
            {
                match form {
                    GeluForm::Exact => exact_biased(x, bias, y),
                    GeluForm::Tanh => tanh_biased(x, bias, y),
                }
            }
        });
}

/// dx = dy · gelu'(x + bias).
///
/// # Panics
/// If lengths differ or `x` is not a whole number of rows of the bias's length.
pub fn gelu_gradient(form: GeluForm, x: &[f32], bias: Option<&[f32]>, dy: &[f32], dx: Output<'_>) {
    assert_eq!(
        (x.len(), x.len()),
        (dy.len(), dx.len()),
        "values of a GELU's gradient"
    );
    let Some(bias) = bias.filter(|bias| !bias.is_empty()) else {
        (
            dx.par_chunks_mut(TASK),
            x.par_chunks(TASK),
            dy.par_chunks(TASK),
        )
            .into_par_iter()
            .for_each(|(dx, x, dy)| match form {
                GeluForm::Exact => exact_gradient(x, dy, dx),
                GeluForm::Tanh => tanh_gradient(x, dy, dx),
            });
        return;
    };
    let task = whole_rows(x.len(), bias.len());
    (
        dx.par_chunks_mut(task),
        x.par_chunks(task),
        dy.par_chunks(task),
    )
        .into_par_iter()
        .for_each(|(dx, x, dy)| {
            let rows = x.chunks_exact(bias.len()).zip(dy.chunks_exact(bias.len()));
            for (dx, (x, dy)) in dx.chunks_exact_mut(bias.len()).zip(rows) {
                match form {
                    GeluForm::Exact => exact_biased_gradient(x, bias, dy, dx),
                    GeluForm::Tanh => tanh_biased_gradient(x, bias, dy, dx),
                }
            }
        });
}

/// y = silu(a)·b with silu(a) = a / (1 + e⁻ᵃ).
///
/// # Panics
/// If lengths differ.
pub fn swiglu(a: &[f32], b: &[f32], y: Output<'_>) {
    assert_eq!((a.len(), a.len()), (b.len(), y.len()), "values of a SwiGLU");
    (
        y.par_chunks_mut(TASK),
        a.par_chunks(TASK),
        b.par_chunks(TASK),
    )
        .into_par_iter()
        .for_each(|(y, a, b)| gated(a, b, y));
}

/// da = dy·b·silu'(a) and db = dy·silu(a).
///
/// # Panics
/// If lengths differ.
pub fn swiglu_gradient(a: &[f32], b: &[f32], dy: &[f32], da: Output<'_>, db: Output<'_>) {
    let len = a.len();
    assert_eq!(
        [len; 4],
        [b.len(), dy.len(), da.len(), db.len()],
        "values of a SwiGLU's gradient"
    );
    (
        da.par_chunks_mut(TASK),
        db.par_chunks_mut(TASK),
        a.par_chunks(TASK),
        b.par_chunks(TASK),
        dy.par_chunks(TASK),
    )
        .into_par_iter()
        .for_each(|(da, db, a, b, dy)| gated_gradient(a, b, dy, da, db));
}

/// [`swiglu`] of rows of 2·`width` values, a before b, as one projection gives them.
///
/// # Panics
/// If lengths do not fit `width`.
pub fn swiglu_packed(width: usize, ab: &[f32], y: Output<'_>) {
    assert_eq!(ab.len(), 2 * y.len(), "values of a packed SwiGLU");
    if width == 0 {
        return;
    }
    let task = whole_rows(y.len(), width);
    (y.par_chunks_mut(task), ab.par_chunks(2 * task))
        .into_par_iter()
        .for_each(|(y, ab)| {
            for (y, ab) in y.chunks_exact_mut(width).zip(ab.chunks_exact(2 * width)) {
                let (a, b) = ab.split_at(width);
                gated(a, b, y);
            }
        });
}

/// The gradient of [`swiglu_packed`], packed in the same way.
///
/// # Panics
/// If lengths do not fit `width`.
pub fn swiglu_packed_gradient(width: usize, ab: &[f32], dy: &[f32], d_ab: Output<'_>) {
    assert_eq!(
        [ab.len(); 2],
        [2 * dy.len(), d_ab.len()],
        "values of a packed SwiGLU's gradient"
    );
    if width == 0 {
        return;
    }
    let task = whole_rows(dy.len(), width);
    (
        d_ab.par_chunks_mut(2 * task),
        ab.par_chunks(2 * task),
        dy.par_chunks(task),
    )
        .into_par_iter()
        .for_each(|(d_ab, ab, dy)| {
            let rows = ab.chunks_exact(2 * width).zip(dy.chunks_exact(width));
            for (d_ab, (ab, dy)) in d_ab.chunks_exact_mut(2 * width).zip(rows) {
                let (a, b) = ab.split_at(width);
                let (da, db) = d_ab.split_at_mut(width);
                gated_gradient(a, b, dy, da, db);
            }
        });
}

/// About [`TASK`] values in whole rows.
fn whole_rows(values: usize, width: usize) -> usize {
    assert_eq!(values % width, 0, "whole rows of {width} values");
    (TASK / width).max(1) * width
}

per_instruction_set! {
    fn exact(x: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, &x) in y.iter_mut().zip(x) {
            y.write(x * normal::<FUSED>(x).0);
        }
    }

    fn exact_biased(x: &[f32], bias: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, (&x, &bias)) in y.iter_mut().zip(x.iter().zip(bias)) {
            let x = x + bias;
            y.write(x * normal::<FUSED>(x).0);
        }
    }

    fn exact_gradient(x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for (dx, (&x, &dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
            let (distribution, density) = normal::<FUSED>(x);
            dx.write(dy * mul_add::<FUSED>(x, density, distribution));
        }
    }

    fn exact_biased_gradient(x: &[f32], bias: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for (dx, ((&x, &bias), &dy)) in dx.iter_mut().zip(x.iter().zip(bias).zip(dy)) {
            let x = x + bias;
            let (distribution, density) = normal::<FUSED>(x);
            dx.write(dy * mul_add::<FUSED>(x, density, distribution));
        }
    }

    fn tanh(x: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, &x) in y.iter_mut().zip(x) {
            y.write(gelu_tanh::<FUSED>(x).0);
        }
    }

    fn tanh_biased(x: &[f32], bias: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, (&x, &bias)) in y.iter_mut().zip(x.iter().zip(bias)) {
            y.write(gelu_tanh::<FUSED>(x + bias).0);
        }
    }

    fn tanh_gradient(x: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for (dx, (&x, &dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
            dx.write(dy * gelu_tanh::<FUSED>(x).1);
        }
    }

    fn tanh_biased_gradient(x: &[f32], bias: &[f32], dy: &[f32], dx: &mut [MaybeUninit<f32>]) {
        for (dx, ((&x, &bias), &dy)) in dx.iter_mut().zip(x.iter().zip(bias).zip(dy)) {
            dx.write(dy * gelu_tanh::<FUSED>(x + bias).1);
        }
    }

    fn gated(a: &[f32], b: &[f32], y: &mut [MaybeUninit<f32>]) {
        for (y, (&a, &b)) in y.iter_mut().zip(a.iter().zip(b)) {
            y.write(a * logistic::<FUSED>(a) * b);
        }
    }

    fn gated_gradient(a: &[f32], b: &[f32], dy: &[f32], da: &mut [MaybeUninit<f32>], db: &mut [MaybeUninit<f32>]) {
        for ((da, db), ((&a, &b), &dy)) in da.iter_mut().zip(db).zip(a.iter().zip(b).zip(dy)) {
            let gate = logistic::<FUSED>(a);
            let silu = a * gate;
            // silu' = σ + a·σ·(1 − σ)
            da.write(dy * b * mul_add::<FUSED>(silu, 1.0 - gate, gate));
            db.write(dy * silu);
        }
    }
}
