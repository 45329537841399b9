use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use simattn_kernels::ops::Normed;
use simattn_kernels::reference::AttentionOptions;

use super::{latent::LATENT_EPSILON, pass::Pass};
use crate::{
    config::{FactorisedConfig, ModelConfig},
    init::{Draw, Initialiser},
    linear::Linear,
};

/// Multi-matrix factorisation attention (MFA, arXiv 2412.19255).
///
/// Many query heads from a low-rank factorisation, `q = W_up · RMSNorm(W_down · x)`, and one
/// shared key/value head of width D_c; rotary embeddings on q and k, scale 1/√D_c. No biases.
#[derive(Module, Debug)]
pub struct FactorisedAttention {
    /// C → query rank.
    pub q_down: Linear,
    /// RMSNorm weight on the queries' latent.
    pub q_norm: Param<Tensor<1>>,
    /// Query rank → n·D_c.
    pub q_up: Linear,
    /// C → D_c.
    pub k: Linear,
    /// C → D_c.
    pub v: Linear,
    /// n·D_c → C.
    pub out: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    head_dim: usize,
}

impl FactorisedAttention {
    /// As the (validated) configuration says.
    pub fn new(config: &ModelConfig, c: &FactorisedConfig, init: &Initialiser) -> Self {
        let map = |name, inputs, outputs| {
            Linear::new(inputs, outputs, false, init.inner(), &init.at(name))
        };
        let all = c.heads * c.head_dim;
        Self {
            q_down: map("q_down", config.width, c.query_rank),
            q_norm: init
                .at("q_norm")
                .parameter("weight", [c.query_rank], Draw::Constant(1.0)),
            q_up: map("q_up", c.query_rank, all),
            k: map("k", config.width, c.head_dim),
            v: map("v", config.width, c.head_dim),
            out: Linear::new(all, config.width, false, init.residual(), &init.at("out")),
            heads: c.heads,
            head_dim: c.head_dim,
        }
    }

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: &Normed<3>, pass: &Pass<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.value().dims();
        let kernels = pass.kernels;
        let latent = self.q_down.of_normed(x, kernels);
        let latent = kernels.rms_norm(latent, self.q_norm.val(), LATENT_EPSILON);
        let q = self.q_up.forward(latent, kernels);
        let heads = |t: Tensor<3>, heads| t.reshape([batch, tokens, heads, self.head_dim]);
        let q = pass.rotate(heads(q, self.heads)).swap_dims(1, 2);
        let k = heads(self.k.of_normed(x, kernels), 1);
        let k = pass.rotate(k).swap_dims(1, 2);
        let v = heads(self.v.of_normed(x, kernels), 1).swap_dims(1, 2);
        let options = AttentionOptions::causal(self.head_dim);
        let y = pass.attention(q, k, v, &options).swap_dims(1, 2).reshape([
            batch,
            tokens,
            self.heads * self.head_dim,
        ]);
        self.out.forward(pass.behind(y, &self.out), kernels)
    }
}
