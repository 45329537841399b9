//! The attention variants on few tokens, one file each; what they compute is stated in
//! [`attention`](crate::attention).

mod columns;
mod factors;
mod heads;
mod latent;
mod simulated;

use factors::FactorsMixer;
use heads::HeadsMixer;
use latent::LatentMixer;
use simulated::SimulatedMixer;

use super::{
    batch::{Batch, Rope},
    cache::{LayerCache, Slot},
    options::RunningOptions,
};
use crate::{
    attention::Attention,
    config::{AttentionConfig, ModelConfig},
};

/// Any of them.
#[derive(Clone, Debug)]
// A model holds few of these, and each holds its weights behind pointers.
#[allow(clippy::large_enum_variant)]
pub(super) enum Mixer {
    /// MHA, GQA, MQA and MFA.
    Heads(HeadsMixer),
    /// SAS.
    Simulated(SimulatedMixer),
    /// MLA.
    Latent(LatentMixer),
    /// TPA.
    Factors(FactorsMixer),
}

impl Mixer {
    pub(super) fn new(
        attention: &Attention,
        config: &ModelConfig,
        options: &RunningOptions,
    ) -> Self {
        let heads = |layer, heads, kv_heads, head_dim| {
            let shape = [heads, kv_heads, head_dim];
            Self::Heads(HeadsMixer::grouped(layer, shape, config, options))
        };
        match (attention, &config.attention) {
            (Attention::Grouped(layer), AttentionConfig::Mha(c)) => {
                heads(layer, c.heads, c.heads, c.head_dim)
            }
            (Attention::Grouped(layer), AttentionConfig::Mqa(c)) => {
                heads(layer, c.heads, 1, c.head_dim)
            }
            (Attention::Grouped(layer), AttentionConfig::Gqa(c)) => {
                heads(layer, c.heads, c.kv_heads, c.head_dim)
            }
            (Attention::Factorised(layer), AttentionConfig::Mfa(c)) => {
                Self::Heads(HeadsMixer::factorised(layer, c, options))
            }
            (Attention::Sas(layer), AttentionConfig::Sas(c)) => {
                Self::Simulated(SimulatedMixer::new(layer, c, config, options))
            }
            (Attention::Latent(layer), AttentionConfig::Mla(c)) => {
                Self::Latent(LatentMixer::new(layer, c, options))
            }
            (Attention::TensorProduct(layer), AttentionConfig::Tpa(c)) => {
                Self::Factors(FactorsMixer::new(layer, c, options))
            }
            _ => unreachable!("a decoder's layers are those of its configuration"),
        }
    }

    /// Bytes of the weights.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Heads(mixer) => mixer.bytes(),
            Self::Simulated(mixer) => mixer.bytes(),
            Self::Latent(mixer) => mixer.bytes(),
            Self::Factors(mixer) => mixer.bytes(),
        }
    }

    /// Writes the tokens of `x` [rows, C], normalised, to their caches, and adds what attention
    /// gives to `y` [rows, C].
    pub(super) fn forward(
        &self,
        batch: &Batch<'_>,
        caches: &mut [&mut LayerCache],
        x: &[f32],
        y: &mut [f32],
    ) {
        match self {
            Self::Heads(mixer) => mixer.forward(batch, caches, x, y),
            Self::Simulated(mixer) => mixer.forward(batch, caches, x, y),
            Self::Latent(mixer) => mixer.forward(batch, caches, x, y),
            Self::Factors(mixer) => mixer.forward(batch, caches, x, y),
        }
    }

    /// An empty page as a running sequence has it.
    pub(super) fn empty(&self) -> Slot {
        let page = match self {
            Self::Heads(mixer) => mixer.empty(),
            Self::Latent(mixer) => mixer.empty(),
            Self::Factors(mixer) => mixer.empty(),
            Self::Simulated(mixer) => return mixer.empty(),
        };
        Slot {
            page: Some(page.into()),
            compact: None,
        }
    }

    /// What a page can be restored from.
    pub(super) fn stored(&self, slot: &Slot) -> Slot {
        match self {
            Self::Simulated(_) => Slot {
                page: None,
                compact: slot.compact.clone(),
            },
            _ => slot.clone(),
        }
    }

    /// The pages of `len` tokens out of what was stored of them.
    pub(super) fn restore(&self, slots: &[Slot], len: usize, rope: Option<&Rope>) -> Vec<Slot> {
        match self {
            Self::Simulated(mixer) => mixer.restore(slots, len, rope),
            _ => slots.to_vec(),
        }
    }
}
