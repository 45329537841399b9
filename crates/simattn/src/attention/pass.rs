//! What all layers of one pass share, and the attention that they call.

use std::fmt;

use burn::{module::Module, tensor::Tensor};
use simattn_kernels::{
    Kernels,
    ops::SasKeep,
    reference::{AttentionOptions, RopeTable, SasOptions, SasWeights},
};

use super::{
    continued::{Continued, Kept},
    unpacking::Unpacking,
};
use crate::{
    milestones::{self, Settled},
    precision::Precision,
};

/// What all layers of one pass share.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// Rotations of the pass's positions, for as many features as
    /// [`ModelConfig::rotation`](crate::ModelConfig::rotation) says; `None` without positions.
    pub rope: Option<&'a RopeTable>,
    /// The implementation of the operations.
    pub kernels: Kernels,
    /// The float type between the norms and the residual stream.
    pub precision: Precision,
    /// Where sequences share tokens: how attention comes by whole ones.
    pub(crate) unpacking: Option<&'a Unpacking>,
    /// Where texts are continued: what is kept of them.
    pub(crate) continued: Option<&'a Continued>,
    /// Who is told of gradients inside a block that are complete.
    pub(crate) settled: Option<&'a Settled>,
    /// What simulated attention keeps for backward.
    pub(crate) keep: SasKeep,
}

impl fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pass")
            .field("kernels", &self.kernels)
            .field("precision", &self.precision)
            .finish_non_exhaustive()
    }
}

impl<'a> Pass<'a> {
    /// A pass over whole sequences.
    pub fn new(rope: Option<&'a RopeTable>, kernels: Kernels) -> Self {
        Self {
            rope,
            kernels,
            precision: Precision::default(),
            unpacking: None,
            continued: None,
            settled: None,
            keep: SasKeep::default(),
        }
    }

    /// The same in another float type.
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }
}

impl Pass<'_> {
    /// `x`, behind which `modules` are used and nowhere else: whoever is told of gradients hears of
    /// theirs when backward has passed this place.
    pub(crate) fn behind<const R: usize, M: Module>(&self, x: Tensor<R>, modules: &M) -> Tensor<R> {
        match self.settled {
            Some(settled) => milestones::behind(x, modules, settled),
            None => x,
        }
    }

    /// Rotates `x` [B, T, H, D] if the model has positions.
    pub(super) fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        match self.rope {
            Some(table) => self.kernels.rotate(x, table),
            None => x,
        }
    }

    /// [`Kernels::attention`](simattn_kernels::Kernels::attention) over whole sequences: `q` [B, H,
    /// T, D'], `k` [B, G, T, D'], `v` [B, G, T, D] → [B, H, T, D].
    pub(super) fn attention(
        &self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        options: &AttentionOptions,
    ) -> Tensor<4> {
        if let Some(continued) = self.continued {
            continued.keep(vec![k, v]);
            let read = |kept: &Kept, _| [kept.parts[0].clone(), kept.parts[1].clone()];
            return continued.attend(q, self.kernels, options, read);
        }
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
        if let Some(continued) = self.continued {
            return continued.sas_attention([q, k, v], weights, self.rope, options, self.kernels);
        }
        let Some(unpacking) = self.unpacking else {
            let tables = self.rope.map(|table| (table, table));
            return self.kernels.sas_attention_keeping(
                [q, k, v],
                weights,
                tables,
                options,
                self.keep,
            );
        };
        let tables = unpacking.rope.as_ref().map(|table| (table, table));
        let whole = |x| unpacking.unpack(x);
        let inputs = [q, k, v].map(whole);
        let y = self
            .kernels
            .sas_attention_keeping(inputs, weights, tables, options, self.keep);
        unpacking.pack(y)
    }
}
