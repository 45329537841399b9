//! Rows of a table by number, and the gradient of the table.

use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::linear::add_rows;
use super::output::{Output, written};

/// Values that one task writes, about.
const TASK: usize = 32 * 1024;

/// `y = table[ids]`: y [ids, width], table [rows, width].
///
/// # Panics
/// If an id has no row in the table or the lengths do not fit.
pub fn forward(width: usize, table: &[f32], ids: &[u32], y: Output<'_>) {
    assert_eq!(y.len(), ids.len() * width, "values of an embedding");
    if width == 0 {
        return;
    }
    let rows = (TASK / width).max(1);
    (y.par_chunks_mut(rows * width), ids.par_chunks(rows))
        .into_par_iter()
        .for_each(|(y, ids)| {
            for (y, &id) in y.chunks_exact_mut(width).zip(ids) {
                y.write_copy_of_slice(&table[id as usize * width..][..width]);
            }
        });
}

/// The gradient of the table [rows, width]: row r is the sum of the rows of `dy` [ids, width] whose
/// id is r, added from the first to the last, and zeros where there is none.
///
/// # Panics
/// If an id is not below `rows` or the lengths do not fit.
pub fn table_gradient(width: usize, rows: usize, ids: &[u32], dy: &[f32], d_table: Output<'_>) {
    assert_eq!(
        dy.len(),
        ids.len() * width,
        "values of an embedding's gradient"
    );
    assert_eq!(d_table.len(), rows * width, "values of a table's gradient");
    let uses = Uses::new(rows, ids);
    if width == 0 {
        return;
    }
    let rows_per_task = (TASK / width).max(1);
    d_table
        .par_chunks_mut(rows_per_task * width)
        .enumerate()
        .for_each(|(task, d_table)| {
            for (i, d_row) in d_table.chunks_exact_mut(width).enumerate() {
                sum_uses(uses.of(task * rows_per_task + i), dy, d_row);
            }
        });
}

fn sum_uses(positions: &[u32], dy: &[f32], d_row: &mut [MaybeUninit<f32>]) {
    let width = d_row.len();
    let row = |position: u32| &dy[position as usize * width..][..width];
    match positions.split_first() {
        None => d_row.fill(MaybeUninit::new(0.0)),
        Some((&first, rest)) => {
            d_row.write_copy_of_slice(row(first));
            // SAFETY: the line above wrote the whole row.
            let d_row = unsafe { written(d_row) };
            for &position in rest {
                add_rows(row(position), d_row);
            }
        }
    }
}

/// For each row of a table the positions that use it, in order.
struct Uses {
    /// Where the positions of row r start; one more than there are rows.
    starts: Vec<u32>,
    positions: Vec<u32>,
}

impl Uses {
    /// By counting.
    fn new(rows: usize, ids: &[u32]) -> Self {
        let mut starts = vec![0; rows + 1];
        for &id in ids {
            assert!((id as usize) < rows, "id {id} in a table of {rows} rows");
            starts[id as usize + 1] += 1;
        }
        for row in 0..rows {
            starts[row + 1] += starts[row];
        }
        let mut next = starts.clone();
        let mut positions = vec![0; ids.len()];
        for (position, &id) in ids.iter().enumerate() {
            positions[next[id as usize] as usize] = position as u32;
            next[id as usize] += 1;
        }
        Self { starts, positions }
    }

    fn of(&self, row: usize) -> &[u32] {
        let Range { start, end } = self.starts[row] as usize..self.starts[row + 1] as usize;
        &self.positions[start..end]
    }
}
