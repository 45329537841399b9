//! Models that differ in their attention and have as many parameters as the baseline.
//!
//! The baseline is multi-head attention with H heads of width D. Every other variant gets the
//! number of heads whose attention comes nearest to the baseline's in parameters (the TPA authors
//! match so, arXiv 2501.06425), and the width of its MLPs then takes up what is left. Ranks and
//! shares follow the published models at C = 768.

use simattn::{
    Aggregation, AttentionConfig, FactorisedConfig, GroupedConfig, LatentConfig, ModelConfig,
    MultiHeadConfig, RopePlacement, SasConfig, TensorProductConfig, cost::Cost,
};
use thiserror::Error;

use super::quantity::{grouped, with_decimals};

/// A variant ready to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// `mha`, `gqa`, …
    pub name: String,
    /// As tables show it.
    pub label: String,
    /// One line about heads, widths and ranks.
    pub attention: String,
    /// The model, vocabulary filled in.
    pub model: ModelConfig,
}

/// Why variants could not be matched. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum MatchError {
    /// A name that is no variant.
    #[error("--variants: no variant is called `{name}`; there are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// All that there are.
        known: String,
    },
    /// The same variant twice.
    #[error("--variants: `{name}` is named twice")]
    Twice {
        /// The name.
        name: String,
    },
    /// The width cannot hold whole heads.
    #[error(
        "model.width = {width} is not a multiple of model.attention.head_dim = {head_dim}: the baseline's heads would not fill it"
    )]
    Width {
        /// C
        width: usize,
        /// D
        head_dim: usize,
    },
    /// A variant whose attention alone is too large or whose fields clash.
    #[error("{name}: {why}")]
    Impossible {
        /// The variant.
        name: String,
        /// What is in the way.
        why: String,
    },
}

/// The variants there are, in the order of tables.
pub const VARIANTS: [&str; 7] = ["mha", "gqa", "mqa", "mla", "mfa", "tpa", "sas"];

/// Largest relative difference of parameters that counts as matched.
pub const TOLERANCE: f64 = 0.02;

/// The named variants, each with as many parameters as multi-head attention in `model`, and the
/// lines that say how that was reached.
///
/// `model` gives everything but the attention; of its attention, the head width (and, if it is
/// SAS, the whole SAS configuration) is taken over.
///
/// # Errors
/// Unknown or repeated names, and variants that no number of heads brings near.
pub fn candidates(
    model: &ModelConfig,
    names: &[String],
) -> Result<(Vec<Candidate>, Vec<String>), MatchError> {
    let shape = Shape::of(model)?;
    let baseline = with_attention(model, shape.mha());
    let target = Cost::of(&baseline).parameters.total;
    let mut found = Vec::new();
    let mut lines = vec![format!(
        "target: {} parameters, those of mha with {} heads of width {} and an MLP of width {}",
        grouped(target as f64),
        shape.heads,
        shape.head_dim,
        grouped(baseline.mlp_width() as f64)
    )];
    for (index, name) in names.iter().enumerate() {
        if names[..index].contains(name) {
            return Err(MatchError::Twice { name: name.clone() });
        }
        let attention = shape.attention(name, &baseline)?;
        let matched = match name.as_str() {
            "mha" => baseline.clone(),
            _ => match_mlp(with_attention(model, attention), target),
        };
        let impossible = |why: String| MatchError::Impossible {
            name: name.clone(),
            why,
        };
        matched.validate().map_err(|e| impossible(e.to_string()))?;
        let total = Cost::of(&matched).parameters.total;
        let difference = total as f64 / target as f64 - 1.0;
        if difference.abs() > TOLERANCE {
            return Err(impossible(format!(
                "{} parameters differ by {}% from mha's {}, and no MLP width closes that; choose a wider model",
                grouped(total as f64),
                with_decimals(100.0 * difference, 1),
                grouped(target as f64)
            )));
        }
        let attention = describe(&matched.attention);
        lines.push(format!(
            "{name}: {attention}; MLP width {}; {} parameters ({}{}%)",
            grouped(matched.mlp_width() as f64),
            grouped(total as f64),
            if difference < 0.0 { "" } else { "+" },
            with_decimals(100.0 * difference, 2)
        ));
        found.push(Candidate {
            name: name.clone(),
            label: name.to_uppercase(),
            attention,
            model: matched,
        });
    }
    Ok((found, lines))
}

fn with_attention(model: &ModelConfig, attention: AttentionConfig) -> ModelConfig {
    ModelConfig {
        attention,
        ..model.clone()
    }
}

/// The MLP width that brings the total nearest to `target`; at least 1.
fn match_mlp(mut model: ModelConfig, target: u128) -> ModelConfig {
    let total_at = |inner: usize| {
        let sized = ModelConfig {
            mlp_width: Some(inner),
            ..model.clone()
        };
        Cost::of(&sized).parameters.total as i128
    };
    let (one, two) = (total_at(1), total_at(2));
    // The total is linear in the MLP width.
    let inner = 1.0 + (target as i128 - one) as f64 / (two - one) as f64;
    model.mlp_width = Some((inner.round() as usize).max(1));
    model
}

/// What all variants are derived from.
struct Shape {
    width: usize,
    heads: usize,
    head_dim: usize,
    rope_base: f64,
    sas: Option<SasConfig>,
}

impl Shape {
    fn of(model: &ModelConfig) -> Result<Self, MatchError> {
        let (head_dim, rope_base) = match &model.attention {
            AttentionConfig::Mha(c) | AttentionConfig::Mqa(c) => (c.head_dim, c.rope_base),
            AttentionConfig::Gqa(c) => (c.head_dim, c.rope_base),
            AttentionConfig::Sas(c) => (c.head_dim, c.rope_base),
            AttentionConfig::Mla(c) => (c.nope_head_dim, c.rope_base),
            AttentionConfig::Tpa(c) => (c.head_dim, c.rope_base),
            AttentionConfig::Mfa(c) => (c.head_dim, c.rope_base),
        };
        let width = model.width;
        if head_dim == 0 || !width.is_multiple_of(head_dim) {
            return Err(MatchError::Width { width, head_dim });
        }
        Ok(Self {
            width,
            heads: width / head_dim,
            head_dim,
            rope_base,
            sas: match &model.attention {
                AttentionConfig::Sas(c) => Some(c.clone()),
                _ => None,
            },
        })
    }

    fn mha(&self) -> AttentionConfig {
        AttentionConfig::Mha(self.multi_head(self.heads))
    }

    fn multi_head(&self, heads: usize) -> MultiHeadConfig {
        MultiHeadConfig {
            heads,
            head_dim: self.head_dim,
            rope_base: self.rope_base,
            rotary_dim: None,
        }
    }

    /// The variant with the number of heads that brings its attention nearest to the baseline's.
    fn attention(&self, name: &str, baseline: &ModelConfig) -> Result<AttentionConfig, MatchError> {
        let even = |n: usize| (n / 2 * 2).max(2);
        let rope_base = self.rope_base;
        let (step, build): (usize, Box<dyn Fn(usize) -> AttentionConfig + '_>) = match name {
            "mha" => return Ok(self.mha()),
            // 12 → 36 heads and 64 → 96 features with κ = 5, as the paper's sizes stand.
            "sas" => {
                return Ok(AttentionConfig::Sas(self.sas.clone().unwrap_or(
                    SasConfig {
                        heads: self.heads,
                        kv_heads: None,
                        head_dim: self.head_dim,
                        expanded_heads: 3 * self.heads,
                        expanded_head_dim: even(self.head_dim * 3 / 2),
                        kernel_size: 5,
                        expand_heads: true,
                        expand_features: true,
                        residual: true,
                        relu: true,
                        aggregation: Aggregation::Peaa,
                        rope: RopePlacement::After,
                        rope_base,
                        rotary_dim: None,
                    },
                )));
            }
            "mqa" => (
                1,
                Box::new(|heads| AttentionConfig::Mqa(self.multi_head(heads))),
            ),
            "gqa" => (
                2,
                Box::new(|heads| {
                    AttentionConfig::Gqa(GroupedConfig {
                        heads,
                        kv_heads: 2,
                        head_dim: self.head_dim,
                        rope_base,
                        rotary_dim: None,
                    })
                }),
            ),
            "mla" => (
                1,
                Box::new(|heads| {
                    AttentionConfig::Mla(LatentConfig {
                        heads,
                        nope_head_dim: self.head_dim,
                        rope_head_dim: even(self.head_dim / 2),
                        value_head_dim: self.head_dim,
                        query_rank: (2 * self.width / 3).max(1),
                        kv_rank: (self.width / 3).max(1),
                        rope_base,
                    })
                }),
            ),
            "mfa" => (
                1,
                Box::new(|heads| {
                    AttentionConfig::Mfa(FactorisedConfig {
                        heads,
                        head_dim: self.head_dim,
                        query_rank: (self.width / 2).max(1),
                        rope_base,
                    })
                }),
            ),
            "tpa" => (
                1,
                Box::new(|heads| {
                    AttentionConfig::Tpa(TensorProductConfig {
                        heads,
                        head_dim: self.head_dim,
                        query_rank: Some(6),
                        kv_rank: 2,
                        rope_base,
                    })
                }),
            ),
            unknown => {
                return Err(MatchError::Unknown {
                    name: unknown.to_owned(),
                    known: VARIANTS.join(", "),
                });
            }
        };
        let target = Cost::of(baseline).parameters.attention;
        let distance = |heads: usize| {
            let sized = with_attention(baseline, build(heads));
            Cost::of(&sized).parameters.attention.abs_diff(target)
        };
        // The count grows with the heads: walk up until it moves away again.
        let mut heads = step;
        while distance(heads + step) < distance(heads) {
            heads += step;
        }
        Ok(build(heads))
    }
}

/// One line about an attention's shape.
pub fn describe(attention: &AttentionConfig) -> String {
    match attention {
        AttentionConfig::Mha(c) => format!("{} heads of width {}", c.heads, c.head_dim),
        AttentionConfig::Mqa(c) => format!(
            "{} query heads, 1 key/value head, width {}",
            c.heads, c.head_dim
        ),
        AttentionConfig::Gqa(c) => format!(
            "{} query heads, {} key/value heads, width {}",
            c.heads, c.kv_heads, c.head_dim
        ),
        AttentionConfig::Sas(c) => {
            let kv = match c.kv_heads() {
                kv if kv == c.heads => String::new(),
                kv => format!(" ({kv} key/value heads)"),
            };
            format!(
                "{} to {} heads{kv}, width {} to {}, kernel {}",
                c.heads, c.expanded_heads, c.head_dim, c.expanded_head_dim, c.kernel_size
            )
        }
        AttentionConfig::Mla(c) => format!(
            "{} heads, width {} + {} rotated, ranks {} (q) and {} (kv)",
            c.heads, c.nope_head_dim, c.rope_head_dim, c.query_rank, c.kv_rank
        ),
        AttentionConfig::Tpa(c) => format!(
            "{} heads of width {}, ranks {} (q) and {} (kv)",
            c.heads,
            c.head_dim,
            c.query_rank.map_or("full".into(), |rank| rank.to_string()),
            c.kv_rank
        ),
        AttentionConfig::Mfa(c) => format!(
            "{} query heads of rank {}, 1 key/value head, width {}",
            c.heads, c.query_rank, c.head_dim
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(width: usize, head_dim: usize, layers: usize, vocabulary: usize) -> ModelConfig {
        let attention = AttentionConfig::Mha(MultiHeadConfig {
            heads: width / head_dim,
            head_dim,
            rope_base: 10_000.0,
            rotary_dim: None,
        });
        let mut model = ModelConfig::neox(128, layers, width, attention);
        model.vocabulary = vocabulary;
        model
    }

    fn all() -> Vec<String> {
        VARIANTS.map(str::to_owned).to_vec()
    }

    #[test]
    fn every_variant_comes_within_two_percent() {
        for (width, head_dim) in [(96, 16), (128, 32), (256, 64), (768, 64)] {
            for style in [model(width, head_dim, 4, 1024), {
                let base = model(width, head_dim, 3, 512);
                let mut llama = ModelConfig::llama(64, 3, width, base.attention);
                llama.vocabulary = 512;
                llama
            }] {
                let (found, lines) = candidates(&style, &all()).unwrap();
                assert_eq!(lines.len(), 1 + found.len());
                let target = Cost::of(&found[0].model).parameters.total as f64;
                for candidate in &found {
                    let total = Cost::of(&candidate.model).parameters.total as f64;
                    let off = (total / target - 1.0).abs();
                    assert!(off < TOLERANCE, "{width}: {} {off}", candidate.name);
                }
            }
        }
    }

    #[test]
    fn heads_are_those_of_the_published_small_models() {
        let (found, _) = candidates(&model(768, 64, 12, 50304), &all()).unwrap();
        let heads: Vec<usize> = found
            .iter()
            .map(|candidate| match &candidate.model.attention {
                AttentionConfig::Mha(c) | AttentionConfig::Mqa(c) => c.heads,
                AttentionConfig::Gqa(c) => c.heads,
                AttentionConfig::Mla(c) => c.heads,
                AttentionConfig::Tpa(c) => c.heads,
                AttentionConfig::Mfa(c) => c.heads,
                AttentionConfig::Sas(c) => c.heads,
            })
            .collect();
        // mha, gqa, mqa, mla, mfa (not in that table), tpa, sas
        assert_eq!([heads[0], heads[1], heads[2], heads[6]], [12, 22, 23, 12]);
        assert!(heads[3].abs_diff(13) <= 1, "mla {}", heads[3]);
        assert!(heads[5].abs_diff(34) <= 1, "tpa {}", heads[5]);
    }

    #[test]
    fn what_cannot_be_matched_is_named() {
        let error = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|&n| n.to_owned()).collect();
            candidates(&model(128, 32, 2, 64), &names)
                .unwrap_err()
                .to_string()
        };
        assert!(error(&["mha", "mhaa"]).contains("`mhaa`"));
        assert!(error(&["mha", "mha"]).contains("twice"));
        let mut odd = model(128, 32, 2, 64);
        odd.width = 100;
        assert!(candidates(&odd, &all()).is_err());
    }
}
