//! What a model costs by arithmetic: parameters, floating-point operations, cache.
//!
//! A multiplication and an addition count as two operations. Causal attention counts the visible
//! pairs only. Softmax, norms, activations and the embedding lookup are left out, as usual.

use crate::config::{Aggregation, AttentionConfig, Mlp, ModelConfig, Norm, Positions, SasConfig};

/// Costs of a model, from its configuration alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Parameter counts.
    pub parameters: Parameters,
    /// Operations of one forward pass per token that do not depend on the context's length.
    pub dense_flops_per_token: f64,
    /// Operations of all layers per visible (query, key) pair.
    pub flops_per_pair: f64,
    /// Values a decode cache must hold per token, all layers, in the smallest form that needs no
    /// new projection of old tokens.
    pub cache_values_per_token: u128,
    /// The same when SAS's expanded keys and values are cached; equal to the former elsewhere.
    pub expanded_cache_values_per_token: u128,
}

/// Parameter counts of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// All of them; tied weights once.
    pub total: u128,
    /// Embedding, learned positions and, if untied, head.
    pub embedding: u128,
    /// All layers' attention.
    pub attention: u128,
    /// What the expansions of SAS add in all layers; part of `attention`.
    pub expansion: u128,
}

/// One layer's attention.
#[derive(Clone, Copy, Debug, Default)]
struct Layer {
    /// Weights that every token is multiplied with once.
    weights: u128,
    /// Biases and norm weights.
    vectors: u128,
    /// Further multiply–add pairs per token (maps applied to several heads or features).
    extra_products: u128,
    /// Parameters of expansions.
    expansion: u128,
    /// Additions per token, in operations.
    additions: u128,
    /// Products per visible pair: heads · (width of q and k + width of v).
    pair_products: u128,
    cache: u128,
    expanded_cache: u128,
}

impl Cost {
    /// The costs of `config`; a vocabulary of 0 counts as empty.
    pub fn of(config: &ModelConfig) -> Self {
        let layer = attention(config);
        let (width, layers) = (config.width as u128, config.layers as u128);
        let (inner, vocabulary) = (config.mlp_width() as u128, config.vocabulary as u128);
        let maps = match config.mlp {
            Mlp::Gelu | Mlp::GeluTanh => 2,
            Mlp::Swiglu => 3,
        };
        let mlp_weights = maps * width * inner;
        let mlp_biases = if config.bias {
            (maps - 1) * inner + width
        } else {
            0
        };
        let norm = match config.norm {
            Norm::Layer => 2 * width,
            Norm::Rms => width,
        };
        let attention = layers * (layer.weights + layer.vectors + layer.expansion);
        let places = match config.positions {
            Positions::Rotary => 0,
            Positions::Learned => config.context as u128,
        };
        let tables = if config.tied { 1 } else { 2 };
        let embedding = (vocabulary * tables + places) * width;
        let per_token = layers * (layer.weights + layer.extra_products + mlp_weights);
        Self {
            parameters: Parameters {
                total: embedding
                    + norm
                    + layers * (2 * norm + mlp_weights + mlp_biases)
                    + attention,
                embedding,
                attention,
                expansion: layers * layer.expansion,
            },
            dense_flops_per_token: (2 * (per_token + vocabulary * width) + layers * layer.additions)
                as f64,
            flops_per_pair: (2 * layers * layer.pair_products) as f64,
            cache_values_per_token: layers * layer.cache,
            expanded_cache_values_per_token: layers * layer.expanded_cache,
        }
    }

    /// Operations of a forward pass per token, averaged over a window of `context` tokens: token
    /// t sees t + 1 keys, (context + 1)/2 on average.
    pub fn forward_flops_per_token(&self, context: usize) -> f64 {
        self.dense_flops_per_token + self.flops_per_pair * (context as f64 + 1.0) / 2.0
    }

    /// Operations of forward and backward per token by the usual count, three times the forward
    /// pass; recomputation is not counted.
    pub fn training_flops_per_token(&self, context: usize) -> f64 {
        3.0 * self.forward_flops_per_token(context)
    }
}

fn attention(config: &ModelConfig) -> Layer {
    let width = config.width as u128;
    let grouped = |heads: usize, kv_heads: usize, head_dim: usize| {
        let (q, kv) = ((heads * head_dim) as u128, (kv_heads * head_dim) as u128);
        Layer {
            weights: width * (q + 2 * kv) + q * width,
            vectors: projection_vectors(config, q + 2 * kv, head_dim as u128),
            pair_products: 2 * q,
            cache: 2 * kv,
            expanded_cache: 2 * kv,
            ..Layer::default()
        }
    };
    match &config.attention {
        AttentionConfig::Mha(c) => grouped(c.heads, c.heads, c.head_dim),
        AttentionConfig::Mqa(c) => grouped(c.heads, 1, c.head_dim),
        AttentionConfig::Gqa(c) => grouped(c.heads, c.kv_heads, c.head_dim),
        AttentionConfig::Sas(c) => sas(config, c),
        AttentionConfig::Mla(c) => {
            let [heads, nope, rope, value, query_rank, kv_rank] = [
                c.heads,
                c.nope_head_dim,
                c.rope_head_dim,
                c.value_head_dim,
                c.query_rank,
                c.kv_rank,
            ]
            .map(|n| n as u128);
            let cache = kv_rank + rope;
            Layer {
                weights: width * query_rank
                    + query_rank * heads * (nope + rope)
                    + width * (kv_rank + rope)
                    + kv_rank * heads * (nope + value)
                    + heads * value * width,
                vectors: query_rank + kv_rank,
                pair_products: heads * (nope + rope + value),
                cache,
                expanded_cache: cache,
                ..Layer::default()
            }
        }
        AttentionConfig::Tpa(c) => {
            let (heads, head_dim, rank) = (c.heads as u128, c.head_dim as u128, c.kv_rank as u128);
            let all = heads * head_dim;
            let factors = |rank: u128| width * rank * (heads + head_dim);
            let query_rank = c.query_rank.map(|rank| rank as u128);
            Layer {
                weights: query_rank.map_or(width * all, factors) + 2 * factors(rank) + all * width,
                extra_products: (query_rank.unwrap_or(0) + 2 * rank) * all,
                pair_products: 2 * all,
                cache: 2 * rank * (heads + head_dim),
                expanded_cache: 2 * rank * (heads + head_dim),
                ..Layer::default()
            }
        }
        AttentionConfig::Mfa(c) => {
            let (rank, head_dim) = (c.query_rank as u128, c.head_dim as u128);
            let all = c.heads as u128 * head_dim;
            Layer {
                weights: width * rank + rank * all + 2 * width * head_dim + all * width,
                vectors: rank,
                pair_products: 2 * all,
                cache: 2 * head_dim,
                expanded_cache: 2 * head_dim,
                ..Layer::default()
            }
        }
    }
}

/// Biases of q, k, v (together `projected` outputs) and of the output, and the norms on q and k.
fn projection_vectors(config: &ModelConfig, projected: u128, head_dim: u128) -> u128 {
    let given = |present: bool, count: u128| if present { count } else { 0 };
    given(config.qkv_bias(), projected)
        + given(config.out_bias(), config.width as u128)
        + given(config.qk_norm, 2 * head_dim)
}

fn sas(config: &ModelConfig, c: &SasConfig) -> Layer {
    let width = config.width as u128;
    let [heads, kv_heads, head_dim, expanded, wide, kernel] = [
        c.heads,
        c.kv_heads(),
        c.head_dim,
        c.expanded_heads,
        c.expanded_head_dim,
        c.kernel_size,
    ]
    .map(|n| n as u128);
    let (q, kv) = (heads * head_dim, kv_heads * head_dim);
    let kept = match c.aggregation {
        Aggregation::Peaa => q,
        Aggregation::Full => expanded * head_dim,
    };
    let (mut parameters, mut products) = (0, 0);
    if c.expand_heads {
        for inputs in [heads, kv_heads, kv_heads] {
            let weights = kernel * expanded * (inputs + expanded);
            parameters += weights + 2 * expanded;
            products += weights * head_dim;
        }
    }
    // Without head expansion q keeps H heads and k its G.
    let rows = if c.expand_heads {
        2 * expanded
    } else {
        heads + kv_heads
    };
    if c.expand_features {
        let weights = wide * (head_dim + wide);
        parameters += 2 * (weights + 2 * wide);
        products += rows * weights;
    }
    let kv_expanded = if c.expand_heads { expanded } else { kv_heads };
    Layer {
        weights: width * (q + 2 * kv) + kept * width,
        vectors: projection_vectors(config, q + 2 * kv, head_dim),
        extra_products: products,
        expansion: parameters,
        additions: match c.aggregation {
            Aggregation::Peaa => expanded * head_dim,
            Aggregation::Full => 0,
        },
        pair_products: expanded * (wide + head_dim),
        cache: 2 * kv,
        expanded_cache: kv_expanded * (wide + head_dim),
    }
}
