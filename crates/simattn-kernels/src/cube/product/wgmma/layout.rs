//! How operands of `wgmma` stand in shared memory, and how that is described to it. This file uses
//! nothing of the crate but `lanes`: `tests/tensor_core_lanes.rs` includes it and reads operands as
//! the PTX ISA says that `wgmma` does.

#[cfg(feature = "cube")]
use cubecl::prelude::*;

use crate::cube::tensor_cores::lanes::{CHUNK, SIDE};

/// Rows of the results of four planes, which multiply together.
pub const OF_GROUP: usize = 64;

/// Terms of the sums that are copied at a time: rows of 128 bytes where the terms lie side by side.
pub const DEPTH: usize = 64;

/// Chunks of a row of 128 bytes.
pub const ACROSS: usize = DEPTH / CHUNK;

/// Blocks of one operand: rows of 128 bytes, whose chunks change places by the row's number so that
/// eight rows below one another meet every bank. A row has 64 terms of a line; or if it is turned,
/// 64 lines of a term, and blocks of 64 lines stand one behind the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Block {
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
    pub fn terms_apart(&self) -> u64 {
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

/// Where chunk `column` of row `row` of a block in device memory stands in shared memory, in chunks.
#[cfg_attr(feature = "cube", cube)]
pub fn place(row: usize, column: usize) -> usize {
    column / ACROSS * (DEPTH * ACROSS) + row * ACROSS + ((column % ACROSS) ^ (row % ACROSS))
}
