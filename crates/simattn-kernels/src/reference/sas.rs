use burn::tensor::Tensor;

use super::{
    FeatureExpansion, HeadExpansion, RopeTable, attention, expand_features, expand_heads, rotate,
};
use crate::call::{self, Aggregation, AttentionOptions, Qkv, RopePlacement, SasOptions};

/// The maps that one of q, k, v goes through; a stage that is `None` is left out.
pub type Expansion = call::Expansion<HeadExpansion, FeatureExpansion>;

/// The expansions of q, k and v, each with its own weights; that of v of heads only.
pub type SasWeights = Qkv<Expansion>;

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
    let heads = q.dims()[2];
    let q = sas_expand(q, &weights.q, tables.map(|t| t.0), options);
    let k = sas_expand(k, &weights.k, tables.map(|t| t.1), options);
    let v = sas_expand(v, &weights.v, None, options);
    let out = attend(q, k, v, &options.attention);
    sas_aggregate(out, heads, options.aggregation)
}

/// One of q, k, v on its way to attention: heads and features expanded, and turned by `table`, that
/// of its T positions, where the options say so (v is never turned). [B, T, G, D] → [B, H', T, D'],
/// or fewer heads or features where a stage is left out.
pub fn sas_expand(
    x: Tensor<4>,
    expansion: &Expansion,
    table: Option<&RopeTable>,
    options: &SasOptions,
) -> Tensor<4> {
    let rotate_at = |x: Tensor<4>, here: RopePlacement| match table {
        Some(table) if options.rope == here => rotate(x, table),
        _ => x,
    };
    let mut x = rotate_at(x, RopePlacement::Before);
    if let Some(heads) = &expansion.heads {
        x = expand_heads(x, heads, options.expansion);
    }
    if let Some(features) = &expansion.features {
        x = expand_features(x, features, options.expansion);
    }
    rotate_at(x, RopePlacement::After).swap_dims(1, 2)
}

/// What attention over H' expanded heads gave, [B, H', T, D], for `heads` H projected ones: [B, T,
/// H·D] with [`Aggregation::Peaa`], [B, T, H'·D] with [`Aggregation::Full`].
pub fn sas_aggregate(out: Tensor<4>, heads: usize, aggregation: Aggregation) -> Tensor<3> {
    let out = out.swap_dims(1, 2);
    let [batch, tokens, expanded, width] = out.dims();
    match aggregation {
        Aggregation::Full => out.reshape([batch, tokens, expanded * width]),
        Aggregation::Peaa => out
            .reshape([batch, tokens, expanded / heads, heads * width])
            .mean_dim(2)
            .reshape([batch, tokens, heads * width]),
    }
}
