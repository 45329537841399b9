use burn::{module::Module, tensor::Tensor};
use simattn_kernels::{Kernels, ops::Normed, reference::AttentionOptions};

use super::{
    continued::{Continued, Kept},
    pass::Pass,
};
use crate::{
    config::{ModelConfig, TensorProductConfig},
    init::{Draw, Initialiser},
    linear::Linear,
};

/// Tensor product attention (TPA, arXiv 2501.06425).
///
/// Each of q, k, v is a sum of R outer products of a head factor A [H, R] and a feature factor
/// B [R, D], both linear in x: `q[h] = (1/R) Σ_r A[h, r] · B[r]`. Rotary embeddings turn the
/// feature factors of q and k. In the KV-only form q is a plain projection. No biases.
#[derive(Module, Debug)]
pub struct TensorProductAttention {
    /// Plain query projection C → H·D; KV-only form.
    pub q: Option<Linear>,
    /// Queries' factors; full form.
    pub q_factors: Option<Factors>,
    /// Keys' factors.
    pub k_factors: Factors,
    /// Values' factors.
    pub v_factors: Factors,
    /// H·D → C.
    pub out: Linear,
    #[module(skip)]
    heads: usize,
    #[module(skip)]
    head_dim: usize,
}

/// The two maps of one factorised tensor.
#[derive(Module, Debug)]
pub struct Factors {
    /// Head factor, C → H·R.
    pub a: Linear,
    /// Feature factor, C → R·D.
    pub b: Linear,
    #[module(skip)]
    rank: usize,
}

impl Factors {
    fn new(width: usize, heads: usize, head_dim: usize, rank: usize, init: &Initialiser) -> Self {
        // Xavier-uniform on the views [C, H, R] and [C, R, D], where PyTorch counts the last
        // axis as a receptive field: fan_in + fan_out = (second + C) · last.
        let xavier = |second: usize, last: usize| {
            Draw::Uniform((6.0 / ((second + width) * last) as f64).sqrt())
        };
        let map = |name, outputs, draw| Linear::new(width, outputs, false, draw, &init.at(name));
        Self {
            a: map("a", heads * rank, xavier(heads, rank)),
            b: map("b", rank * head_dim, xavier(rank, head_dim)),
            rank,
        }
    }

    /// `x` [B, T, C] → A [B, T, H, R] and B [B, T, R, D], which goes through `turn` first.
    fn of(
        &self,
        x: &Normed<3>,
        [heads, head_dim]: [usize; 2],
        pass: &Pass<'_>,
        turn: impl FnOnce(Tensor<4>) -> Tensor<4>,
    ) -> [Tensor<4>; 2] {
        let [batch, tokens, _] = x.value().dims();
        let map = |map: &Linear, shape: [usize; 2]| {
            map.of_normed(x, pass.kernels)
                .reshape([batch, tokens, shape[0], shape[1]])
        };
        let a = map(&self.a, [heads, self.rank]);
        [a, turn(map(&self.b, [self.rank, head_dim]))]
    }

    /// The heads that two factors make: [B, T, H, D].
    fn heads([a, b]: [Tensor<4>; 2], kernels: Kernels) -> Tensor<4> {
        let rank = b.dims()[2];
        // Not div_scalar: Burn takes its gradient with a float32 reciprocal, also in float64.
        kernels.product(a, b).mul_scalar(1.0 / rank as f64)
    }
}

impl TensorProductAttention {
    /// As the (validated) configuration says.
    pub fn new(config: &ModelConfig, c: &TensorProductConfig, init: &Initialiser) -> Self {
        let width = config.width;
        let factors = |name, rank| Factors::new(width, c.heads, c.head_dim, rank, &init.at(name));
        let all = c.heads * c.head_dim;
        let plain = || Linear::new(width, all, false, init.inner(), &init.at("q"));
        Self {
            q: c.query_rank.is_none().then(plain),
            q_factors: c.query_rank.map(|rank| factors("q_factors", rank)),
            k_factors: factors("k_factors", c.kv_rank),
            v_factors: factors("v_factors", c.kv_rank),
            out: Linear::new(all, width, false, init.residual(), &init.at("out")),
            heads: c.heads,
            head_dim: c.head_dim,
        }
    }

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: &Normed<3>, pass: &Pass<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.value().dims();
        let kernels = pass.kernels;
        let shape = [self.heads, self.head_dim];
        let rotate = |t| pass.rotate(t);
        let mut q = None;
        if let Some(factors) = &self.q_factors {
            q = Some(Factors::heads(factors.of(x, shape, pass, rotate), kernels));
        } else if let Some(plain) = &self.q {
            let projected = plain.of_normed(x, pass.kernels);
            q = Some(rotate(projected.reshape([
                batch,
                tokens,
                self.heads,
                self.head_dim,
            ])));
        }
        let q = q.expect("one of the two query forms is always built");
        let q = q.swap_dims(1, 2);
        let k = self.k_factors.of(x, shape, pass, rotate);
        let v = self.v_factors.of(x, shape, pass, |t| t);
        let options = AttentionOptions::causal(self.head_dim);
        let y = match pass.continued {
            Some(continued) => attend_factors(q, [k, v], continued, kernels, &options),
            None => {
                let [k, v] = [k, v].map(|both| Factors::heads(both, kernels).swap_dims(1, 2));
                pass.attention(q, k, v, &options)
            }
        };
        let y = y
            .swap_dims(1, 2)
            .reshape([batch, tokens, self.heads * self.head_dim]);
        self.out.forward(pass.behind(y, &self.out), kernels)
    }
}

/// Attention over keys and values whose factors are kept and multiplied anew for each pass.
fn attend_factors(
    q: Tensor<4>,
    [k, v]: [[Tensor<4>; 2]; 2],
    continued: &Continued,
    kernels: Kernels,
    options: &AttentionOptions,
) -> Tensor<4> {
    let inside = q.dtype();
    let factors = [k, v].into_iter().flatten();
    continued.keep(factors.map(|factor| factor.swap_dims(1, 2)).collect());
    let read = |kept: &Kept, _| {
        [0, 2].map(|first| {
            let factor = |place: usize| kept.parts[place].clone().swap_dims(1, 2).cast(inside);
            let heads = Factors::heads([factor(first), factor(first + 1)], kernels);
            continued.rounded(heads.swap_dims(1, 2))
        })
    };
    continued.attend(q, kernels, options, read)
}
