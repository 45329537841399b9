//! The decoder: embedding, L pre-norm blocks, a last normalisation, the head.

mod mlp;
mod norm;

use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor},
};
pub use mlp::FeedForward;
pub use norm::Normalisation;
use simattn_kernels::{Kernels, reference::RopeTable};

use crate::{
    attention::{Attention, Pass},
    config::{ConfigError, ModelConfig},
    init::Initialiser,
};

/// A decoder-only language model with any of the attention variants.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Token embedding, [V, C]; also the head when the model is tied.
    pub embedding: Param<Tensor<2>>,
    /// The L blocks.
    pub layers: Vec<Block>,
    /// Normalisation before the head.
    pub norm: Normalisation,
    /// The head's own weights, [V, C]; absent when tied.
    pub head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: ModelConfig,
    #[module(skip)]
    kernels: Kernels,
}

/// `x + attention(norm(x))`, then `x + mlp(norm(x))`.
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
}

impl Decoder {
    /// A model with freshly drawn float32 weights.
    ///
    /// # Errors
    /// If the configuration describes no model or lacks a vocabulary.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ConfigError> {
        Self::with_dtype(config, seed, device, DType::F32)
    }

    /// The same with weights of another float type (float64 for checks).
    ///
    /// # Errors
    /// As [`Decoder::new`].
    pub fn with_dtype(
        config: &ModelConfig,
        seed: u64,
        device: &Device,
        dtype: DType,
    ) -> Result<Self, ConfigError> {
        config.validate()?;
        if config.vocabulary == 0 {
            return Err(ConfigError::NoVocabulary);
        }
        let init = Initialiser::new(config, seed, device).with_dtype(dtype);
        let table = [config.vocabulary, config.width];
        let layers = (0..config.layers)
            .map(|layer| Block::new(config, &init.at(&format!("layers.{layer}"))))
            .collect();
        Ok(Self {
            embedding: init.parameter("embedding", table, init.inner()),
            layers,
            norm: Normalisation::new(
                config.norm,
                config.width,
                config.norm_epsilon,
                &init.at("norm"),
            ),
            head: (!config.tied).then(|| init.parameter("head", table, init.inner())),
            config: config.clone(),
            kernels: Kernels::default(),
        })
    }

    /// The model with its operations run through `kernels`.
    pub fn with_kernels(mut self, kernels: Kernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// What the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The normalised states before the head: `ids` [B, T] → [B, T, C].
    pub fn hidden(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        let tokens = ids.dims()[1];
        let weight = self.embedding.val();
        let rope = self.config.attention.rotation().map(|(rotary_dim, base)| {
            // Constants of the pass: kept off the autodiff graph, on the weights' device and type.
            RopeTable::new(
                tokens,
                0,
                rotary_dim,
                base,
                &weight.device(),
                weight.dtype(),
            )
        });
        let pass = Pass {
            rope: rope.as_ref(),
            kernels: self.kernels,
        };
        let embedded = self.kernels.embedding(weight, ids);
        let out = self
            .layers
            .iter()
            .fold(embedded, |x, block| block.forward(x, &pass));
        self.norm.forward(out, self.kernels)
    }

    /// Scores of every next token: `ids` [B, T] → [B, T, V].
    pub fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.kernels
            .linear(self.hidden(ids), self.head_weight(), None)
    }

    /// Mean cross-entropy in nats per token: `inputs` and `targets` [B, T] → `[1]`.
    pub fn loss(&self, inputs: Tensor<2, Int>, targets: Tensor<2, Int>) -> Tensor<1> {
        let hidden = self.hidden(inputs);
        let [batch, tokens, width] = hidden.dims();
        self.kernels.head_cross_entropy(
            hidden.reshape([batch * tokens, width]),
            self.head_weight(),
            targets.reshape([batch * tokens]),
        )
    }

    fn head_weight(&self) -> Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embedding).val()
    }
}

impl Block {
    fn new(config: &ModelConfig, init: &Initialiser) -> Self {
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
        }
    }

    fn forward(&self, x: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
        let normed = self.attention_norm.forward(x.clone(), pass.kernels);
        let x = x + self.attention.forward(normed, pass);
        let normed = self.mlp_norm.forward(x.clone(), pass.kernels);
        x + self.mlp.forward(normed, pass.kernels)
    }
}
