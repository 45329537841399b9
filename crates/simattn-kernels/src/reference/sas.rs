use burn::tensor::Tensor;

use super::{
    AttentionOptions, ExpansionOptions, FeatureExpansion, HeadExpansion, RopeTable, attention,
    expand_features, expand_heads, rotate,
};

/// The maps that one of q, k, v goes through; a stage that is `None` is left out.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    /// H → H' heads.
    pub heads: Option<HeadExpansion>,
    /// D → D' features (q and k only: v keeps its width).
    pub features: Option<FeatureExpansion>,
}

/// The expansions of q, k and v, each with its own weights.
#[derive(Clone, Debug, Default)]
pub struct SasWeights {
    /// For q, from H heads.
    pub q: Expansion,
    /// For k, from G heads.
    pub k: Expansion,
    /// For v, from G heads, heads only.
    pub v: Expansion,
}

/// Where rotary position embeddings go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RopePlacement {
    /// On the expanded q and k, width D': keeps relative positions, learns best.
    #[default]
    After,
    /// On the compact q and k, width D; the expansions then mix the rotated pairs.
    Before,
    /// Nowhere.
    None,
}

/// What becomes of the r = H'/H groups of heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Parameter-efficient attention aggregation: the groups are averaged; one projection
    /// H·D → C follows.
    #[default]
    Peaa,
    /// All heads are kept; a projection H'·D → C follows.
    Full,
}

/// Everything about [`sas_attention`] that is not a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SasOptions {
    /// Scale, causality, offset and window of the attention over the expanded heads.
    pub attention: AttentionOptions,
    /// Residuals and ReLU of the expansions.
    pub expansion: ExpansionOptions,
    /// Where the rotation goes; the tables are given apart.
    pub rope: RopePlacement,
    /// Averaged groups or all heads.
    pub aggregation: Aggregation,
}

/// Simulated attention (arXiv 2507.07694) between the projections: expansion of q, k and v,
/// attention over the expanded heads, aggregation.
///
/// `q` [B, T, H, D], `k` and `v` [B, S, G, D] → [B, T, H·D] with [`Aggregation::Peaa`], where
/// feature (i, d) is the mean over g of expanded head g·H + i, or [B, T, H'·D] with
/// [`Aggregation::Full`]. `tables` are those of the queries' and of the keys' positions; they
/// are not used with [`RopePlacement::None`].
///
/// Averaging before the output projection equals averaging the r projected groups, as the paper
/// writes it, because the projection is affine.
pub fn sas_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    weights: &SasWeights,
    tables: Option<(&RopeTable, &RopeTable)>,
    options: &SasOptions,
) -> Tensor<3> {
    sas_attention_through(attention, q, k, v, weights, tables, options)
}

/// [`sas_attention`] whose attention over the expanded heads is `attend`.
pub(crate) fn sas_attention_through(
    attend: fn(Tensor<4>, Tensor<4>, Tensor<4>, &AttentionOptions) -> Tensor<4>,
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    weights: &SasWeights,
    tables: Option<(&RopeTable, &RopeTable)>,
    options: &SasOptions,
) -> Tensor<3> {
    let [batch, tokens, heads, _] = q.dims();
    let rotate_at = |x: Tensor<4>, table: Option<&RopeTable>, here: RopePlacement| match table {
        Some(table) if options.rope == here => rotate(x, table),
        _ => x,
    };
    let expand = |x: Tensor<4>, expansion: &Expansion, table: Option<&RopeTable>| {
        let mut x = rotate_at(x, table, RopePlacement::Before);
        if let Some(heads) = &expansion.heads {
            x = expand_heads(x, heads, options.expansion);
        }
        if let Some(features) = &expansion.features {
            x = expand_features(x, features, options.expansion);
        }
        // Attention reads [B, heads, tokens, width].
        rotate_at(x, table, RopePlacement::After).swap_dims(1, 2)
    };
    let q = expand(q, &weights.q, tables.map(|t| t.0));
    let k = expand(k, &weights.k, tables.map(|t| t.1));
    let v = expand(v, &weights.v, None);
    let out = attend(q, k, v, &options.attention).swap_dims(1, 2);
    let [_, _, expanded, width] = out.dims();
    match options.aggregation {
        Aggregation::Full => out.reshape([batch, tokens, expanded * width]),
        Aggregation::Peaa => out
            .reshape([batch, tokens, expanded / heads, heads * width])
            .mean_dim(2)
            .reshape([batch, tokens, heads * width]),
    }
}
