//! What is timed: sizes, the models they describe, and their operations by definition.

use clap::ValueEnum;
use simattn::cost::Cost;
use simattn::{
    Aggregation, AttentionConfig, ModelConfig, MultiHeadConfig, RopePlacement, SasConfig,
};
use simattn_random::stream;

use super::error::BenchError;

/// The part of a model that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Work {
    /// One attention layer with its projections: forward, and forward with backward.
    Layer,
    /// One optimiser step of a decoder: forward, backward, clipping, AdamW.
    Train,
    /// One attention layer on one new token against a cache.
    Decode,
}

impl Work {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Layer => "layer",
            Self::Train => "train",
            Self::Decode => "decode",
        }
    }
}

/// The attention that is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Variant {
    /// Simulated attention.
    Sas,
    /// Multi-head attention.
    Mha,
}

impl Variant {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sas => "sas",
            Self::Mha => "mha",
        }
    }
}

/// How large the work is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Sequences B.
    pub batch: usize,
    /// Tokens T of a sequence, or in the cache.
    pub seq: usize,
    /// Projected heads H.
    pub heads: usize,
    /// Expanded heads H' (SAS).
    pub expanded_heads: usize,
    /// Width D of a projected head.
    pub head_dim: usize,
    /// Width D' of an expanded head's q and k (SAS), if features are expanded.
    pub expanded_head_dim: usize,
    /// Whether only heads are expanded, so that q, k and v all keep the width D (SAS).
    pub heads_only: bool,
    /// Kernel size κ of the head expansion (SAS).
    pub kernel_size: usize,
    /// Blocks of the decoder.
    pub layers: usize,
    /// Token ids of the decoder.
    pub vocabulary: usize,
}

impl Default for Sizes {
    /// The 125M class of the SAS paper: 12 → 36 heads, 64 → 96 features, κ = 5.
    fn default() -> Self {
        Self {
            batch: 4,
            seq: 512,
            heads: 12,
            expanded_heads: 36,
            head_dim: 64,
            expanded_head_dim: 96,
            heads_only: false,
            kernel_size: 5,
            layers: 12,
            vocabulary: 50_304,
        }
    }
}

/// More values than anybody asks for by intention: 64 GiB.
const LARGEST: f64 = (1u64 << 34) as f64;

impl Sizes {
    /// A small model whose sizes divide nothing: no width is a multiple of a vector's lanes, and no
    /// length one of a block's.
    pub(crate) fn odd() -> Self {
        Self {
            batch: 2,
            seq: 67,
            heads: 3,
            expanded_heads: 6,
            head_dim: 10,
            expanded_head_dim: 14,
            heads_only: false,
            kernel_size: 3,
            layers: 2,
            vocabulary: 101,
        }
    }

    /// The layer's model: one block, no positions.
    ///
    /// # Errors
    /// Sizes that contradict each other.
    pub(crate) fn layer(&self, variant: Variant) -> Result<ModelConfig, BenchError> {
        let config = ModelConfig::neox(
            self.seq,
            1,
            self.width(),
            self.attention(variant, RopePlacement::None),
        );
        config.validate()?;
        Ok(config)
    }

    /// The decoder: NeoX style, rotary positions (after the expansion in SAS).
    ///
    /// # Errors
    /// Sizes that contradict each other.
    pub(crate) fn decoder(&self, variant: Variant) -> Result<ModelConfig, BenchError> {
        let attention = self.attention(variant, RopePlacement::After);
        let mut config = ModelConfig::neox(self.seq, self.layers, self.width(), attention);
        config.vocabulary = self.vocabulary;
        config.validate()?;
        Ok(config)
    }

    /// Refuses sizes that describe no model, or one that fits no machine.
    ///
    /// # Errors
    /// The first size that does not fit.
    pub(crate) fn validate(&self, work: Work, variant: Variant) -> Result<(), BenchError> {
        self.layer(variant)?;
        let width = match variant {
            Variant::Sas => self.expanded_heads as f64 * self.expanded_width() as f64,
            Variant::Mha => 0.0,
        };
        let mut values = self.batch as f64 * self.seq as f64 * width.max(self.width() as f64);
        if work == Work::Train {
            let parameters = Cost::of(&self.decoder(variant)?).parameters.total;
            values = values.max(parameters as f64);
        }
        if values > LARGEST {
            return Err(BenchError::TooLarge { values });
        }
        Ok(())
    }

    /// Bytes that the work holds at once, at least: the weights, for a training step with gradients
    /// and moments, and the activations' input.
    ///
    /// # Errors
    /// Sizes that contradict each other.
    pub(crate) fn bytes(&self, work: Work, variant: Variant) -> Result<u128, BenchError> {
        const FLOAT: u128 = 4;
        let (values, blocks) = match work {
            Work::Train => {
                let model = self.decoder(variant)?;
                (4 * Cost::of(&model).parameters.total, model.layers as u128)
            }
            // The layer's model has no vocabulary: what it counts is the layer.
            Work::Layer | Work::Decode => (Cost::of(&self.layer(variant)?).parameters.attention, 1),
        };
        let tokens = (self.batch as u128).saturating_mul(self.seq as u128);
        let inputs = match work {
            // A pass in bfloat16 keeps half as much.
            Work::Train => tokens.saturating_mul(self.width() as u128 * blocks) / 2,
            Work::Layer => tokens.saturating_mul(self.width() as u128) / 2,
            Work::Decode => tokens,
        };
        Ok(values.saturating_add(inputs).saturating_mul(FLOAT))
    }

    /// Model width C = H·D. Far too large ones are cut to a number that the model's own limits
    /// refuse.
    pub(crate) fn width(&self) -> usize {
        self.heads
            .saturating_mul(self.head_dim)
            .min(u32::MAX as usize)
    }

    /// Width of an expanded head's q and k: D', or D where features are not expanded.
    pub(crate) fn expanded_width(&self) -> usize {
        if self.heads_only {
            self.head_dim
        } else {
            self.expanded_head_dim
        }
    }

    fn attention(&self, variant: Variant, rope: RopePlacement) -> AttentionConfig {
        const ROPE_BASE: f64 = 10_000.0;
        match variant {
            Variant::Mha => AttentionConfig::Mha(MultiHeadConfig {
                heads: self.heads,
                head_dim: self.head_dim,
                rope_base: ROPE_BASE,
                rotary_dim: None,
            }),
            Variant::Sas => AttentionConfig::Sas(SasConfig {
                heads: self.heads,
                kv_heads: None,
                head_dim: self.head_dim,
                expanded_heads: self.expanded_heads,
                expanded_head_dim: self.expanded_width(),
                kernel_size: self.kernel_size,
                expand_heads: true,
                expand_features: !self.heads_only,
                residual: true,
                relu: true,
                aggregation: Aggregation::Peaa,
                rope,
                rope_base: ROPE_BASE,
                rotary_dim: None,
            }),
        }
    }
}

/// Floating-point operations of a workload, counted from its definition as [`Cost`] does: what a
/// kernel computes again does not count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Operations {
    /// Of maps that every token goes through once.
    dense: f64,
    /// Of scores and weighted sums over visible pairs.
    attention: f64,
}

impl Operations {
    /// Of one attention layer with its projections on `batch` sequences of `tokens`, causal.
    pub(crate) fn of_layer(model: &ModelConfig, batch: usize, tokens: usize) -> Self {
        let pairs = tokens as f64 * (tokens as f64 + 1.0) / 2.0;
        Self::of_attention(model, (batch * tokens) as f64, batch as f64 * pairs)
    }

    /// Of one attention layer on one new token a sequence against `keys` cached ones, which are
    /// expanded already.
    pub(crate) fn of_decoding(model: &ModelConfig, batch: usize, keys: usize) -> Self {
        Self::of_attention(model, batch as f64, (batch * keys) as f64)
    }

    /// Of a decoder on `batch` sequences of `tokens`.
    pub(crate) fn of_decoder(model: &ModelConfig, batch: usize, tokens: usize) -> Self {
        let cost = Cost::of(model);
        let pairs = tokens as f64 * (tokens as f64 + 1.0) / 2.0;
        Self {
            dense: cost.dense_flops_per_token * (batch * tokens) as f64,
            attention: cost.flops_per_pair * batch as f64 * pairs,
        }
    }

    fn of_attention(model: &ModelConfig, tokens: f64, pairs: f64) -> Self {
        // A model of one block without a head is a layer and an MLP of two maps.
        let cost = Cost::of(model);
        let mlp = 4.0 * model.width as f64 * model.mlp_width() as f64;
        Self {
            dense: (cost.dense_flops_per_token - mlp) * tokens,
            attention: cost.flops_per_pair * pairs,
        }
    }

    /// Operations of the forward pass.
    pub(crate) fn forward(&self) -> f64 {
        self.dense + self.attention
    }

    /// Operations of the backward pass: two products for each dense one, and five of attention for
    /// its two.
    pub(crate) fn backward(&self) -> f64 {
        2.0 * self.dense + 2.5 * self.attention
    }
}

/// Normal values, the same for one `name` at all times.
pub(crate) fn normals(name: &str, len: usize) -> Vec<f32> {
    let mut chance = stream(SEED, name);
    (0..len).map(|_| chance.normal() as f32).collect()
}

/// The seed of all weights and inputs.
pub(super) const SEED: u64 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn giga(operations: f64) -> f64 {
        operations / 1e9
    }

    #[test]
    fn the_layer_of_the_125m_class_has_the_operations_that_were_counted_by_hand() {
        let sizes = Sizes::default();
        let of = |variant| {
            let model = sizes.layer(variant).unwrap();
            Operations::of_layer(&model, sizes.batch, sizes.seq)
        };
        // 7.25 projections + 6.79 head expansion + 4.53 feature expansion + 6.05 attention + 2.42
        // output.
        let sas = of(Variant::Sas);
        assert!((giga(sas.forward()) - 27.0).abs() < 0.05, "{sas:?}");
        assert!((giga(sas.backward()) - 57.0).abs() < 0.5, "{sas:?}");
        // 8·N·C² and 4·B·H·D·T·(T+1)/2.
        let mha = of(Variant::Mha);
        let by_hand = 8.0 * 2048.0 * 768.0f64.powi(2) + 4.0 * 4.0 * 768.0 * 512.0 * 513.0 / 2.0;
        assert_eq!(mha.forward(), by_hand);
    }

    #[test]
    fn a_decoder_step_of_sas_has_about_1_4_times_the_operations_of_mha() {
        let sizes = Sizes::default();
        let of = |variant| {
            let model = sizes.decoder(variant).unwrap();
            let operations = Operations::of_decoder(&model, sizes.batch, sizes.seq);
            operations.forward() + operations.backward()
        };
        let ratio = of(Variant::Sas) / of(Variant::Mha);
        assert!((1.35..1.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn without_the_wider_q_and_k_a_step_costs_less_than_1_2_steps_of_mha() {
        let step = |sizes: Sizes, variant| {
            let model = sizes.decoder(variant).unwrap();
            let operations = Operations::of_decoder(&model, sizes.batch, sizes.seq);
            operations.forward() + operations.backward()
        };
        let sizes = Sizes::default();
        let heads_only = Sizes {
            heads_only: true,
            ..sizes
        };
        let mha = step(sizes, Variant::Mha);
        assert_eq!(step(heads_only, Variant::Mha), mha);
        let ratio = step(heads_only, Variant::Sas) / mha;
        assert!((1.15..1.25).contains(&ratio), "{ratio}");
    }

    #[test]
    fn decoding_counts_one_query_a_sequence() {
        let sizes = Sizes::default();
        let model = sizes.layer(Variant::Mha).unwrap();
        let operations = Operations::of_decoding(&model, 4, 512);
        let by_hand = 4.0 * (8.0 * 768.0f64.powi(2) + 4.0 * 768.0 * 512.0);
        assert_eq!(operations.forward(), by_hand);
    }

    #[test]
    fn sizes_that_fit_no_machine_are_refused() {
        let sizes = Sizes {
            batch: 1 << 20,
            seq: 1 << 20,
            ..Sizes::odd()
        };
        let error = sizes.validate(Work::Layer, Variant::Sas).unwrap_err();
        assert!(error.is_input(), "{error}");
        let sizes = Sizes {
            heads: usize::MAX,
            ..Sizes::odd()
        };
        let error = sizes.validate(Work::Decode, Variant::Mha).unwrap_err();
        assert!(error.is_input(), "{error}");
        let sizes = Sizes {
            layers: 1 << 23,
            ..Sizes::default()
        };
        assert!(sizes.validate(Work::Layer, Variant::Mha).is_ok());
        let error = sizes.validate(Work::Train, Variant::Mha).unwrap_err();
        assert!(error.is_input(), "{error}");
    }
}
