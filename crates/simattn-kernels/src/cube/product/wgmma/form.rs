//! How the work of a product on `wgmma` is cut, and how its operands stand in shared memory.

use cubecl::prelude::*;

use crate::cube::product::form::ROWS;
use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE};

/// Rows of the results of four planes, which multiply together.
pub(super) const OF_GROUP: usize = 64;

/// Terms of the sums that are copied at a time: rows of 128 bytes where the terms lie side by side.
pub(super) const DEPTH: usize = 64;

/// Blocks of operands in shared memory: of two the products are under way, and two are copied.
pub(super) const STAGES: usize = 4;

/// Chunks of a row of 128 bytes.
pub(super) const ACROSS: usize = DEPTH / CHUNK;

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

/// Blocks of one operand: rows of 128 bytes, whose chunks change places by the row's number so that
/// eight rows below one another meet every bank. A row has 64 terms of a line; or if it is turned,
/// 64 lines of a term, and blocks of 64 lines stand one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Block {
    /// Whether terms are rows in memory.
    pub turned: bool,
    /// Rows or columns of the results.
    pub lines: usize,
}

impl Block {
    /// Chunks in shared memory.
    pub fn chunks(&self) -> usize {
        self.lines * ACROSS
    }

    /// Chunks of a row in device memory.
    pub fn across(&self) -> usize {
        if self.turned {
            self.lines / CHUNK
        } else {
            ACROSS
        }
    }

    /// Bytes, in units of 16, from 16 terms to the next.
    pub fn to_next_terms(&self) -> u64 {
        if self.turned {
            (SIDE * ACROSS) as u64
        } else {
            2
        }
    }

    /// What a descriptor has beside the address: bytes from 64 lines to the next, read where the
    /// block is turned, and from eight rows to the next, both in units of 16, and the swizzle over
    /// 128 bytes.
    pub fn descriptor(&self) -> u64 {
        let to_next_lines = if self.turned { OF_GROUP * ACROSS } else { 1 };
        (to_next_lines as u64) << 16 | ((8 * ACROSS) as u64) << 32 | 1 << 62
    }
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
