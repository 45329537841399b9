//! The norm over each head's features, where a model has one.

use burn::{module::Param, tensor::Tensor};

use super::pass::Pass;
use crate::{
    config::ModelConfig,
    init::{Draw, Initialiser},
};

/// The weight of a norm over each head's features, where the configuration asks for one.
pub(super) fn head_norm(
    config: &ModelConfig,
    name: &str,
    head_dim: usize,
    init: &Initialiser,
) -> Option<Param<Tensor<1>>> {
    let ones = || {
        init.at(name)
            .parameter("weight", [head_dim], Draw::Constant(1.0))
    };
    config.qk_norm.then(ones)
}

/// `x` [B, T, H, D] with every head normalised, or as it is without a weight.
pub(super) fn normed(
    x: Tensor<4>,
    weight: &Option<Param<Tensor<1>>>,
    epsilon: f64,
    pass: &Pass<'_>,
) -> Tensor<4> {
    match weight {
        Some(weight) => pass.kernels.rms_norm(x, weight.val(), epsilon),
        None => x,
    }
}
