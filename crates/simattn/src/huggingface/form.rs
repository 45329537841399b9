//! Whether a model has the form of the families that `transformers` knows.

use crate::config::{AttentionConfig, Mlp, ModelConfig};

/// H, G and D of the variants that these families have.
pub(super) fn heads(config: &ModelConfig) -> Option<[usize; 3]> {
    match &config.attention {
        AttentionConfig::Mha(c) => Some([c.heads, c.heads, c.head_dim]),
        AttentionConfig::Mqa(c) => Some([c.heads, 1, c.head_dim]),
        AttentionConfig::Gqa(c) => Some([c.heads, c.kv_heads, c.head_dim]),
        _ => None,
    }
}

/// Whether an MLP is one that GPT-NeoX and GPT-2 have.
pub(super) fn is_gelu(config: &ModelConfig) -> bool {
    matches!(config.mlp, Mlp::Gelu | Mlp::GeluTanh)
}
