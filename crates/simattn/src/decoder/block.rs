use burn::{module::Module, tensor::Tensor};

use super::{mlp::FeedForward, norm::Normalisation};
use crate::{
    attention::{Attention, Pass},
    config::ModelConfig,
    init::Initialiser,
};

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`; with `parallel_residual` both at once.
#[derive(Module, Debug)]
pub struct Block {
    /// Before the attention.
    pub attention_norm: Normalisation,
    /// The variant under study.
    pub attention: Attention,
    /// Before the MLP.
    pub mlp_norm: Normalisation,
    /// The feed-forward half.
    pub mlp: FeedForward,
    #[module(skip)]
    parallel: bool,
}

impl Block {
    pub(super) fn new(config: &ModelConfig, init: &Initialiser) -> Self {
        let norm = |name| {
            Normalisation::new(
                config.norm,
                config.width,
                config.norm_epsilon,
                &init.at(name),
            )
        };
        Self {
            attention_norm: norm("attention_norm"),
            attention: Attention::new(config, &init.at("attention")),
            mlp_norm: norm("mlp_norm"),
            mlp: FeedForward::new(config, &init.at("mlp")),
            parallel: config.parallel_residual,
        }
    }

    pub(super) fn forward(&self, x: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let normed = |norm: &Normalisation, x: &Tensor<3>| {
            pass.precision.normed(norm.normed(x.clone(), pass.kernels))
        };
        let attention = self
            .attention
            .of_normed(&normed(&self.attention_norm, &x), pass);
        let attention = pass.precision.widen(attention);
        if self.parallel {
            let beside = self.mlp.forward(&normed(&self.mlp_norm, &x), pass.kernels);
            return x + attention + pass.precision.widen(beside);
        }
        let x = pass.behind(x + attention, &(self.mlp_norm.clone(), self.mlp.clone()));
        let mlp = self.mlp.forward(&normed(&self.mlp_norm, &x), pass.kernels);
        x + pass.precision.widen(mlp)
    }
}
