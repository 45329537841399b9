//! The decoder: embedding, L pre-norm blocks, a last normalisation, the head.

mod block;
mod continued;
mod mlp;
mod norm;
mod packed;
mod recompute;

pub use block::Block;
use burn::{
    module::{Module, Param},
    tensor::{DType, Device, Int, Tensor},
};
pub use mlp::FeedForward;
pub use norm::Normalisation;
pub use packed::Packed;
pub use recompute::Recompute;
use simattn_kernels::Kernels;

use crate::{
    attention::{Pass, rope_table},
    config::{ModelConfig, ModelConfigError, Positions},
    init::Initialiser,
    milestones::Settled,
    precision::Precision,
};

/// A decoder-only language model with any of the attention variants.
#[derive(Module, Debug)]
pub struct Decoder {
    /// Token embedding, [V, C]; also the head when the model is tied.
    pub embedding: Param<Tensor<2>>,
    /// A vector for every place, [context, C]; only with learned positions.
    pub positions: Option<Param<Tensor<2>>>,
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
    #[module(skip)]
    recompute: Recompute,
    #[module(skip)]
    precision: Precision,
}

impl Decoder {
    /// A model with freshly drawn float32 weights.
    ///
    /// # Errors
    /// If the configuration describes no model or lacks a vocabulary.
    pub fn new(config: &ModelConfig, seed: u64, device: &Device) -> Result<Self, ModelConfigError> {
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
    ) -> Result<Self, ModelConfigError> {
        let init = Initialiser::new(config, seed, device).with_dtype(dtype);
        Self::build(config, &init)
    }

    /// A float32 model whose weights are all zero, to be filled from a file.
    pub(crate) fn blank(config: &ModelConfig, device: &Device) -> Result<Self, ModelConfigError> {
        Self::build(config, &Initialiser::new(config, 0, device).blank())
    }

    fn build(config: &ModelConfig, init: &Initialiser) -> Result<Self, ModelConfigError> {
        config.validate()?;
        if config.vocabulary == 0 {
            return Err(ModelConfigError::NoVocabulary);
        }
        let places = [config.context, config.width];
        let table = [config.vocabulary, config.width];
        let layers = (0..config.layers)
            .map(|layer| Block::new(config, &init.at(&format!("layers.{layer}"))))
            .collect();
        Ok(Self {
            embedding: init.parameter("embedding", table, init.inner()),
            positions: (config.positions == Positions::Learned)
                .then(|| init.parameter("positions", places, init.inner())),
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
            recompute: Recompute::default(),
            precision: Precision::default(),
        })
    }

    /// The model with its operations run through `kernels`.
    pub fn with_kernels(mut self, kernels: Kernels) -> Self {
        self.kernels = kernels;
        self
    }

    /// The model with `recompute` deciding what a training step keeps between forward and backward.
    pub fn with_recompute(mut self, recompute: Recompute) -> Self {
        self.recompute = recompute;
        self
    }

    /// The model with passes computed in `precision`; its weights stay what they are.
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// What the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The normalised states before the head: `ids` [B, T] → [B, T, C].
    ///
    /// # Panics
    /// With learned positions, if T exceeds the configuration's context: there is no vector for
    /// the places beyond it.
    pub fn hidden(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.hidden_telling(ids, None)
    }

    fn hidden_telling(&self, ids: Tensor<2, Int>, settled: Option<&Settled>) -> Tensor<3> {
        let tokens = ids.dims()[1];
        let weight = self.embedding.val();
        // Constants of the pass: kept off the autodiff graph, on the weights' device and type.
        let rope = rope_table(&self.config, tokens, 0, &weight.device(), weight.dtype());
        let pass = Pass {
            settled,
            keep: self.recompute.keep(),
            ..Pass::new(rope.as_ref(), self.kernels).with_precision(self.precision)
        };
        let mut embedded = self.kernels.embedding(weight, ids);
        if let Some(positions) = &self.positions {
            let places = positions.val().narrow(0, 0, tokens);
            embedded = embedded + places.unsqueeze::<3>();
        }
        let mut out = embedded;
        for block in &self.layers {
            out = pass.behind(out, block);
            out = match self.recompute {
                Recompute::Block => recompute::forward(block, out, &pass),
                _ => block.forward(out, &pass),
            };
        }
        out = pass.behind(out, &(self.norm.clone(), self.head.clone()));
        self.norm.forward(out, self.kernels)
    }

    /// Scores of every next token: `ids` [B, T] → [B, T, V].
    pub fn logits(&self, ids: Tensor<2, Int>) -> Tensor<3> {
        self.scores(self.hidden(ids))
    }

    /// Scores of the token after the last: `ids` [B, T] → [B, V].
    pub fn next_logits(&self, ids: Tensor<2, Int>) -> Tensor<2> {
        let hidden = self.hidden(ids);
        let [batch, tokens, width] = hidden.dims();
        self.scores(hidden.narrow(1, tokens - 1, 1).reshape([batch, width]))
    }

    /// The head alone: normalised states [N, C] → scores [N, V].
    pub fn head_logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.scores(hidden)
    }

    fn scores<const R: usize>(&self, hidden: Tensor<R>) -> Tensor<R> {
        let hidden = self.precision.narrow(hidden);
        let scores = self.kernels.linear(hidden, self.head_weight(), None);
        self.precision.widen(scores)
    }

    /// Mean cross-entropy in nats per token: `inputs` and `targets` [B, T] → `[1]`.
    pub fn loss(&self, inputs: Tensor<2, Int>, targets: Tensor<2, Int>) -> Tensor<1> {
        self.cross_entropy(self.hidden(inputs), targets)
    }

    /// [`Decoder::loss`], whose backward tells `settled` of the gradients of blocks, last
    /// normalisation and head as soon as they are complete, and keeps them no longer. Those that come
    /// at its end stay: of the embedding, and of whatever a block changes before it uses it.
    ///
    /// Values and gradients are those of [`Decoder::loss`], bit for bit.
    pub fn loss_telling(
        &self,
        inputs: Tensor<2, Int>,
        targets: Tensor<2, Int>,
        settled: &Settled,
    ) -> Tensor<1> {
        let hidden = self.hidden_telling(inputs, Some(settled));
        self.cross_entropy(hidden, targets)
    }

    /// Mean cross-entropy of the last places alone: `inputs` [B, T] and `targets` [B, n], n ≤ T, of
    /// the last n places → `[1]`.
    pub fn loss_of_last(&self, inputs: Tensor<2, Int>, targets: Tensor<2, Int>) -> Tensor<1> {
        let hidden = self.hidden(inputs);
        let tokens = hidden.dims()[1];
        let last = targets.dims()[1];
        self.cross_entropy(hidden.narrow(1, tokens - last, last), targets)
    }

    fn cross_entropy(&self, hidden: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<1> {
        let [batch, tokens, width] = hidden.dims();
        let hidden = self
            .precision
            .narrow(hidden.reshape([batch * tokens, width]));
        let targets = targets.reshape([batch * tokens]);
        self.kernels
            .head_cross_entropy(hidden, self.head_weight(), targets)
    }

    fn head_weight(&self) -> Tensor<2> {
        self.head.as_ref().unwrap_or(&self.embedding).val()
    }
}
