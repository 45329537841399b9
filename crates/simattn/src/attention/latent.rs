use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use simattn_kernels::{Kernels, ops::Normed, reference::AttentionOptions};

use super::{
    continued::{Continued, Kept},
    pass::Pass,
};
use crate::{
    config::{LatentConfig, ModelConfig},
    init::{Draw, Initialiser},
    linear::Linear,
};

/// ε of the latents' RMSNorm, as in DeepSeek-V2.
pub(crate) const LATENT_EPSILON: f64 = 1e-6;

/// Multi-head latent attention (MLA, DeepSeek-V2, arXiv 2405.04434 section 2.1).
///
/// `q = W_qb · RMSNorm(W_qa · x)`; `[c, k_r] = W_kva · x`; `[k_nope, v] = W_kvb · RMSNorm(c)` per
/// head. Rotary embeddings turn the rope parts only, k_r is shared by all heads, scale
/// 1/√(D_nope + D_rope). No biases, whatever the model's other layers have.
#[derive(Module, Debug)]
pub struct LatentAttention {
    /// C → query rank.
    pub q_down: Linear,
    /// RMSNorm weight on the queries' latent.
    pub q_norm: Param<Tensor<1>>,
    /// Query rank → H·(D_nope + D_rope), nope before rope in each head.
    pub q_up: Linear,
    /// C → kv rank + D_rope, the latent before the rotated key.
    pub kv_down: Linear,
    /// RMSNorm weight on the latent of keys and values.
    pub kv_norm: Param<Tensor<1>>,
    /// Kv rank → H·(D_nope + D_v), k before v in each head.
    pub kv_up: Linear,
    /// H·D_v → C.
    pub out: Linear,
    #[module(skip)]
    config: LatentConfig,
}

impl LatentAttention {
    /// As the (validated) configuration says.
    pub fn new(config: &ModelConfig, c: &LatentConfig, init: &Initialiser) -> Self {
        let map = |name, inputs, outputs| {
            Linear::new(inputs, outputs, false, init.inner(), &init.at(name))
        };
        let ones = |name, width| {
            init.at(name)
                .parameter("weight", [width], Draw::Constant(1.0))
        };
        Self {
            q_down: map("q_down", config.width, c.query_rank),
            q_norm: ones("q_norm", c.query_rank),
            q_up: map(
                "q_up",
                c.query_rank,
                c.heads * (c.nope_head_dim + c.rope_head_dim),
            ),
            kv_down: map("kv_down", config.width, c.kv_rank + c.rope_head_dim),
            kv_norm: ones("kv_norm", c.kv_rank),
            kv_up: map(
                "kv_up",
                c.kv_rank,
                c.heads * (c.nope_head_dim + c.value_head_dim),
            ),
            out: Linear::new(
                c.heads * c.value_head_dim,
                config.width,
                false,
                init.residual(),
                &init.at("out"),
            ),
            config: c.clone(),
        }
    }

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: &Normed<3>, pass: &Pass<'_>) -> Tensor<3> {
        let c = &self.config;
        let [batch, tokens, _] = x.value().dims();
        let kernels = pass.kernels;

        let latent = self.q_down.of_normed(x, kernels);
        let latent = kernels.rms_norm(latent, self.q_norm.val(), LATENT_EPSILON);
        let q = self.q_up.forward(latent, kernels).reshape([
            batch,
            tokens,
            c.heads,
            c.nope_head_dim + c.rope_head_dim,
        ]);
        let q_nope = q.clone().narrow(3, 0, c.nope_head_dim);
        let q_rope = pass.rotate(q.narrow(3, c.nope_head_dim, c.rope_head_dim));

        let down = self.kv_down.of_normed(x, kernels);
        let latent = down.clone().narrow(2, 0, c.kv_rank);
        let k_rope =
            down.narrow(2, c.kv_rank, c.rope_head_dim)
                .reshape([batch, tokens, 1, c.rope_head_dim]);
        let k_rope = pass.rotate(k_rope);
        let latent = kernels.rms_norm(latent, self.kv_norm.val(), LATENT_EPSILON);
        if let Some(continued) = pass.continued {
            let queries = [q_nope, q_rope].map(|part| part.swap_dims(1, 2));
            let keys = [latent.unsqueeze_dim(1), k_rope.swap_dims(1, 2)];
            let y = self.attend_latents(queries, keys, continued, kernels);
            return self.out.forward(y, kernels);
        }
        let k_rope = k_rope.expand([batch, tokens, c.heads, c.rope_head_dim]);
        let kv = self.kv_up.forward(latent, kernels).reshape([
            batch,
            tokens,
            c.heads,
            c.nope_head_dim + c.value_head_dim,
        ]);
        let k_nope = kv.clone().narrow(3, 0, c.nope_head_dim);
        let v = kv.narrow(3, c.nope_head_dim, c.value_head_dim);

        let q = Tensor::cat(vec![q_nope, q_rope], 3).swap_dims(1, 2);
        let k = Tensor::cat(vec![k_nope, k_rope], 3).swap_dims(1, 2);
        let options = AttentionOptions::causal(c.nope_head_dim + c.rope_head_dim);
        let y = pass
            .attention(q, k, v.swap_dims(1, 2), &options)
            .swap_dims(1, 2)
            .reshape([batch, tokens, c.heads * c.value_head_dim]);
        self.out.forward(pass.behind(y, &self.out), kernels)
    }

    /// Attention of `queries` [1, H, T, D_nope and D_rope] in the space of the latents, of which
    /// `keys` [1, 1, T, R and D_rope] are kept: W_kvb is applied to queries and results instead of
    /// keys and values (the same section, "absorbed"). → [1, T, H·D_v].
    fn attend_latents(
        &self,
        [q_nope, q_rope]: [Tensor<4>; 2],
        keys: [Tensor<4>; 2],
        continued: &Continued,
        kernels: Kernels,
    ) -> Tensor<3> {
        let c = &self.config;
        let tokens = q_nope.dims()[2];
        let dtype = q_nope.dtype();
        // [1, H, D_nope + D_v, R]
        let up = self.kv_up.weight.val().cast(dtype).reshape([
            1,
            c.heads,
            c.nope_head_dim + c.value_head_dim,
            c.kv_rank,
        ]);
        let key_map = up.clone().narrow(2, 0, c.nope_head_dim);
        let value_map = up.narrow(2, c.nope_head_dim, c.value_head_dim);
        let q = Tensor::cat(vec![kernels.product(q_nope, key_map), q_rope], 3);
        continued.keep(vec![Tensor::cat(keys.to_vec(), 3)]);
        let read = |kept: &Kept, _| {
            let both = kept.parts[0].clone();
            [both.clone(), both.narrow(3, 0, c.kv_rank)]
        };
        let options = AttentionOptions::causal(c.nope_head_dim + c.rope_head_dim);
        let y = continued.attend(q, kernels, &options, read);
        kernels
            .product(y, value_map.swap_dims(2, 3))
            .swap_dims(1, 2)
            .reshape([1, tokens, c.heads * c.value_head_dim])
    }
}
