//! Values times one factor.

use rayon::prelude::*;

use super::vectorised::per_instruction_set;

/// Values that one task handles.
const TASK: usize = 32 * 1024;

/// Multiplies every value by `factor`.
pub fn scale(values: &mut [f32], factor: f32) {
    values
        .par_chunks_mut(TASK)
        .for_each(|values| multiply_by(values, factor));
}

per_instruction_set! {
    pub(super) fn multiply_by(values: &mut [f32], factor: f32) {
        for value in values {
            *value *= factor;
        }
    }
}
