//! How a map is cut into cubes when matrix units work it out.

use crate::cube::expansion::stage::Stage;
use crate::cube::units::{Units, results_stride};

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct MapPlan {
    pub stage: Stage,
    pub units: Units,
    /// Rows that belong together: positions of one row of a convolution, or rows of a map along the
    /// features.
    pub chunk: usize,
    /// Chunks of a cube.
    pub chunks: usize,
    /// Columns of results that stand in shared memory at once.
    pub columns: usize,
}

/// Rows of results that a cube works out, if its memory holds them.
const ROWS: usize = 128;
/// Positions of a convolution that a chunk has at most.
const POSITIONS: usize = 64;
/// Columns of results in shared memory at once.
const COLUMNS: usize = 64;

impl MapPlan {
    /// The widest plan that fits into a cube's shared memory, if there is one.
    pub fn of(stage: Stage, units: Units, shared_memory: usize) -> Option<Self> {
        let columns = COLUMNS.min(stage.outputs).next_multiple_of(units.side);
        let chunk = match stage.positions {
            1 => units.side,
            positions => positions.min(POSITIONS).next_multiple_of(units.side),
        };
        let mut rows = ROWS;
        while rows >= chunk {
            let chunks = rows / chunk;
            let shares = if (chunk * chunks / units.side).is_multiple_of(2) {
                2
            } else {
                1
            };
            let units = units.sharing(shares);
            let plan = Self {
                stage,
                units,
                chunk,
                chunks,
                columns,
            };
            if plan.shared_bytes() <= shared_memory {
                return Some(plan);
            }
            rows /= 2;
        }
        None
    }

    /// Rows of a cube.
    pub fn rows(&self) -> usize {
        self.chunk * self.chunks
    }

    /// Threads of a cube.
    pub fn threads(&self) -> usize {
        self.rows() / self.units.rows() * self.units.plane
    }

    /// Rows of a chunk's input: its positions and what its windows reach beyond.
    pub fn reach(&self) -> usize {
        self.chunk + self.stage.taps - 1
    }

    /// Chunks of one row of a convolution.
    pub fn chunks_of_row(&self) -> usize {
        self.stage.positions.div_ceil(self.chunk)
    }

    /// Float32 values between two lines of results in shared memory: lines are columns of a
    /// convolution, rows of a map.
    pub fn line(&self) -> usize {
        match self.stage.positions {
            1 => results_stride(self.columns),
            _ => results_stride(self.rows()),
        }
    }

    /// Lines of results in shared memory.
    pub fn lines(&self) -> usize {
        match self.stage.positions {
            1 => self.rows(),
            _ => self.columns,
        }
    }

    fn shared_bytes(&self) -> usize {
        self.units
            .staged(self.chunks * self.reach(), self.stage.inputs)
            + 4 * self.lines() * self.line()
    }
}
