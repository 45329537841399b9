use burn::tensor::{Tensor, activation::relu, module::conv1d, ops::ConvOptions};

use super::linear;
use crate::call::{ExpansionOptions, Stage};

/// Weights of a head expansion, H → H' heads (SAS, section on head simulation).
pub type HeadExpansion = Stage<Tensor<3>, Tensor<1>>;

/// Weights of a feature expansion, D → D' (SAS, section on feature simulation).
pub type FeatureExpansion = Stage<Tensor<2>, Tensor<1>>;

/// The end of an expansion, from the first map's result; `map` is the second map.
fn second<const R: usize>(
    options: ExpansionOptions,
    first: Tensor<R>,
    map: impl FnOnce(Tensor<R>) -> Tensor<R>,
) -> Tensor<R> {
    let input = first.clone();
    let mapped = map(if options.relu { relu(input) } else { input });
    if options.residual {
        first + mapped
    } else {
        mapped
    }
}

/// Head expansion: `E1 = Conv1d(H→H', κ)(x)`, then `E1 + Conv1d(H'→H', κ)(relu(E1))`.
///
/// `x` [B, T, H, D] → [B, T, H', D]. The heads of one token are the channels and its D features
/// the positions, zero-padded by (κ−1)/2 on both sides: no token sees another.
pub fn expand_heads(x: Tensor<4>, weights: &HeadExpansion, options: ExpansionOptions) -> Tensor<4> {
    let [batch, tokens, heads, width] = x.dims();
    let [expanded, _, kernel_size] = weights.first_weight.dims();
    let padding = ConvOptions::new([1], [(kernel_size - 1) / 2], [1], 1);
    let rows = x.reshape([batch * tokens, heads, width]);
    let first = conv1d(
        rows,
        weights.first_weight.clone(),
        Some(weights.first_bias.clone()),
        padding.clone(),
    );
    let expanded_rows = second(options, first, |x| {
        conv1d(
            x,
            weights.second_weight.clone(),
            Some(weights.second_bias.clone()),
            padding,
        )
    });
    expanded_rows.reshape([batch, tokens, expanded, width])
}

/// Feature expansion: `F1 = Linear(D→D')(x)`, then `F1 + Linear(D'→D')(relu(F1))`, the same
/// weights for every head. `x` [B, T, H, D] → [B, T, H, D'].
pub fn expand_features(
    x: Tensor<4>,
    weights: &FeatureExpansion,
    options: ExpansionOptions,
) -> Tensor<4> {
    let first = linear(
        x,
        weights.first_weight.clone(),
        Some(weights.first_bias.clone()),
    );
    second(options, first, |x| {
        linear(
            x,
            weights.second_weight.clone(),
            Some(weights.second_bias.clone()),
        )
    })
}
