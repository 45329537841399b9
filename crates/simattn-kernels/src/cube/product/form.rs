//! How the work of a product on tensor cores is cut.

use cubecl::prelude::*;

use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE, row_chunks};

/// Rows and columns of the results of a cube.
pub(super) const TILE: usize = 128;

/// Terms of the sums that are copied at a time.
pub(super) const DEPTH: usize = 32;

/// Rows and columns of the results of a plane: with fewer, reading operands from shared memory would
/// take longer than multiplying them.
pub(super) const OF_PLANE: usize = 64;

/// Blocks of operands in shared memory: all but one are under way while one is multiplied. 80 KiB,
/// so that two cubes fit on a processor.
pub(super) const STAGES: usize = 4;

/// Tiles below one another that are worked out before those beside them: cubes that run together
/// then share operands, and both stay in the second cache.
pub(super) const GROUP: usize = 8;

/// Planes of a cube.
pub(super) const PLANES: usize = (TILE / OF_PLANE) * (TILE / OF_PLANE);

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
}

/// Rows in memory of a block of one operand, and how wide they are.
pub(super) const fn block(turned: bool) -> [usize; 2] {
    if turned { [DEPTH, TILE] } else { [TILE, DEPTH] }
}

/// Chunks of a block in shared memory.
pub(super) const fn block_chunks(turned: bool) -> usize {
    let [rows, width] = block(turned);
    rows * row_chunks(width)
}

impl ProductForm {
    /// Bytes of shared memory.
    pub fn bytes(&self) -> usize {
        let chunks = block_chunks(self.left_turned) + block_chunks(self.right_turned);
        STAGES * chunks * CHUNK * 2
    }

    pub fn cube(&self) -> CubeDim {
        CubeDim::new_1d((PLANES * PLANE) as u32)
    }
}
