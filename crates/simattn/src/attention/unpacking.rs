//! Whole sequences out of tokens that are stored once where sequences share them.

use burn::tensor::{Int, Tensor};
use simattn_kernels::reference::RopeTable;

/// How whole sequences are made of stored tokens, and what attention gives back to those.
#[derive(Debug)]
pub(crate) struct Unpacking {
    /// The stored token at every place of every sequence, [sequences · length].
    pub(crate) rows: Tensor<1, Int>,
    /// A place of each stored token among those, [stored tokens].
    pub(crate) places: Tensor<1, Int>,
    /// Sequences.
    pub(crate) sequences: usize,
    /// Tokens of the longest.
    pub(crate) length: usize,
    /// Rotations of the places of a whole sequence.
    pub(crate) rope: Option<RopeTable>,
}

impl Unpacking {
    /// [1, N, H, D] → [sequences, length, H, D].
    pub(super) fn unpack(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, tokens, heads, width] = x.dims();
        x.reshape([tokens, heads * width])
            .select(0, self.rows.clone())
            .reshape([self.sequences, self.length, heads, width])
    }

    /// [sequences, length, F] → [1, N, F].
    pub(super) fn pack(&self, x: Tensor<3>) -> Tensor<3> {
        let [sequences, length, features] = x.dims();
        x.reshape([sequences * length, features])
            .select(0, self.places.clone())
            .unsqueeze::<3>()
    }
}
