use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use simattn_kernels::ops::Normed;
use simattn_kernels::reference::AttentionOptions;

use super::{
    head_norm::{head_norm, normed},
    pass::Pass,
};
use crate::{config::ModelConfig, init::Initialiser, linear::Linear};

/// Attention whose query heads share key/value heads: MHA (G = H), GQA (1 < G < H; arXiv
/// 2305.13245) and MQA (G = 1; arXiv 1911.02150).
///
/// q: C → H·D, k and v: C → G·D, rotary embeddings on q and k, scale 1/√D, output H·D → C.
/// Query head h reads key/value head ⌊h / (H/G)⌋.
#[derive(Module, Debug)]
pub struct GroupedAttention {
    /// C → H·D.
    pub q: Linear,
    /// C → G·D.
    pub k: Linear,
    /// C → G·D.
    pub v: Linear,
    /// H·D → C.
    pub out: Linear,
    /// RMSNorm weight `[D]` on every head of q, before its positions; only with `qk_norm`.
    pub q_norm: Option<Param<Tensor<1>>>,
    /// The same on k.
    pub k_norm: Option<Param<Tensor<1>>>,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    kv_heads: usize,
    #[module(skip)]
    head_dim: usize,
    #[module(skip)]
    norm_epsilon: f64,
}

impl GroupedAttention {
    /// H = `heads`, G = `kv_heads`, D = `head_dim`.
    pub fn new(
        config: &ModelConfig,
        heads: usize,
        kv_heads: usize,
        head_dim: usize,
        init: &Initialiser,
    ) -> Self {
        let (width, bias) = (config.width, config.qkv_bias());
        let project =
            |name, outputs| Linear::new(width, outputs, bias, init.inner(), &init.at(name));
        Self {
            q: project("q", heads * head_dim),
            k: project("k", kv_heads * head_dim),
            v: project("v", kv_heads * head_dim),
            out: Linear::new(
                heads * head_dim,
                width,
                config.out_bias(),
                init.residual(),
                &init.at("out"),
            ),
            q_norm: head_norm(config, "q_norm", head_dim, init),
            k_norm: head_norm(config, "k_norm", head_dim, init),
            heads,
            kv_heads,
            head_dim,
            norm_epsilon: config.norm_epsilon,
        }
    }

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: &Normed<3>, pass: &Pass<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.value().dims();
        let project = |layer: &Linear, heads: usize| {
            layer
                .of_normed(x, pass.kernels)
                .reshape([batch, tokens, heads, self.head_dim])
        };
        let scaled = |x, weight| normed(x, weight, self.norm_epsilon, pass);
        let q = scaled(project(&self.q, self.heads), &self.q_norm);
        let k = scaled(project(&self.k, self.kv_heads), &self.k_norm);
        let q = pass.rotate(q).swap_dims(1, 2);
        let k = pass.rotate(k).swap_dims(1, 2);
        let v = project(&self.v, self.kv_heads).swap_dims(1, 2);
        let options = AttentionOptions::causal(self.head_dim);
        let y = pass.attention(q, k, v, &options).swap_dims(1, 2);
        let y = y.reshape([batch, tokens, self.heads * self.head_dim]);
        self.out.forward(pass.behind(y, &self.out), pass.kernels)
    }
}
