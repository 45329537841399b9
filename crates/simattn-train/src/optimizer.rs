//! The optimiser of a run: AdamW alone, or Muon for the hidden matrices and AdamW for the rest.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use simattn::named::{self, NamedParameter};

use crate::adamw::{AdamW, AdamWConfig, Scale};
use crate::gradients::GradientSum;
use crate::muon::{Muon, is_hidden_matrix};
use crate::ranks::Ranks;
use crate::sharding::Shards;
use crate::tensors::{TensorError, TensorFile};
use simattn::checkpoint::NamedTensor;

/// Which optimiser moves the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// AdamW for every parameter.
    #[default]
    AdamW,
    /// Muon for the matrices inside the layers; AdamW for embedding, head, norms, biases and
    /// whatever has another number of axes than two.
    Muon,
}

/// An optimiser's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OptimizerConfig {
    /// Which one.
    pub kind: OptimizerKind,
    /// AdamW's constants; its weight decay is Muon's too.
    pub adamw: AdamWConfig,
    /// Muon's momentum.
    pub momentum: f64,
}

/// The optimiser with everything it remembers between updates.
#[derive(Debug)]
pub struct Optimizer {
    adamw: AdamW,
    muon: Option<Muon>,
    /// Where several ranks remember a part each.
    shards: Option<Arc<Shards>>,
}

impl Optimizer {
    /// For the parameters of `module` on `device`; nothing remembered yet, but AdamW's memory is
    /// taken.
    pub fn new<M: Module>(config: OptimizerConfig, module: &M, device: &Device) -> Self {
        let mut parameters = named::parameters(module);
        let muon = (config.kind == OptimizerKind::Muon)
            .then(|| Muon::new(config.momentum, config.adamw.weight_decay, &parameters));
        let mut adamw = AdamW::new(config.adamw);
        if muon.is_some() {
            parameters.retain(|parameter| !is_hidden_matrix(parameter));
        }
        adamw.reserve(&parameters, device);
        Self {
            adamw,
            muon,
            shards: None,
        }
    }

    /// Has each of `ranks` remember a share from now on. To be called before the first step, on all.
    pub(crate) fn shard(&mut self, ranks: &Ranks, parameters: &[NamedParameter], device: &Device) {
        let has_muon = self.muon.is_some();
        let whole = |parameter: &NamedParameter| has_muon && is_hidden_matrix(parameter);
        let shards = Arc::new(Shards::new(ranks, parameters, whole));
        let mut split = parameters.to_vec();
        split.retain(|parameter| !whole(parameter));
        self.adamw.shard(shards.clone(), &split, device);
        if let Some(muon) = &mut self.muon {
            muon.shard(shards.clone());
        }
        self.shards = Some(shards);
    }

    /// Whether [`Self::state`] needs all ranks.
    pub(crate) fn is_sharded(&self) -> bool {
        self.shards.is_some()
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.adamw.updates()
    }

    /// One update, as [`AdamW::update`].
    pub fn update<M: Module>(
        &mut self,
        module: M,
        mut gradients: GradientSum,
        learning_rate: f64,
        scale: impl Into<Scale>,
    ) -> M {
        let scale = scale.into();
        let module = match &mut self.muon {
            Some(muon) => muon.update(module, &mut gradients, learning_rate, &scale),
            None => module,
        };
        let module = self.adamw.update(module, gradients, learning_rate, scale);
        match &self.shards {
            Some(shards) => shards.with_owners_weights(module),
            None => module,
        }
    }

    /// As [`AdamW::take_back`].
    pub(crate) fn take_back(&mut self, updates: u64) {
        self.adamw.take_back(updates);
    }

    /// A copy of all that is remembered, by the names of `parameters`. Where it is shared between
    /// ranks, all of them call this, and those that do not lead get tensors without numbers.
    pub fn state(&self, parameters: &[NamedParameter]) -> Vec<NamedTensor> {
        let mut tensors = self.adamw.moments(parameters);
        if let Some(muon) = &self.muon {
            tensors.extend(muon.state(parameters));
        }
        tensors
    }

    /// Goes on from what [`Self::state`] gave after `updates` updates.
    ///
    /// # Errors
    ///
    /// [`TensorError`] where a tensor has another shape, or belongs to no parameter.
    pub fn restore(
        &mut self,
        parameters: &[NamedParameter],
        file: &mut TensorFile,
        updates: u64,
        device: &Device,
    ) -> Result<(), TensorError> {
        if let Some(muon) = &mut self.muon {
            muon.restore(parameters, file, device)?;
        }
        self.adamw.restore(parameters, file, updates, device)?;
        file.expect_empty()
    }
}
