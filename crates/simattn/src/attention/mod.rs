//! The attention variants, one file each; what they compute is stated at their heads.

pub(crate) mod continued;
mod factorised;
mod grouped;
mod head_norm;
mod latent;
mod pass;
mod sas;
mod tensor_product;
mod unpacking;

use burn::{
    module::Module,
    tensor::{DType, Device, Tensor, TensorData},
};
pub use factorised::FactorisedAttention;
pub use grouped::GroupedAttention;
pub(crate) use latent::LATENT_EPSILON;
pub use latent::LatentAttention;
pub use pass::Pass;
pub use sas::{ExpansionLayer, SasAttention};
use simattn_kernels::{ops::Normed, reference::RopeTable};
pub use tensor_product::TensorProductAttention;
pub(crate) use unpacking::Unpacking;

use crate::{
    config::{AttentionConfig, ModelConfig, RopePlacement, RopeScaling},
    init::Initialiser,
};

/// The rotations that a model of this configuration applies to the positions
/// `offset .. offset + tokens`; `None` where nothing rotates.
pub(crate) fn rope_table(
    config: &ModelConfig,
    tokens: usize,
    offset: usize,
    device: &Device,
    dtype: DType,
) -> Option<RopeTable> {
    let (rotary_dim, base) = config.rotation()?;
    if config.rope_scaling == RopeScaling::None {
        return Some(RopeTable::new(
            tokens, offset, rotary_dim, base, device, dtype,
        ));
    }
    let frequencies = config.rope_scaling.frequencies(rotary_dim, base);
    let table = |f: fn(f64) -> f64| {
        let values: Vec<f64> = (offset..offset + tokens)
            .flat_map(|position| frequencies.iter().map(move |&w| f(position as f64 * w)))
            .collect();
        let data = TensorData::new(values, [tokens, frequencies.len()]);
        Tensor::from_data(data, (device, dtype))
    };
    Some(RopeTable {
        cos: table(f64::cos),
        sin: table(f64::sin),
    })
}

/// Any of the variants: [B, T, C] → [B, T, C], causal.
#[derive(Module, Debug)]
// A model holds few of these, and each holds its tensors behind pointers.
#[allow(clippy::large_enum_variant)]
pub enum Attention {
    /// MHA, GQA and MQA.
    Grouped(GroupedAttention),
    /// SAS.
    Sas(SasAttention),
    /// MLA.
    Latent(LatentAttention),
    /// TPA.
    TensorProduct(TensorProductAttention),
    /// MFA.
    Factorised(FactorisedAttention),
}

impl Attention {
    /// The variant that a (validated) configuration names.
    pub fn new(config: &ModelConfig, init: &Initialiser) -> Self {
        match &config.attention {
            AttentionConfig::Mha(c) => Self::Grouped(GroupedAttention::new(
                config, c.heads, c.heads, c.head_dim, init,
            )),
            AttentionConfig::Mqa(c) => {
                Self::Grouped(GroupedAttention::new(config, c.heads, 1, c.head_dim, init))
            }
            AttentionConfig::Gqa(c) => Self::Grouped(GroupedAttention::new(
                config, c.heads, c.kv_heads, c.head_dim, init,
            )),
            AttentionConfig::Sas(c) => Self::Sas(SasAttention::new(config, c, init)),
            AttentionConfig::Mla(c) => Self::Latent(LatentAttention::new(config, c, init)),
            AttentionConfig::Tpa(c) => {
                Self::TensorProduct(TensorProductAttention::new(config, c, init))
            }
            AttentionConfig::Mfa(c) => Self::Factorised(FactorisedAttention::new(config, c, init)),
        }
    }

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        self.of_normed(&x.into(), pass)
    }

    /// The same of a normalised tensor, which is not kept for backward.
    pub(crate) fn of_normed(&self, x: &Normed<3>, pass: &Pass<'_>) -> Tensor<3> {
        match self {
            Self::Grouped(layer) => layer.forward(x, pass),
            Self::Sas(layer) => layer.forward(x, pass),
            Self::Latent(layer) => layer.forward(x, pass),
            Self::TensorProduct(layer) => layer.forward(x, pass),
            Self::Factorised(layer) => layer.forward(x, pass),
        }
    }
}

impl AttentionConfig {
    /// How many features rotary embeddings turn, and their base; `None` without positions.
    pub fn rotation(&self) -> Option<(usize, f64)> {
        match self {
            Self::Mha(c) | Self::Mqa(c) => Some((c.rotary_dim.unwrap_or(c.head_dim), c.rope_base)),
            Self::Gqa(c) => Some((c.rotary_dim.unwrap_or(c.head_dim), c.rope_base)),
            Self::Sas(c) if c.rope == RopePlacement::None => None,
            Self::Sas(c) => Some((c.rotary_dim(), c.rope_base)),
            Self::Mla(c) => Some((c.rope_head_dim, c.rope_base)),
            Self::Tpa(c) => Some((c.head_dim, c.rope_base)),
            Self::Mfa(c) => Some((c.head_dim, c.rope_base)),
        }
    }
}
