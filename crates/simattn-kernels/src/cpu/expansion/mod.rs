//! Head and feature expansion of 8 or 16 tokens at a time, forward and backward, tokens in the
//! lanes.
//!
//! Values of a chunk lie as `[feature][head][tokens]`. The head expansion is a convolution along
//! the features: with this order the κ·H values that meet in one output form one run of rows, which
//! starts at the output's own feature, so it is a plain product whose right operand overlaps
//! itself. The feature expansion is a product with all heads side by side. Nothing is ever copied
//! to line it up, and all of a chunk stays in the second-level cache.

mod contract;
mod convolutions;
mod expand;
mod lanes;
mod minimal_filtering;
mod placement;
mod prepared;
mod stages;

pub use contract::ContractChunk;
pub use expand::ExpandChunk;
pub use prepared::Prepared;

use super::blocked::EDGE;
use crate::call::{self, ExpansionOptions, Stage};

/// Weights of an expansion.
pub type Expansion<'a> = call::Expansion<Stage<&'a [f32]>>;

/// Gradients of an [`Expansion`], laid out as its weights.
pub type ExpansionGradients = call::Expansion<Stage<Vec<f32>>>;

/// Tokens in a chunk, on vectors of `lanes` values.
///
/// All stages of a chunk should fit the second-level cache. Machines whose widest vectors hold 8
/// values often have 512 KiB of it: one vector of tokens does, two do not.
pub const fn chunk_len(lanes: usize) -> usize {
    if lanes == 8 { 8 } else { EDGE }
}

/// Cosines and sines of the positions of a tensor's tokens, each [tokens, half]: features i and i +
/// half rotate together.
#[derive(Clone, Copy, Debug)]
pub struct Rotation<'a> {
    /// Cosines.
    pub cos: &'a [f32],
    /// Sines.
    pub sin: &'a [f32],
    /// Half of the number of rotated features.
    pub half: usize,
}

/// Sizes of an expansion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Heads that come in.
    pub heads: usize,
    /// Heads that go out.
    pub expanded_heads: usize,
    /// Width that comes in.
    pub width: usize,
    /// Width that goes out.
    pub expanded_width: usize,
    /// κ; 1 without a head stage.
    pub kernel_size: usize,
}

/// An expansion as it is asked for.
#[derive(Clone, Copy, Debug)]
pub struct ExpansionCall<'a> {
    /// Sizes.
    pub sizes: Sizes,
    /// Weights of the stages that there are.
    pub weights: Expansion<'a>,
    /// Residuals and ReLU.
    pub options: ExpansionOptions,
    /// The rotation in front of the stages.
    pub before: Option<Rotation<'a>>,
    /// The rotation behind them.
    pub after: Option<Rotation<'a>>,
    /// What the result is multiplied by.
    pub factor: f32,
}

/// A chunk's place in its tensor.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    /// First token, a multiple of the chunk's length.
    pub token: usize,
    /// Tokens, at most the chunk's length.
    pub count: usize,
}
