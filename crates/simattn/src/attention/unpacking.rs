//! Attention over whole sequences where the tokens that they share are stored once.

use burn::tensor::{Int, Tensor};
use simattn_kernels::reference::{AttentionOptions, RopeTable, SasOptions, SasWeights};

use super::Pass;

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
    fn unpack(&self, x: Tensor<4>) -> Tensor<4> {
        let [_, tokens, heads, width] = x.dims();
        x.reshape([tokens, heads * width])
            .select(0, self.rows.clone())
            .reshape([self.sequences, self.length, heads, width])
    }

    /// [sequences, length, F] → [1, N, F].
    fn pack(&self, x: Tensor<3>) -> Tensor<3> {
        let [sequences, length, features] = x.dims();
        x.reshape([sequences * length, features])
            .select(0, self.places.clone())
            .unsqueeze::<3>()
    }
}

impl Pass<'_> {
    /// [`Kernels::attention`](simattn_kernels::Kernels::attention) over whole sequences: `q` [B, H,
    /// T, D'], `k` [B, G, T, D'], `v` [B, G, T, D] → [B, H, T, D].
    pub(super) fn attention(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        options: &AttentionOptions,
    ) -> Tensor<4> {
        let Some(unpacking) = self.unpacking else {
            return self.kernels.attention(q, k, v, options);
        };
        let whole = |x: Tensor<4>| unpacking.unpack(x.swap_dims(1, 2)).swap_dims(1, 2);
        let y = self
            .kernels
            .attention(whole(q), whole(k), whole(v), options);
        let [sequences, heads, length, width] = y.dims();
        let y = y
            .swap_dims(1, 2)
            .reshape([sequences, length, heads * width]);
        let y = unpacking.pack(y);
        let tokens = y.dims()[1];
        y.reshape([1, tokens, heads, width]).swap_dims(1, 2)
    }

    /// [`Kernels::sas_attention`](simattn_kernels::Kernels::sas_attention) over whole sequences:
    /// `q` [B, T, H, D], `k` and `v` [B, T, G, D] → [B, T, F].
    pub(super) fn sas_attention(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        weights: &SasWeights,
        options: &SasOptions,
    ) -> Tensor<3> {
        let Some(unpacking) = self.unpacking else {
            let tables = self.rope.map(|table| (table, table));
            return self
                .kernels
                .sas_attention(q, k, v, weights, tables, options);
        };
        let tables = unpacking.rope.as_ref().map(|table| (table, table));
        let whole = |x| unpacking.unpack(x);
        let y = self
            .kernels
            .sas_attention(whole(q), whole(k), whole(v), weights, tables, options);
        unpacking.pack(y)
    }
}
