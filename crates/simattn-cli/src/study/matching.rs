//! Models that differ in their attention and have as many parameters as the baseline.
//!
//! The baseline is multi-head attention with H heads of width D. Every other variant gets the
//! number of heads whose attention comes nearest to the baseline's in parameters (the TPA authors
//! match so, arXiv 2501.06425), and the width of its MLPs then takes up what is left. Ranks and
//! shares follow the published models at C = 768.

use serde::{Deserialize, Serialize};
use simattn::{
    Aggregation, AttentionConfig, FactorisedConfig, GroupedConfig, LatentConfig, ModelConfig,
    MultiHeadConfig, RopePlacement, SasConfig, TensorProductConfig, cost::Cost,
};
use thiserror::Error;

use super::as_toml;
use super::description::{Description, DescriptionError, SAS_LIGHT};
use crate::quantity::{grouped, with_decimals};

/// A variant ready to train.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    /// `mha`, `gqa`, …
    pub name: String,
    /// As tables show it.
    pub label: String,
    /// One line about heads, widths and ranks.
    pub attention: String,
    /// The model, vocabulary filled in.
    #[serde(with = "as_toml")]
    pub model: ModelConfig,
}

/// Why variants could not be matched. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum MatchError {
    /// A description that fits no configuration.
    #[error(transparent)]
    Description(#[from] DescriptionError),
    /// The same variant twice, perhaps in other words.
    #[error("--variant: `{name}` and `{other}` are the same attention; name it once")]
    Twice {
        /// The first.
        name: String,
        /// The second.
        other: String,
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

/// Largest relative difference of parameters that counts as matched.
pub(crate) const TOLERANCE: f64 = 0.02;

/// Beyond any model's number of heads: fixed fields that no number of heads suits end the search.
const MOST_HEADS: usize = 1 << 16;

/// What is held equal between the variants' sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Match {
    /// The parameters, by the number of heads and the width of the MLP.
    Parameters,
    /// Nothing: every variant has the configuration's MLP.
    None,
}

/// The described variants, each with as many parameters as multi-head attention in `model`, and
/// the lines that say how that was reached.
///
/// `model` gives everything but the attention; of its attention, the head width (and, if it is
/// SAS, the whole SAS configuration) is taken over. Fields that a description fixes stay as they
/// are; the number of heads and the MLP's width take up the rest.
///
/// # Errors
/// Descriptions that fit no configuration or describe the same attention, and variants that no
/// number of heads brings near.
pub(crate) fn candidates(
    model: &ModelConfig,
    descriptions: &[Description],
    matched: Match,
) -> Result<(Vec<Candidate>, Vec<String>), MatchError> {
    let shape = Shape::of(model)?;
    let baseline = with_attention(model, shape.mha());
    let target = Cost::of(&baseline).parameters.total;
    let mut found: Vec<Candidate> = Vec::new();
    let mut lines = vec![format!(
        "target: {} parameters, those of mha with {} heads of width {} and an MLP of width {}",
        grouped(target as f64),
        shape.heads,
        shape.head_dim,
        grouped(baseline.mlp_width() as f64)
    )];
    for description in descriptions {
        let attention = shape.described(description, &baseline)?;
        let candidate = Candidate {
            name: description.name(),
            label: description.label(),
            attention: describe(&attention),
            model: match (matched, attention == baseline.attention) {
                (Match::None, _) | (_, true) => with_attention(model, attention),
                (Match::Parameters, false) => match_mlp(with_attention(model, attention), target),
            },
        };
        let (model, name) = (&candidate.model, &candidate.name);
        let impossible = |why: String| MatchError::Impossible {
            name: name.clone(),
            why,
        };
        model.validate().map_err(|e| impossible(e.to_string()))?;
        let same = |other: &&Candidate| other.model.attention == model.attention;
        if let Some(other) = found.iter().find(same) {
            return Err(MatchError::Twice {
                name: other.name.clone(),
                other: candidate.name,
            });
        }
        let total = Cost::of(model).parameters.total;
        let difference = total as f64 / target as f64 - 1.0;
        if matched == Match::Parameters && difference.abs() > TOLERANCE {
            return Err(impossible(format!(
                "{} parameters differ by {}% from mha's {}, and no MLP width closes that; choose a wider model",
                grouped(total as f64),
                with_decimals(100.0 * difference, 1),
                grouped(target as f64)
            )));
        }
        lines.push(format!(
            "{name}: {}; MLP width {}; {} parameters ({}{}%)",
            candidate.attention,
            grouped(model.mlp_width() as f64),
            grouped(total as f64),
            if difference < 0.0 { "" } else { "+" },
            with_decimals(100.0 * difference, 2)
        ));
        found.push(candidate);
    }
    Ok((found, lines))
}

/// Multi-head attention with as many parameters as `model`: its depth, width and head width, and an
/// MLP that takes up what the attention leaves.
///
/// # Errors
/// A width that holds no whole heads, and a model that no MLP's width comes near.
pub(crate) fn multi_head_of_equal_parameters(
    model: &ModelConfig,
) -> Result<ModelConfig, MatchError> {
    let attention = Shape::of(model)?.mha();
    if attention == model.attention {
        return Ok(model.clone());
    }
    let target = Cost::of(model).parameters.total;
    let matched = match_mlp(with_attention(model, attention), target);
    let difference = Cost::of(&matched).parameters.total as f64 / target as f64 - 1.0;
    if difference.abs() <= TOLERANCE {
        Ok(matched)
    } else {
        Err(MatchError::Impossible {
            name: "mha".to_owned(),
            why: "no MLP width gives it as many parameters".to_owned(),
        })
    }
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

    /// The described variant; where its heads are not fixed, with the number of them that brings
    /// its attention nearest to the baseline's.
    fn described(
        &self,
        description: &Description,
        baseline: &ModelConfig,
    ) -> Result<AttentionConfig, MatchError> {
        let with_heads = |heads: usize| self.of_kind(description.kind(), heads);
        let derived = with_heads(self.heads);
        if description.fixes("heads") || matches!(description.kind(), "mha" | "sas" | SAS_LIGHT) {
            return Ok(description.applied_to(derived)?);
        }
        let target = Cost::of(baseline).parameters.attention;
        let distance = |attention: &AttentionConfig| {
            let sized = with_attention(baseline, attention.clone());
            Cost::of(&sized).parameters.attention.abs_diff(target)
        };
        // Heads come in groups that share a key/value head.
        let step = match description.applied_to(derived)? {
            AttentionConfig::Gqa(c) => c.kv_heads.max(1),
            _ => 1,
        };
        // The count grows with the heads: walk up until it moves away again.
        let mut heads = step;
        let mut best = description.applied_to(with_heads(heads))?;
        while let Some(more) = heads.checked_add(step).filter(|&more| more <= MOST_HEADS) {
            heads = more;
            let next = description.applied_to(with_heads(heads))?;
            if distance(&next) >= distance(&best) {
                break;
            }
            best = next;
        }
        Ok(best)
    }

    /// A kind of attention with `heads` heads and everything else as the published models have it.
    fn of_kind(&self, kind: &str, heads: usize) -> AttentionConfig {
        let even = |n: usize| (n / 2 * 2).max(2);
        let rope_base = self.rope_base;
        match kind {
            "sas" => AttentionConfig::Sas(self.sas()),
            SAS_LIGHT => AttentionConfig::Sas(light(&self.sas())),
            "mqa" => AttentionConfig::Mqa(self.multi_head(heads)),
            "gqa" => AttentionConfig::Gqa(GroupedConfig {
                heads,
                kv_heads: 2,
                head_dim: self.head_dim,
                rope_base,
                rotary_dim: None,
            }),
            "mla" => AttentionConfig::Mla(LatentConfig {
                heads,
                nope_head_dim: self.head_dim,
                rope_head_dim: even(self.head_dim / 2),
                value_head_dim: self.head_dim,
                query_rank: (2 * self.width / 3).max(1),
                kv_rank: (self.width / 3).max(1),
                rope_base,
            }),
            "mfa" => AttentionConfig::Mfa(FactorisedConfig {
                heads,
                head_dim: self.head_dim,
                query_rank: (self.width / 2).max(1),
                rope_base,
            }),
            "tpa" => AttentionConfig::Tpa(TensorProductConfig {
                heads,
                head_dim: self.head_dim,
                query_rank: Some(6),
                kv_rank: 2,
                rope_base,
            }),
            // A description names no other kind.
            _ => AttentionConfig::Mha(self.multi_head(heads)),
        }
    }

    /// The configuration's, or the paper's.
    fn sas(&self) -> SasConfig {
        self.sas.clone().unwrap_or_else(|| self.published_sas())
    }

    /// 12 → 36 heads and 64 → 96 features with κ = 5, in proportion: the paper's sizes.
    fn published_sas(&self) -> SasConfig {
        SasConfig {
            heads: self.heads,
            kv_heads: None,
            head_dim: self.head_dim,
            expanded_heads: 3 * self.heads,
            expanded_head_dim: (self.head_dim * 3 / 2 / 2 * 2).max(2),
            kernel_size: 5,
            expand_heads: true,
            expand_features: true,
            residual: true,
            relu: true,
            aggregation: Aggregation::Peaa,
            rope: RopePlacement::After,
            rope_base: self.rope_base,
            rotary_dim: None,
        }
    }
}

/// `sas` with twice the heads, and one width for q, k and v.
pub(crate) fn light(sas: &SasConfig) -> SasConfig {
    SasConfig {
        expand_heads: true,
        expanded_heads: 2 * sas.heads,
        expand_features: false,
        expanded_head_dim: sas.head_dim,
        rotary_dim: sas.rotary_dim.filter(|&width| width <= sas.head_dim),
        ..sas.clone()
    }
}

/// One line about an attention's shape.
pub(crate) fn describe(attention: &AttentionConfig) -> String {
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
    use super::super::description::VARIANTS;
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

    fn described(names: &[&str]) -> Vec<Description> {
        names
            .iter()
            .map(|name| name.parse().expect("a description"))
            .collect()
    }

    fn matched(model: &ModelConfig, names: &[&str]) -> Result<Vec<Candidate>, String> {
        candidates(model, &described(names), Match::Parameters)
            .map(|(found, _)| found)
            .map_err(|error| error.to_string())
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
                let (found, lines) =
                    candidates(&style, &described(&VARIANTS), Match::Parameters).unwrap();
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
        let found = matched(&model(768, 64, 12, 50304), &VARIANTS).unwrap();
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
        // mha, gqa, mqa, mla, mfa (not in that table), tpa, sas, sas-light (nor is this)
        assert_eq!([heads[0], heads[1], heads[2], heads[6]], [12, 22, 23, 12]);
        assert_eq!(
            found[7].attention,
            "12 to 24 heads, width 64 to 64, kernel 5"
        );
        assert!(heads[3].abs_diff(13) <= 1, "mla {}", heads[3]);
        assert!(heads[5].abs_diff(34) <= 1, "tpa {}", heads[5]);
    }

    #[test]
    fn fixed_fields_stay_and_the_rest_is_matched() {
        let names = [
            "mha",
            "sas:expand_features=false",
            "gqa:kv_heads=4",
            "tpa:heads=8",
            "mha:heads=4",
        ];
        let found = matched(&model(256, 32, 4, 512), &names).unwrap();
        let target = Cost::of(&found[0].model).parameters.total as f64;
        for candidate in &found {
            let total = Cost::of(&candidate.model).parameters.total as f64;
            assert!(
                (total / target - 1.0).abs() < TOLERANCE,
                "{}",
                candidate.name
            );
        }
        assert!(found[1].attention.contains("8 to 24 heads, width 32 to 32"));
        let AttentionConfig::Gqa(gqa) = &found[2].model.attention else {
            panic!("another kind");
        };
        assert_eq!((gqa.kv_heads, gqa.heads % 4), (4, 0));
        assert!(found[3].attention.starts_with("8 heads"));
        assert!(found[4].model.mlp_width() > found[0].model.mlp_width());
        let free = candidates(&model(256, 32, 4, 512), &described(&names), Match::None);
        let (free, _) = free.unwrap();
        assert!(
            free.iter()
                .all(|c| c.model.mlp_width() == found[0].model.mlp_width())
        );
    }

    #[test]
    fn what_cannot_be_matched_is_named() {
        let error = |names: &[&str]| matched(&model(128, 32, 2, 64), names).unwrap_err();
        assert!(error(&["mha", "mha"]).contains("same attention"));
        let twice = ["sas-light", "sas:expand_features=false,expanded_heads=8"];
        assert!(error(&twice).contains("the same attention"));
        assert!(error(&["sas", "sas:kernel_size=5"]).contains("`sas` and `sas:kernel_size=5`"));
        assert!(error(&["sas:kernel_size=4"]).contains("kernel_size = 4"));
        assert!(error(&["sas:expanded_heads=9"]).contains("expanded_heads"));
        assert!(error(&["sas:expand_features=false,expanded_head_dim=48"]).contains("stays"));
        assert!(error(&["mha:heads=200"]).contains("no MLP width closes that"));
        let mut odd = model(128, 32, 2, 64);
        odd.width = 100;
        assert!(matched(&odd, &VARIANTS).is_err());
    }
}
