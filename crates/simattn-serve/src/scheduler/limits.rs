//! How much a scheduler does at once.

use crate::engine::BLOCK;

/// How much is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Answers that run at once.
    pub rows: usize,
    /// Answers that may wait for their turn.
    pub queue: usize,
    /// Bytes of running sequences.
    pub memory: u64,
    /// Bytes of kept prefixes and of sequences that were set aside; the latter are kept even where
    /// they are more.
    pub store: u64,
    /// Tokens of prompts in a turn, between two tokens of every running answer. One block at least
    /// is computed.
    pub prefill: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rows: 16,
            queue: 256,
            memory: 1 << 30,
            store: 1 << 28,
            prefill: BLOCK,
        }
    }
}
