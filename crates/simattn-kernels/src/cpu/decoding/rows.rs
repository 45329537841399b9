//! What is done to every row by itself: norms, activations, rotations.

use crate::call::GeluForm;
use crate::cpu::output::overwriting;
use crate::cpu::{activation, norm};

/// `y` = RMSNorm of every row of the weight's length.
///
/// # Panics
/// If lengths do not fit.
pub fn rms_norm(epsilon: f64, x: &[f32], weight: &[f32], y: &mut [f32]) {
    // SAFETY: a norm stores values only.
    norm::rms_norm(epsilon as f32, x, weight, unsafe { overwriting(y) });
}

/// `y` = LayerNorm of every row of the weight's length.
///
/// # Panics
/// If lengths do not fit.
pub fn layer_norm(epsilon: f64, x: &[f32], weight: &[f32], bias: &[f32], y: &mut [f32]) {
    // SAFETY: a norm stores values only.
    norm::layer_norm(epsilon as f32, x, weight, bias, unsafe { overwriting(y) });
}

/// `y` = GELU of `x`.
///
/// # Panics
/// If lengths differ.
pub fn gelu(form: GeluForm, x: &[f32], y: &mut [f32]) {
    // SAFETY: an activation stores values only.
    activation::gelu(form, x, None, unsafe { overwriting(y) });
}

/// `y`, `[rows][width]`, = silu(a)·b of `ab`, `[rows][a, b]`.
///
/// # Panics
/// If lengths do not fit.
pub fn swiglu(width: usize, ab: &[f32], y: &mut [f32]) {
    // SAFETY: an activation stores values only.
    activation::swiglu_packed(width, ab, unsafe { overwriting(y) });
}

/// Rotations of every position, and where in a row what rotates is.
#[derive(Clone, Copy, Debug)]
pub struct Rotate<'a> {
    /// Cosines, `[positions][half]`.
    pub cos: &'a [f32],
    /// Sines, likewise.
    pub sin: &'a [f32],
    /// Pairs that rotate: features i and i + half.
    pub half: usize,
    /// Heads of a row.
    pub heads: usize,
    /// Features of a head.
    pub width: usize,
    /// The first feature of a head that rotates.
    pub first: usize,
}

/// Turns the heads of `x`, `[rows][heads][width]`, a row for each of the positions.
///
/// # Panics
/// If lengths do not fit or a position lies beyond the tables.
pub fn rotate_rows(rotate: &Rotate<'_>, positions: &[usize], x: &mut [f32]) {
    let Rotate {
        cos,
        sin,
        half,
        heads,
        width,
        first,
    } = *rotate;
    assert_eq!(x.len(), positions.len() * heads * width, "rows that rotate");
    assert!(
        first + 2 * half <= width,
        "more features rotate than there are"
    );
    if heads * width == 0 {
        return;
    }
    for (row, &position) in x.chunks_exact_mut(heads * width).zip(positions) {
        let (cos, sin) = (
            &cos[position * half..][..half],
            &sin[position * half..][..half],
        );
        for head in row.chunks_exact_mut(width) {
            let (ones, twos) = head[first..][..2 * half].split_at_mut(half);
            for (((one, two), cos), sin) in ones.iter_mut().zip(twos).zip(cos).zip(sin) {
                (*one, *two) = (*one * cos - *two * sin, *two * cos + *one * sin);
            }
        }
    }
}
