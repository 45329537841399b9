//! How tokens stand in shared memory. This file uses nothing of the crate but `lanes`:
//! `tests/tensor_core_lanes.rs` includes it, and works out maps on a model of the instructions.

use crate::cube::tensor_cores::lanes::{CHUNK, SIDE, row_chunks};

/// Positions of one or more tokens in shared memory, each with its channels side by side, and with
/// empty positions before the first and behind the last of a token: what a window of κ positions
/// covers then lies end to end. So a convolution is a product of rows that begin one position
/// apart with weights of κ·C terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Windows {
    /// Channels.
    pub channels: usize,
    /// Positions of a token, without the empty ones.
    pub positions: usize,
    /// Positions that a window covers, κ.
    pub taps: usize,
    /// Tokens.
    pub tokens: usize,
}

impl Windows {
    /// Values from one position to the next. Eight rows of a product, which `ldmatrix` reads at
    /// once, are in eight different places among the banks, or at worst in four.
    pub fn stride(&self) -> usize {
        let chunks = self.channels.div_ceil(CHUNK);
        CHUNK * (chunks + usize::from(chunks.is_multiple_of(4)))
    }

    /// Empty positions before a token's first.
    pub fn padding(&self) -> usize {
        (self.taps - 1) / 2
    }

    /// Positions of a token, with the empty ones.
    pub fn reach(&self) -> usize {
        self.positions + self.taps - 1
    }

    /// Terms of the sums.
    pub fn terms(&self) -> usize {
        (self.taps * self.stride()).next_multiple_of(SIDE)
    }

    /// Values in shared memory. The last window's terms end up to two chunks behind the last
    /// position.
    pub fn len(&self) -> usize {
        self.tokens * self.reach() * self.stride() + 2 * CHUNK
    }

    /// Positions of all tokens, without the empty ones.
    pub fn rows(&self) -> usize {
        self.tokens * self.positions
    }
}

/// Channels of one or more tokens in shared memory as they are in device memory, each with its
/// positions side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Raw {
    pub channels: usize,
    /// Channels and empty lines of a token.
    pub lines: usize,
    pub positions: usize,
    pub tokens: usize,
}

impl Raw {
    /// With as many lines as a multiple of `side` has.
    pub fn new(windows: Windows, channels: usize, side: usize) -> Self {
        Self {
            channels,
            lines: channels.next_multiple_of(side),
            positions: windows.positions,
            tokens: windows.tokens,
        }
    }

    /// Chunks in shared memory.
    pub fn chunks(&self) -> usize {
        self.tokens * self.lines * row_chunks(self.positions)
    }
}
