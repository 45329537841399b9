//! How the work of a product on tensor cores is cut.

use cubecl::prelude::*;

use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE, row_chunks};

/// Rows of the results of a cube.
pub(super) const ROWS: usize = 128;

/// Columns of the results of a cube: as many as rows, or where that still gives each processor of a
/// large device some tiles, twice as many. What a wide tile reads of the second cache is a quarter
/// less.
const COLUMNS_OF_CUBE: [usize; 2] = [128, 256];

/// Tiles that a device should have to work on, at least.
const ENOUGH: usize = 264;

/// Terms of the sums that are copied at a time.
pub(super) const DEPTH: usize = 32;

/// Rows and columns of the results of a plane: with fewer, reading operands from shared memory
/// would take longer than multiplying them.
pub(super) const OF_PLANE: usize = 64;

/// Blocks of operands in shared memory: all but one are under way while one is multiplied. 80 KiB
/// for a square tile, of which two cubes fit on a processor, 120 for a wide one.
pub(super) const STAGES: usize = 4;

/// Tiles below one another that are worked out before those beside them: cubes that run together
/// then share operands, and both stay in the second cache.
pub(super) const GROUP: usize = 8;

/// Results of 16 × 8 beside one another in a plane.
pub(super) const PRODUCTS: usize = OF_PLANE / COLUMNS;

/// Rows of 16 results below one another in a plane.
pub(super) const PARTS: usize = OF_PLANE / SIDE;

/// How the operands stand in memory, and what happens to the sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ProductForm {
    /// Whether the terms of the left operand are rows in memory, [K, M]; else its rows are, [M, K].
    pub left_turned: bool,
    /// Whether the terms of the right operand are rows in memory, [K, N]; else its columns are, [N,
    /// K].
    pub right_turned: bool,
    /// Whether a bias is added.
    pub bias: bool,
    /// Columns of the results of a cube.
    pub columns: usize,
}

/// Blocks of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Block {
    /// Whether terms are rows in memory.
    pub turned: bool,
    /// Rows or columns of the results.
    pub lines: usize,
    /// Threads that copy it.
    pub threads: usize,
}

impl Block {
    /// Rows in memory.
    pub fn rows(&self) -> usize {
        if self.turned { DEPTH } else { self.lines }
    }

    /// Values of a row in memory.
    pub fn width(&self) -> usize {
        if self.turned { self.lines } else { DEPTH }
    }

    /// Chunks in shared memory.
    pub fn chunks(&self) -> usize {
        self.rows() * row_chunks(self.width())
    }

    /// Chunks from 16 rows or columns of the results to the next 16.
    pub fn lines_apart(&self) -> usize {
        if self.turned {
            SIDE / CHUNK
        } else {
            SIDE * row_chunks(DEPTH)
        }
    }

    /// Chunks from 16 terms to the next.
    pub fn terms_apart(&self) -> usize {
        if self.turned {
            SIDE * row_chunks(self.lines)
        } else {
            SIDE / CHUNK
        }
    }
}

impl ProductForm {
    /// The widest tile that leaves enough of them, of those that fit into shared memory.
    pub fn fitting(self, [batch, rows, columns]: [usize; 3], shared_memory: usize) -> Option<Self> {
        let with = |columns| Self { columns, ..self };
        let fits = |form: &Self| form.bytes() <= shared_memory;
        let [square, wide] = COLUMNS_OF_CUBE.map(with);
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
            threads: self.threads(),
        }
    }

    pub fn right(&self) -> Block {
        Block {
            turned: self.right_turned,
            lines: self.columns,
            threads: self.threads(),
        }
    }

    /// Planes beside one another.
    pub fn across(&self) -> usize {
        self.columns / OF_PLANE
    }

    fn threads(&self) -> usize {
        ROWS / OF_PLANE * self.across() * PLANE
    }

    /// Bytes of shared memory.
    fn bytes(&self) -> usize {
        STAGES * (self.left().chunks() + self.right().chunks()) * CHUNK * 2
    }

    pub fn cube(&self) -> CubeDim {
        CubeDim::new_1d(self.threads() as u32)
    }
}
