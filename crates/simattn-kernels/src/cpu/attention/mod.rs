//! Softmax attention on slices, forward and backward.
//!
//! Keys and values are brought into lane order once (see `blocked`); then every block of 64 queries
//! of every head is a task. Backward takes every key/value head as a task, with all query heads
//! that read it; if there are few, their queries are dealt to up to 32 tasks, whose sums are added
//! in order. Memory beside inputs and outputs: a copy of k and v forward; backward a copy of q, k,
//! v and the output's gradient and one to 32 / (B·G) of the gradients of k and v.

mod backward;
mod backward_block;
mod few;
mod forward;
mod lanes;
mod tasks;

pub use backward::{BackwardInputs, attention_backward, attention_backward_on};
pub use forward::{attention_forward, attention_forward_on};
pub(super) use lanes::PackBlock;
pub(super) use tasks::{BackwardTasks, Scratch};

use super::blocked::Geometry;
use crate::call::{AttentionOptions, AttentionShape};

/// Where the values of a [batch, heads, tokens, width] tensor stand; a token's features are
/// contiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadLayout {
    /// Distance between elements of the batch.
    pub batch_stride: usize,
    /// Distance between heads.
    pub head_stride: usize,
    /// Distance between tokens.
    pub token_stride: usize,
}

impl HeadLayout {
    /// [B, H, T, D]
    pub fn head_major(heads: usize, tokens: usize, width: usize) -> Self {
        Self {
            batch_stride: heads * tokens * width,
            head_stride: tokens * width,
            token_stride: width,
        }
    }

    /// [B, T, H, D], as projections write it.
    pub fn token_major(heads: usize, tokens: usize, width: usize) -> Self {
        Self {
            batch_stride: heads * tokens * width,
            head_stride: width,
            token_stride: heads * width,
        }
    }

    pub(super) fn at(&self, batch: usize, head: usize, token: usize) -> usize {
        batch * self.batch_stride + head * self.head_stride + token * self.token_stride
    }

    pub(super) fn end(&self, batch: usize, heads: usize, tokens: usize, width: usize) -> usize {
        if [batch, heads, tokens, width].contains(&0) {
            0
        } else {
            self.at(batch - 1, heads - 1, tokens - 1) + width
        }
    }
}

/// A tensor of heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    /// Its values.
    pub values: &'a [f32],
    /// Where they stand.
    pub layout: HeadLayout,
}

/// Gradients of [`attention_forward`]'s inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct AttentionGradients {
    /// Of q, laid out as asked.
    pub q: Vec<f32>,
    /// Of k.
    pub k: Vec<f32>,
    /// Of v.
    pub v: Vec<f32>,
}

impl AttentionShape {
    pub(super) fn geometry(&self, options: &AttentionOptions) -> Geometry {
        let Self {
            queries,
            keys,
            width,
            value_width,
            ..
        } = *self;
        Geometry {
            queries,
            keys,
            width,
            value_width,
            options: *options,
        }
    }

    pub(super) fn check(&self, q: Heads<'_>, k: Heads<'_>, v: Heads<'_>) {
        self.check_heads();
        let Self {
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            width,
            value_width,
        } = *self;
        assert!(
            q.layout.end(batch, heads, queries, width) <= q.values.len(),
            "q is shorter than its layout"
        );
        assert!(
            k.layout.end(batch, kv_heads, keys, width) <= k.values.len(),
            "k is shorter than its layout"
        );
        assert!(
            v.layout.end(batch, kv_heads, keys, value_width) <= v.values.len(),
            "v is shorter than its layout"
        );
    }
}
