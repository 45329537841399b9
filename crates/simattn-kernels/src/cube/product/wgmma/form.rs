//! How the work of a product on `wgmma` is cut.

use cubecl::prelude::*;

use super::layout::Block;
use crate::cube::product::form::ROWS;
use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE};

/// Blocks of operands in shared memory: of two the products are under way, and two are copied.
pub(super) const STAGES: usize = 4;

/// Tiles that a device should have to work on, at least, to take wide ones.
const ENOUGH: usize = 132;

/// How the operands stand in memory, and what happens to the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct WgmmaForm {
    /// Whether the terms of the left operand are rows in memory, [K, M]; else its rows are, [M, K].
    pub left_turned: bool,
    /// Whether the terms of the right operand are rows in memory, [K, N]; else its columns are, [N,
    /// K].
    pub right_turned: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// Columns of the results of a cube.
    pub columns: usize,
    /// Whether the operands are bfloat16; else they are float16.
    pub bfloat: bool,
}

impl WgmmaForm {
    /// The widest tile that leaves enough of them, of those that fit into shared memory.
    pub fn fitting(self, [batch, rows, columns]: [usize; 3], shared_memory: usize) -> Option<Self> {
        let [square, wide] = [128, 256].map(|columns| Self { columns, ..self });
        let fits = |form: &Self| form.bytes() <= shared_memory;
        let many = |form: &Self| batch * form.tiles(rows, columns) >= ENOUGH;
        Some(wide)
            .filter(|form| columns > square.columns && many(form) && fits(form))
            .or(Some(square).filter(fits))
    }

    /// Tiles of a matrix of results.
    pub fn tiles(&self, rows: usize, columns: usize) -> usize {
        rows.div_ceil(ROWS) * columns.div_ceil(self.columns)
    }

    pub fn left(&self) -> Block {
        Block {
            turned: self.left_turned,
            lines: ROWS,
        }
    }

    pub fn right(&self) -> Block {
        Block {
            turned: self.right_turned,
            lines: self.columns,
        }
    }

    pub fn threads(&self) -> usize {
        ROWS / SIDE * PLANE
    }

    pub fn cube(&self) -> CubeDim {
        CubeDim::new_1d(self.threads() as u32)
    }

    /// Sums of a thread.
    pub fn sums(&self) -> usize {
        self.columns / COLUMNS * 4
    }

    fn bytes(&self) -> usize {
        STAGES * (self.left().chunks() + self.right().chunks()) * CHUNK * 2
    }
}
