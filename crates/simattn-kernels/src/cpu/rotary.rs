//! Rotary positions, forward and backward.

use std::mem::MaybeUninit;

use rayon::prelude::*;

use super::output::Output;

/// Values that one task writes, about.
const TASK: usize = 32 * 1024;

/// What is rotated, beside the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotaryShape {
    /// T: row r of heads is at position r modulo T.
    pub tokens: usize,
    /// Heads of a token.
    pub heads: usize,
    /// Features of a head.
    pub width: usize,
    /// Pairs that rotate, features i and i + half; the others pass.
    pub half: usize,
}

/// `y`: `x` [B, T, heads, width] with every pair turned by the angle of its position; `sign` −1
/// turns back, which is the gradient. `cos` and `sin` are [T, half].
///
/// # Panics
/// If the lengths do not fit.
pub fn rotate(shape: RotaryShape, sign: f32, cos: &[f32], sin: &[f32], x: &[f32], y: Output<'_>) {
    let RotaryShape {
        tokens,
        heads,
        width,
        half,
    } = shape;
    assert!(2 * half <= width, "more features rotate than there are");
    assert_eq!(cos.len(), tokens * half, "cosines of all positions");
    assert_eq!(sin.len(), tokens * half, "sines of all positions");
    assert_eq!(x.len(), y.len(), "values before and after a rotation");
    let token = heads * width;
    if token == 0 || tokens == 0 {
        return;
    }
    assert!(x.len().is_multiple_of(tokens * token), "whole sequences");
    let together = (TASK / token).max(1);
    (
        x.par_chunks(together * token),
        y.par_chunks_mut(together * token),
    )
        .into_par_iter()
        .enumerate()
        .for_each(|(task, (x, y))| {
            let rows = x.chunks_exact(token).zip(y.chunks_exact_mut(token));
            for (row, (x, y)) in rows.enumerate() {
                let at = (task * together + row) % tokens * half;
                let (cos, sin) = (&cos[at..][..half], &sin[at..][..half]);
                for (x, y) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)) {
                    rotate_head(sign, cos, sin, x, y);
                }
            }
        });
}

fn rotate_head(sign: f32, cos: &[f32], sin: &[f32], x: &[f32], y: &mut [MaybeUninit<f32>]) {
    let half = cos.len();
    let (x_pairs, x_rest) = x.split_at(2 * half);
    let (y_pairs, y_rest) = y.split_at_mut(2 * half);
    let (x1, x2) = x_pairs.split_at(half);
    let (y1, y2) = y_pairs.split_at_mut(half);
    for i in 0..half {
        let sin = sign * sin[i];
        y1[i].write(x1[i] * cos[i] - x2[i] * sin);
        y2[i].write(x2[i] * cos[i] + x1[i] * sin);
    }
    y_rest.write_copy_of_slice(x_rest);
}
