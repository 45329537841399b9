//! Parts of rows.

/// `width` columns from `start` on, of rows of `stride` values.
pub(super) fn columns(x: &[f32], stride: usize, start: usize, width: usize) -> Vec<f32> {
    let mut columns = Vec::with_capacity(x.len() / stride.max(1) * width);
    for row in x.chunks_exact(stride) {
        columns.extend_from_slice(&row[start..start + width]);
    }
    columns
}
