//! Which part of the results a cube works out, and where its operands are.

use cubecl::prelude::*;

use super::form::{GROUP, ROWS};
use crate::cube::tensor_cores::Chunk;

/// Where a tile begins.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Tile {
    pub row: usize,
    pub column: usize,
}

/// The tile of cube `cube`: [`GROUP`] tiles below one another, then those beside them, to the last
/// column; then the next [`GROUP`].
#[cube]
pub(super) fn tile_of(cube: usize, down: usize, across: usize, #[comptime] columns: usize) -> Tile {
    let first = cube / (GROUP * across) * GROUP;
    let below = min(down - first, GROUP);
    let within = cube % (GROUP * across);
    Tile {
        row: (first + within % below) * ROWS,
        column: within / below * columns,
    }
}

/// One operand of a cube.
#[derive(CubeType, Clone, Copy)]
pub(super) struct Side {
    /// Where its matrix begins, and values from one row in memory to the next.
    pub base: usize,
    pub stride: usize,
    /// The first of the tile's rows, or of its columns.
    pub first: usize,
    /// The last that there is.
    pub last: usize,
    /// Terms of the sums.
    pub terms: usize,
}

#[cube]
pub(super) fn side<F: Float>(
    x: &Tensor<Chunk<F>>,
    batch: usize,
    first: usize,
    #[comptime] turned: bool,
) -> Side {
    let (mut lines, mut terms) = (x.shape(1), x.shape(2));
    if comptime!(turned) {
        lines = x.shape(2);
        terms = x.shape(1);
    }
    Side {
        base: batch * x.stride(0),
        stride: x.stride(1),
        first,
        last: lines - 1,
        terms,
    }
}
