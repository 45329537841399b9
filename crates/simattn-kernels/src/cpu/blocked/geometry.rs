//! The blocks of a call: how long they are, and which of them see each other through the mask.

use std::ops::Range;

use crate::call::AttentionOptions;

/// Tokens in a block.
pub const BLOCK: usize = 64;

/// Tokens by which work inside a block on the mask's edge is cut. No vector is longer.
pub const EDGE: usize = 16;

/// 0, 1, 2, …
pub const LANE_NUMBERS: [f32; EDGE] = [
    0., 1., 2., 3., 4., 5., 6., 7., 8., 9., 10., 11., 12., 13., 14., 15.,
];

/// The sizes that every head of a call shares.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    /// T
    pub queries: usize,
    /// S
    pub keys: usize,
    /// Width of q and k.
    pub width: usize,
    /// Width of v.
    pub value_width: usize,
    /// Mask. The scale is not used here: q arrives multiplied by it.
    pub options: AttentionOptions,
}

impl Geometry {
    /// Blocks of queries.
    pub fn query_blocks(&self) -> usize {
        self.queries.div_ceil(BLOCK)
    }

    /// Blocks of keys.
    pub fn key_blocks(&self) -> usize {
        self.keys.div_ceil(BLOCK)
    }

    /// Queries in block `block`.
    pub fn queries_in(&self, block: usize) -> usize {
        (self.queries - block * BLOCK).min(BLOCK)
    }

    /// Keys in block `block`.
    pub fn keys_in(&self, block: usize) -> usize {
        (self.keys - block * BLOCK).min(BLOCK)
    }

    /// Key blocks that some query of a block sees.
    pub fn visible_blocks(&self, query_block: usize) -> Range<usize> {
        let first = query_block * BLOCK + self.options.offset;
        let last = first + self.queries_in(query_block) - 1;
        let end = if self.options.causal {
            self.keys.min(last + 1)
        } else {
            self.keys
        };
        let start = self
            .options
            .window
            .map_or(0, |w| (first + 1).saturating_sub(w))
            .min(end);
        start / BLOCK..end.div_ceil(BLOCK)
    }

    /// How query `q` of block `query_block` sees block `key_block`: keys `low..high` of the block.
    #[inline(always)]
    pub fn seen(&self, query_block: usize, q: usize, key_block: usize) -> (isize, isize) {
        let relative =
            (query_block * BLOCK + q + self.options.offset) as isize - (key_block * BLOCK) as isize;
        let keys = self.keys_in(key_block) as isize;
        let high = if self.options.causal {
            keys.min(relative + 1)
        } else {
            keys
        };
        let low = match self.options.window {
            Some(window) if window <= isize::MAX as usize / 2 => relative + 1 - window as isize,
            _ => 0,
        };
        (low.max(0), high.max(0))
    }

    /// The first query of a block that may see key `key` of a block, at most 64.
    #[inline(always)]
    pub fn first_query(&self, query_block: usize, key_block: usize, key: usize) -> usize {
        if !self.options.causal {
            return 0;
        }
        (key_block * BLOCK + key)
            .saturating_sub(query_block * BLOCK + self.options.offset)
            .min(BLOCK)
    }

    /// Whether every query of a block sees every one of 64 keys.
    pub fn sees_all(&self, query_block: usize, key_block: usize) -> bool {
        let last = self.queries_in(query_block) - 1;
        let low = self.seen(query_block, last, key_block).0;
        let high = self.seen(query_block, 0, key_block).1;
        low == 0 && high == BLOCK as isize
    }
}
