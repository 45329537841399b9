use burn::{
    module::{Module, Param},
    tensor::{DType, Tensor},
};
use simattn_kernels::Kernels;
use simattn_kernels::call::{Aggregation, AttentionOptions, ExpansionOptions, SasOptions};
use simattn_kernels::ops::Normed;
use simattn_kernels::reference::{Expansion, FeatureExpansion, HeadExpansion, SasWeights};

use super::{
    continued::Continued,
    head_norm::{head_norm, normed},
    pass::Pass,
};
use crate::{
    config::{ModelConfig, SasConfig},
    init::{Draw, Initialiser},
    linear::Linear,
};

/// Simulated attention scores (SAS, arXiv 2507.07694).
///
/// The H projected heads of q and the G of k and v are expanded to H' by two convolutions over
/// the features of one token, q and k then from D to D' features by two maps; attention runs over
/// H' heads, and the H'/H groups are averaged before one output projection.
#[derive(Module, Debug)]
pub struct SasAttention {
    /// C → H·D.
    pub q: Linear,
    /// C → G·D.
    pub k: Linear,
    /// C → G·D.
    pub v: Linear,
    /// H·D → C, or H'·D → C without PEAA.
    pub out: Linear,
    /// Expansion of q.
    pub expand_q: ExpansionLayer,
    /// Expansion of k.
    pub expand_k: ExpansionLayer,
    /// Expansion of v, heads only.
    pub expand_v: ExpansionLayer,
    /// RMSNorm weight `[D]` on every projected head of q; only with `qk_norm`.
    pub q_norm: Option<Param<Tensor<1>>>,
    /// The same on k.
    pub k_norm: Option<Param<Tensor<1>>>,
    #[module(skip)]
    config: SasConfig,
    #[module(skip)]
    norm_epsilon: f64,
}

/// The expansion of one of q, k, v.
#[derive(Module, Debug)]
pub struct ExpansionLayer {
    /// First convolution, heads → H'.
    pub heads1: Option<Convolution>,
    /// Second convolution, H' → H'.
    pub heads2: Option<Convolution>,
    /// First map, D → D'.
    pub features1: Option<Linear>,
    /// Second map, D' → D'.
    pub features2: Option<Linear>,
}

/// A convolution over a token's features, heads as channels; weights as PyTorch's Conv1d.
#[derive(Module, Debug)]
pub struct Convolution {
    /// [outputs, inputs, κ]
    pub weight: Param<Tensor<3>>,
    /// `[outputs]`
    pub bias: Param<Tensor<1>>,
}

impl Convolution {
    fn new(inputs: usize, outputs: usize, kernel_size: usize, init: &Initialiser) -> Self {
        // The published module leaves PyTorch's default: uniform in ±1/√fan_in, bias too.
        let draw = fan_in(inputs * kernel_size);
        Self {
            weight: init.parameter("weight", [outputs, inputs, kernel_size], draw),
            bias: init.parameter("bias", [outputs], draw),
        }
    }
}

fn fan_in(inputs: usize) -> Draw {
    Draw::Uniform(1.0 / (inputs as f64).sqrt())
}

impl ExpansionLayer {
    fn new(c: &SasConfig, heads: usize, features: bool, init: &Initialiser) -> Self {
        let convolution = |name, inputs| {
            let init = init.at(name);
            c.expand_heads
                .then(|| Convolution::new(inputs, c.expanded_heads, c.kernel_size, &init))
        };
        let map = |name, inputs: usize| {
            let init = init.at(name);
            (features && c.expand_features).then(|| Linear {
                weight: init.parameter("weight", [c.expanded_head_dim, inputs], fan_in(inputs)),
                bias: Some(init.parameter("bias", [c.expanded_head_dim], fan_in(inputs))),
            })
        };
        Self {
            heads1: convolution("heads1", heads),
            heads2: convolution("heads2", c.expanded_heads),
            features1: map("features1", c.head_dim),
            features2: map("features2", c.expanded_head_dim),
        }
    }

    /// The weights as the operation takes them. A stage needs both of its maps.
    pub fn weights(&self) -> Expansion {
        let heads = self.heads1.as_ref().zip(self.heads2.as_ref());
        let features = self.features1.as_ref().zip(self.features2.as_ref());
        Expansion {
            heads: heads.map(|(first, second)| HeadExpansion {
                first_weight: first.weight.val(),
                first_bias: first.bias.val(),
                second_weight: second.weight.val(),
                second_bias: second.bias.val(),
            }),
            features: features.and_then(|(first, second)| {
                Some(FeatureExpansion {
                    first_weight: first.weight.val(),
                    first_bias: first.bias.as_ref()?.val(),
                    second_weight: second.weight.val(),
                    second_bias: second.bias.as_ref()?.val(),
                })
            }),
        }
    }
}

impl SasAttention {
    /// As the (validated) configuration says.
    pub fn new(config: &ModelConfig, c: &SasConfig, init: &Initialiser) -> Self {
        let (width, bias) = (config.width, config.qkv_bias());
        let project = |name, heads| {
            Linear::new(
                width,
                heads * c.head_dim,
                bias,
                init.inner(),
                &init.at(name),
            )
        };
        let kept_heads = match c.aggregation {
            Aggregation::Peaa => c.heads,
            Aggregation::Full => c.expanded_heads,
        };
        let expansion =
            |name, heads, features| ExpansionLayer::new(c, heads, features, &init.at(name));
        Self {
            q: project("q", c.heads),
            k: project("k", c.kv_heads()),
            v: project("v", c.kv_heads()),
            out: Linear::new(
                kept_heads * c.head_dim,
                width,
                config.out_bias(),
                init.residual(),
                &init.at("out"),
            ),
            expand_q: expansion("expand_q", c.heads, true),
            expand_k: expansion("expand_k", c.kv_heads(), true),
            expand_v: expansion("expand_v", c.kv_heads(), false),
            q_norm: head_norm(config, "q_norm", c.head_dim, init),
            k_norm: head_norm(config, "k_norm", c.head_dim, init),
            config: c.clone(),
            norm_epsilon: config.norm_epsilon,
        }
    }

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: &Normed<3>, pass: &Pass<'_>) -> Tensor<3> {
        let [batch, tokens, _] = x.value().dims();
        let project = |layer: &Linear, heads: usize| {
            layer
                .of_normed(x, pass.kernels)
                .reshape([batch, tokens, heads, self.config.head_dim])
        };
        let scaled = |x, weight| normed(x, weight, self.norm_epsilon, pass);
        self.attend(
            scaled(project(&self.q, self.config.heads), &self.q_norm),
            scaled(project(&self.k, self.config.kv_heads()), &self.k_norm),
            project(&self.v, self.config.kv_heads()),
            pass,
        )
    }

    /// Everything after the projections and their norms: `q` [B, T, H, D], `k` and `v` [B, T, G, D]
    /// → [B, T, C].
    pub fn attend(&self, q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, pass: &Pass<'_>) -> Tensor<3> {
        let (weights, options) = (self.weights(), self.options());
        let y = pass.sas_attention(q, k, v, &weights, &options);
        self.out.forward(pass.behind(y, &self.out), pass.kernels)
    }
    /// The weights of all expansions.
    fn weights(&self) -> SasWeights {
        SasWeights {
            q: self.expand_q.weights(),
            k: self.expand_k.weights(),
            v: self.expand_v.weights(),
        }
    }

    fn options(&self) -> SasOptions {
        let c = &self.config;
        SasOptions {
            attention: AttentionOptions::causal(c.expanded_head_dim),
            expansion: ExpansionOptions {
                residual: c.residual,
                relu: c.relu,
            },
            rope: c.rope,
            aggregation: c.aggregation,
        }
    }

    /// The expansion of projected keys and values that were kept of a text of `tokens` tokens; see
    /// [`Continued::expanded_again`].
    pub(crate) fn expanded_again(
        &self,
        compact: [Tensor<4>; 2],
        tokens: usize,
        continued: &Continued,
        inside: DType,
        kernels: Kernels,
    ) -> [Tensor<4>; 2] {
        let (weights, options) = (self.weights(), self.options());
        continued.expanded_again(compact, tokens, &weights, inside, &options, kernels)
    }
}
