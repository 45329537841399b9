use serde::{Deserialize, Serialize};
use simattn_kernels::call::{Aggregation, RopePlacement};

use super::error::{ModelConfigError, dimension, even, multiple, positive};

/// Which attention a model has, `kind` in a TOML file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AttentionConfig {
    /// Multi-head attention: every query head has its own key/value head.
    Mha(MultiHeadConfig),
    /// Grouped-query attention: groups of query heads share a key/value head.
    Gqa(GroupedConfig),
    /// Multi-query attention: one key/value head for all.
    Mqa(MultiQueryConfig),
    /// Simulated attention (arXiv 2507.07694).
    Sas(SasConfig),
    /// Multi-head latent attention (DeepSeek-V2).
    Mla(LatentConfig),
    /// Tensor product attention (arXiv 2501.06425).
    Tpa(TensorProductConfig),
    /// Multi-matrix factorisation attention (arXiv 2412.19255).
    Mfa(FactorisedConfig),
}

fn default_rope_base() -> f64 {
    10_000.0
}

fn yes() -> bool {
    true
}

/// Multi-head attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiHeadConfig {
    /// Query, key and value heads H.
    pub heads: usize,
    /// Width D of a head.
    pub head_dim: usize,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
    /// How many features of a head rotate, from the first; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_dim: Option<usize>,
}

/// Multi-query attention.
pub type MultiQueryConfig = MultiHeadConfig;

/// Grouped-query attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupedConfig {
    /// Query heads H.
    pub heads: usize,
    /// Key/value heads G, dividing H.
    pub kv_heads: usize,
    /// Width D of a head.
    pub head_dim: usize,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
    /// How many features of a head rotate, from the first; left out: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_dim: Option<usize>,
}

/// Simulated attention scores.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SasConfig {
    /// Projected query heads H.
    pub heads: usize,
    /// Projected key/value heads G; left out: H. Both are expanded to H' heads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kv_heads: Option<usize>,
    /// Width D of a projected head, and of every value head.
    pub head_dim: usize,
    /// Heads H' after the expansion, a multiple of H.
    pub expanded_heads: usize,
    /// Width D' of q and k after the expansion.
    pub expanded_head_dim: usize,
    /// Kernel size κ of the head expansion, odd; 1 is the linear form.
    pub kernel_size: usize,
    /// Whether heads are expanded at all (off: H' = H, and attention shares key/value heads).
    #[serde(default = "yes")]
    pub expand_heads: bool,
    /// Whether features are expanded at all (off: D' = D).
    #[serde(default = "yes")]
    pub expand_features: bool,
    /// Residuals around the second maps.
    #[serde(default = "yes")]
    pub residual: bool,
    /// ReLU before the second maps.
    #[serde(default = "yes")]
    pub relu: bool,
    /// Averaged groups (`peaa`) or a projection of all heads (`full`).
    #[serde(default)]
    pub aggregation: Aggregation,
    /// Rotary embeddings `after` the expansion (default), `before` it, or `none`.
    #[serde(default)]
    pub rope: RopePlacement,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
    /// How many features of a head rotate, from the first; left out: all (D' after, D before).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotary_dim: Option<usize>,
}

/// Multi-head latent attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LatentConfig {
    /// Heads H.
    pub heads: usize,
    /// Width of the part of q and k without positions, per head.
    pub nope_head_dim: usize,
    /// Width of the rotated part of q and k, shared by all key heads.
    pub rope_head_dim: usize,
    /// Width of a value head.
    pub value_head_dim: usize,
    /// Rank of the queries' latent.
    pub query_rank: usize,
    /// Rank of the latent that keys and values share.
    pub kv_rank: usize,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
}

/// Tensor product attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorProductConfig {
    /// Heads H.
    pub heads: usize,
    /// Width D of a head.
    pub head_dim: usize,
    /// Rank of the queries' factors; left out: queries are projected plainly (KV-only form).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_rank: Option<usize>,
    /// Rank of the keys' and of the values' factors.
    pub kv_rank: usize,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
}

/// Multi-matrix factorisation attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FactorisedConfig {
    /// Query heads n.
    pub heads: usize,
    /// Width D_c of a query head and of the one key/value head.
    pub head_dim: usize,
    /// Rank of the queries' factorisation.
    pub query_rank: usize,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
}

/// A `rotary_dim` must be even and fit the head.
fn check_rotary(rotary_dim: Option<usize>, width: usize) -> Result<(), ModelConfigError> {
    const FIELD: &str = "model.attention.rotary_dim";
    let rotary = rotary_dim.unwrap_or(width);
    even(FIELD, rotary)?;
    if rotary > width {
        return Err(ModelConfigError::OutOfRange {
            field: FIELD,
            value: rotary.to_string(),
            allowed: format!("at most the head's width, {width}"),
        });
    }
    Ok(())
}

const HEADS: &str = "model.attention.heads";
const KV_HEADS: &str = "model.attention.kv_heads";
const HEAD_DIM: &str = "model.attention.head_dim";
const EXPANDED_HEADS: &str = "model.attention.expanded_heads";
const ROPE_BASE: &str = "model.attention.rope_base";

impl AttentionConfig {
    /// The name in tables and files: `mha`, `gqa`, `mqa`, `sas`, `mla`, `tpa`, `mfa`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mha(_) => "mha",
            Self::Gqa(_) => "gqa",
            Self::Mqa(_) => "mqa",
            Self::Sas(_) => "sas",
            Self::Mla(_) => "mla",
            Self::Tpa(_) => "tpa",
            Self::Mfa(_) => "mfa",
        }
    }

    /// Checks every field against the others.
    ///
    /// # Errors
    /// The first field that does not fit.
    pub fn validate(&self) -> Result<(), ModelConfigError> {
        match self {
            Self::Mha(c) | Self::Mqa(c) => {
                dimension(HEADS, c.heads)?;
                dimension(HEAD_DIM, c.head_dim)?;
                positive(ROPE_BASE, c.rope_base)?;
                check_rotary(c.rotary_dim, c.head_dim)
            }
            Self::Gqa(c) => {
                dimension(HEADS, c.heads)?;
                dimension(KV_HEADS, c.kv_heads)?;
                multiple(HEADS, c.heads, KV_HEADS, c.kv_heads)?;
                dimension(HEAD_DIM, c.head_dim)?;
                positive(ROPE_BASE, c.rope_base)?;
                check_rotary(c.rotary_dim, c.head_dim)
            }
            Self::Sas(c) => c.validate(),
            Self::Mla(c) => {
                dimension(HEADS, c.heads)?;
                dimension("model.attention.nope_head_dim", c.nope_head_dim)?;
                even("model.attention.rope_head_dim", c.rope_head_dim)?;
                dimension("model.attention.value_head_dim", c.value_head_dim)?;
                dimension("model.attention.query_rank", c.query_rank)?;
                dimension("model.attention.kv_rank", c.kv_rank)?;
                positive(ROPE_BASE, c.rope_base)
            }
            Self::Tpa(c) => {
                dimension(HEADS, c.heads)?;
                even(HEAD_DIM, c.head_dim)?;
                if let Some(rank) = c.query_rank {
                    dimension("model.attention.query_rank", rank)?;
                }
                dimension("model.attention.kv_rank", c.kv_rank)?;
                positive(ROPE_BASE, c.rope_base)
            }
            Self::Mfa(c) => {
                dimension(HEADS, c.heads)?;
                even(HEAD_DIM, c.head_dim)?;
                dimension("model.attention.query_rank", c.query_rank)?;
                positive(ROPE_BASE, c.rope_base)
            }
        }
    }
}

impl SasConfig {
    /// Projected key/value heads G.
    pub fn kv_heads(&self) -> usize {
        self.kv_heads.unwrap_or(self.heads)
    }

    /// How many features rotate, 0 with [`RopePlacement::None`].
    pub fn rotary_dim(&self) -> usize {
        match self.rope {
            RopePlacement::None => 0,
            RopePlacement::After => self.rotary_dim.unwrap_or(self.expanded_head_dim),
            RopePlacement::Before => self.rotary_dim.unwrap_or(self.head_dim),
        }
    }

    fn validate(&self) -> Result<(), ModelConfigError> {
        dimension(HEADS, self.heads)?;
        dimension(KV_HEADS, self.kv_heads())?;
        dimension(HEAD_DIM, self.head_dim)?;
        dimension(EXPANDED_HEADS, self.expanded_heads)?;
        dimension("model.attention.expanded_head_dim", self.expanded_head_dim)?;
        multiple(EXPANDED_HEADS, self.expanded_heads, HEADS, self.heads)?;
        dimension("model.attention.kernel_size", self.kernel_size)?;
        if self.kernel_size.is_multiple_of(2) {
            return Err(ModelConfigError::OutOfRange {
                field: "model.attention.kernel_size",
                value: self.kernel_size.to_string(),
                allowed: "odd, so that the convolution has a centre (1, 3, 5, …)".into(),
            });
        }
        if !self.expand_heads {
            if self.expanded_heads != self.heads {
                return Err(ModelConfigError::Contradiction {
                    field: EXPANDED_HEADS,
                    value: self.expanded_heads.to_string(),
                    other: format!("expand_heads = false with heads = {}", self.heads),
                    why: "without the expansion the number of heads stays",
                });
            }
            multiple(HEADS, self.heads, KV_HEADS, self.kv_heads())?;
        }
        if !self.expand_features && self.expanded_head_dim != self.head_dim {
            return Err(ModelConfigError::Contradiction {
                field: "model.attention.expanded_head_dim",
                value: self.expanded_head_dim.to_string(),
                other: format!("expand_features = false with head_dim = {}", self.head_dim),
                why: "without the expansion the width stays",
            });
        }
        positive(ROPE_BASE, self.rope_base)?;
        match self.rope {
            RopePlacement::None if self.rotary_dim.is_some() => {
                Err(ModelConfigError::Contradiction {
                    field: "model.attention.rotary_dim",
                    value: self.rotary_dim.unwrap_or_default().to_string(),
                    other: "rope = \"none\"".into(),
                    why: "nothing rotates",
                })
            }
            RopePlacement::None => Ok(()),
            RopePlacement::After => check_rotary(self.rotary_dim, self.expanded_head_dim),
            RopePlacement::Before => check_rotary(self.rotary_dim, self.head_dim),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Saved models and presets spell the choices of SAS like this.
    #[test]
    fn the_choices_of_sas_are_spelled_as_in_saved_models() {
        for (aggregation, word) in [(Aggregation::Peaa, "peaa"), (Aggregation::Full, "full")] {
            let word = format!("{word:?}");
            assert_eq!(serde_json::to_string(&aggregation).ok(), Some(word.clone()));
            assert_eq!(
                serde_json::from_str::<Aggregation>(&word).ok(),
                Some(aggregation)
            );
        }
        for (rope, word) in [
            (RopePlacement::After, "after"),
            (RopePlacement::Before, "before"),
            (RopePlacement::None, "none"),
        ] {
            let word = format!("{word:?}");
            assert_eq!(serde_json::to_string(&rope).ok(), Some(word.clone()));
            assert_eq!(
                serde_json::from_str::<RopePlacement>(&word).ok(),
                Some(rope)
            );
        }
        assert_eq!(Aggregation::default(), Aggregation::Peaa);
        assert_eq!(RopePlacement::default(), RopePlacement::After);
    }
}
