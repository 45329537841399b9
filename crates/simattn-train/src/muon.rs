//! Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::optim::decay::WeightDecayConfig;
use burn::optim::momentum::MomentumConfig;
use burn::optim::{AdjustLrFn, MuonConfig, Optimizer as _};
use burn::tensor::{Device, Tensor};
use simattn::named::NamedParameter;

use crate::adamw::Scale;
use crate::flat::Flat;
use crate::gradients::GradientSum;
use crate::sharding::Shards;
use crate::tensors::{TensorError, TensorFile};
use simattn::checkpoint::NamedTensor;

/// The name under which a parameter's momentum is saved begins with this.
pub(crate) const MOMENTUM: &str = "momentum.";

/// Muon on the weight matrices inside the layers.
///
/// Burn's implementation orthogonalises and applies the update, in the form whose updates have the
/// size of AdamW's (Liu et al., "Muon is scalable for LLM training", 2025), so that one learning
/// rate serves both. The Nesterov momentum before it is kept here, where a checkpoint can take it
/// bit for bit: Burn's own is private to it.
#[derive(Debug)]
pub(crate) struct Muon {
    momentum: f64,
    weight_decay: f64,
    /// The parameters it moves.
    members: HashSet<ParamId>,
    /// Empty for matrices of other owners.
    velocities: HashMap<ParamId, Flat>,
    /// Where other ranks remember the momentum of some matrices.
    shards: Option<Arc<Shards>>,
}

/// Whether Muon moves a parameter: a matrix inside a layer, so neither embedding nor head.
pub(crate) fn is_hidden_matrix(parameter: &NamedParameter) -> bool {
    is_hidden(&parameter.name, &parameter.shape)
}

/// The same by the parameter's name and shape.
pub(crate) fn is_hidden(name: &str, shape: &[usize]) -> bool {
    shape.len() == 2 && name.starts_with("layers.")
}

impl Muon {
    /// No momentum yet.
    pub(crate) fn new(momentum: f64, weight_decay: f64, parameters: &[NamedParameter]) -> Self {
        Self {
            momentum,
            weight_decay,
            members: parameters
                .iter()
                .filter(|parameter| is_hidden_matrix(parameter))
                .map(|parameter| parameter.id)
                .collect(),
            velocities: HashMap::new(),
            shards: None,
        }
    }

    /// Remembers only the momentum of matrices that this rank owns from now on. To be called before
    /// the first step.
    pub(crate) fn shard(&mut self, shards: Arc<Shards>) {
        self.shards = Some(shards);
    }

    /// Whether another rank moves a matrix.
    fn is_elsewhere(&self, id: ParamId) -> bool {
        (self.shards.as_ref()).is_some_and(|shards| shards.own(id).is_empty())
    }

    /// One update of its members; their gradients leave `gradients`, the others stay.
    pub(crate) fn update<M: Module>(
        &mut self,
        module: M,
        gradients: &mut GradientSum,
        learning_rate: f64,
        scale: &Scale,
    ) -> M {
        let step = MuonConfig::new()
            .with_weight_decay(Some(WeightDecayConfig::new(self.weight_decay as f32)))
            .with_momentum(MomentumConfig {
                momentum: 0.0,
                dampening: 0.0,
                nesterov: false,
            })
            .with_adjust_lr_fn(AdjustLrFn::MatchRmsAdamW)
            .build();
        module.map(&mut Updater {
            step,
            muon: self,
            gradients,
            learning_rate,
            scale,
        })
    }

    /// A copy of the momentum, one tensor for every member that has one.
    pub(crate) fn state(&self, parameters: &[NamedParameter]) -> Vec<NamedTensor> {
        parameters
            .iter()
            .filter_map(|parameter| {
                let velocity = self.velocities.get(&parameter.id)?;
                let count = parameter.shape.iter().product();
                Some(NamedTensor {
                    name: format!("{MOMENTUM}{}", parameter.name),
                    shape: parameter.shape.clone(),
                    values: match &self.shards {
                        Some(shards) => shards.gathered(parameter.id, velocity, count),
                        None => velocity.to_numbers(),
                    },
                })
            })
            .collect()
    }

    /// Goes on from a saved momentum.
    pub(crate) fn restore(
        &mut self,
        parameters: &[NamedParameter],
        file: &mut TensorFile,
        device: &Device,
    ) -> Result<(), TensorError> {
        self.velocities.clear();
        for NamedParameter { id, name, shape } in parameters {
            let saved = format!("{MOMENTUM}{name}");
            if self.members.contains(id) && file.contains(&saved) {
                let numbers = file.take(&saved, shape)?;
                let velocity = match self.is_elsewhere(*id) {
                    true => Flat::Host(Vec::new()),
                    false => Flat::from_numbers(numbers, device),
                };
                self.velocities.insert(*id, velocity);
            }
        }
        Ok(())
    }
}

struct Updater<'a> {
    step: burn::optim::Muon,
    muon: &'a mut Muon,
    gradients: &'a mut GradientSum,
    learning_rate: f64,
    scale: &'a Scale,
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D != 2 || !self.muon.members.contains(&param.id) {
            return param;
        }
        let Some(gradient) = self.gradients.take(param.id) else {
            return param;
        };
        if self.muon.is_elsewhere(param.id) {
            let nothing = Flat::Host(Vec::new());
            self.muon.velocities.insert(param.id, nothing);
            return param;
        }
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device();
        let trains = tensor.is_require_grad();
        let shape = tensor.shape();
        let plain = device.clone().without_autodiff();
        let gradient = gradient.into_shaped::<D>(shape.clone(), &plain);
        // If the scale is on the device, so is the decision whether there is an update at all.
        let (gradient, stopped) = match self.scale {
            Scale::Known(scale) => (gradient.mul_scalar(*scale), None),
            Scale::OnDevice(scale) => {
                let scale = scale.clone().reshape([1; D]).expand(shape.clone());
                (gradient * scale.clone(), Some(scale.is_finite().bool_not()))
            }
        };
        let kept = |new: Tensor<D>, old: Tensor<D>| match &stopped {
            Some(stopped) => new.mask_where(stopped.clone(), old),
            None => new,
        };
        let before = self.muon.velocities.remove(&id);
        let velocity = match before {
            Some(before) => {
                let before = before.into_shaped::<D>(shape, &plain);
                let moved = before.clone().mul_scalar(self.muon.momentum) + gradient.clone();
                kept(moved, before)
            }
            None => kept(gradient.clone(), gradient.zeros_like()),
        };
        let direction = gradient + velocity.clone().mul_scalar(self.muon.momentum);
        let old = tensor.inner();
        let (weights, _) = self
            .step
            .step(self.learning_rate, old.clone(), direction, None);
        let weights = kept(weights, old);
        self.muon.velocities.insert(id, Flat::from_tensor(velocity));
        let mut tensor = weights;
        if device.is_autodiff() {
            tensor = Tensor::from_inner(tensor);
        }
        if trains {
            tensor = tensor.require_grad();
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}
