//! AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", 2019).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use burn::module::{Module, ModuleMapper, Param, ParamId};
use burn::tensor::{Device, Tensor};
use simattn::named::NamedParameter;
use simattn_kernels::call;
use simattn_kernels::cpu::adamw;
use simattn_kernels::ops::{AdamWState, GroupSettings, adamw_step_by};

use crate::flat::{Flat, part_of, with_part};
use crate::gradients::GradientSum;
use crate::sharding::Shards;
use crate::tensors::{TensorError, TensorFile};
use simattn::checkpoint::NamedTensor;

/// The names under which a parameter's moments are saved begin with these.
pub(crate) const MOMENTS: [&str; 2] = ["first_moment.", "second_moment."];

/// AdamW's constants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWConfig {
    /// Decay rate of the first moment.
    pub beta1: f64,
    /// Decay rate of the second moment.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// Weight decay, on tensors of two or more axes only.
    pub weight_decay: f64,
}

/// What gradients are multiplied by before an update: the mean over micro-batches, and the
/// clipping.
#[derive(Clone, Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one a step")]
pub enum Scale {
    /// A number that is known.
    Known(f64),
    /// One float32 number that is still on the device, so that nothing waits for it. If it is not
    /// finite, the update leaves everything as it is.
    OnDevice(Tensor<1>),
}

impl From<f64> for Scale {
    fn from(scale: f64) -> Self {
        Self::Known(scale)
    }
}

impl Scale {
    /// As a number, which waits for the device.
    pub(crate) fn number(&self) -> f64 {
        match self {
            Self::Known(scale) => *scale,
            Self::OnDevice(scale) => f64::from(scale.clone().into_scalar::<f32>()),
        }
    }

    /// As a tensor on `device`.
    pub(crate) fn tensor(&self, device: &Device) -> Tensor<1> {
        match self {
            Self::Known(scale) => Tensor::from_floats([*scale as f32], device),
            Self::OnDevice(scale) => scale.clone(),
        }
    }
}

/// The optimiser with its moments, one pair for every parameter that had a gradient.
///
/// An update is one pass over each tensor where there are kernels for it, on the CPU in parallel.
#[derive(Debug)]
pub struct AdamW {
    config: AdamWConfig,
    updates: u64,
    moments: HashMap<ParamId, Moments>,
    /// Zeros for parameters that had no gradient yet; see [`AdamW::reserve`].
    reserved: HashMap<ParamId, Moments>,
    /// Where other ranks remember a part.
    shards: Option<Arc<Shards>>,
}

#[derive(Debug)]
struct Moments {
    first: Flat,
    second: Flat,
}

impl Moments {
    /// Of no numbers.
    fn none() -> Self {
        let none = || Flat::Host(Vec::new());
        Self {
            first: none(),
            second: none(),
        }
    }
}

impl AdamW {
    /// Moments zero, no update made.
    pub fn new(config: AdamWConfig) -> Self {
        Self {
            config,
            updates: 0,
            moments: HashMap::new(),
            reserved: HashMap::new(),
            shards: None,
        }
    }

    /// Remembers only what this rank owns from now on. To be called before the first step.
    pub(crate) fn shard(
        &mut self,
        shards: Arc<Shards>,
        parameters: &[NamedParameter],
        device: &Device,
    ) {
        self.shards = Some(shards);
        self.reserved.clear();
        self.reserve(parameters, device);
    }

    /// Takes the memory of the moments of `parameters` now. To be called before the first step:
    /// activations that come and go leave holes, into which large moments that come later do not
    /// fit.
    pub fn reserve(&mut self, parameters: &[NamedParameter], device: &Device) {
        if !Flat::is_host(device) {
            return;
        }
        for NamedParameter { id, shape, .. } in parameters {
            if self.moments.contains_key(id) {
                continue;
            }
            let count = own(&self.shards, *id, shape.iter().product()).len();
            let zeros = || Flat::Host(vec![0.0; count]);
            self.reserved.entry(*id).or_insert_with(|| Moments {
                first: zeros(),
                second: zeros(),
            });
        }
    }

    /// Updates made so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// Counts `updates` fewer: as many at the end left everything as it was.
    pub(crate) fn take_back(&mut self, updates: u64) {
        self.updates = self.updates.saturating_sub(updates);
    }

    /// A copy of the moments, two tensors for every parameter of `parameters` that has them.
    pub fn moments(&self, parameters: &[NamedParameter]) -> Vec<NamedTensor> {
        let mut tensors = Vec::new();
        for parameter in parameters {
            let Some(moments) = self.moments.get(&parameter.id) else {
                continue;
            };
            for (prefix, flat) in MOMENTS.iter().zip([&moments.first, &moments.second]) {
                let count = parameter.shape.iter().product();
                tensors.push(NamedTensor {
                    name: format!("{prefix}{}", parameter.name),
                    shape: parameter.shape.clone(),
                    values: match &self.shards {
                        Some(shards) => shards.gathered(parameter.id, flat, count),
                        None => flat.to_numbers(),
                    },
                });
            }
        }
        tensors
    }

    /// Goes on from saved moments after `updates` updates. Parameters without saved moments start
    /// at zero with their next gradient, as they did in the run that saved.
    ///
    /// # Errors
    ///
    /// [`TensorError`] where one moment is there without the other, or has another shape.
    pub fn restore(
        &mut self,
        parameters: &[NamedParameter],
        file: &mut TensorFile,
        updates: u64,
        device: &Device,
    ) -> Result<(), TensorError> {
        let mut restored = HashMap::new();
        for NamedParameter { id, name, shape } in parameters {
            let [first, second] = MOMENTS.map(|prefix| format!("{prefix}{name}"));
            if !file.contains(&first) && !file.contains(&second) {
                continue;
            }
            let mut take = |name: &str| {
                let mut numbers = file.take(name, shape)?;
                let own = own(&self.shards, *id, numbers.len());
                numbers.truncate(own.end);
                numbers.drain(..own.start);
                numbers.shrink_to_fit();
                Ok::<_, TensorError>(match numbers.is_empty() {
                    true => Flat::Host(numbers),
                    false => Flat::from_numbers(numbers, device),
                })
            };
            let moments = Moments {
                first: take(&first)?,
                second: take(&second)?,
            };
            restored.insert(*id, moments);
        }
        self.reserved.retain(|id, _| !restored.contains_key(id));
        self.moments = restored;
        self.updates = updates;
        Ok(())
    }

    /// One update: `scale` times the gradients moves the parameters at `learning_rate`.
    ///
    /// `scale` carries the mean over micro-batches and the clipping. Parameters without a gradient
    /// stay as they are, undecayed. An update that `scale` stops on the device counts still.
    pub fn update<M: Module>(
        &mut self,
        module: M,
        gradients: GradientSum,
        learning_rate: f64,
        scale: impl Into<Scale>,
    ) -> M {
        self.updates += 1;
        let scale = scale.into();
        let factors = Factors {
            config: self.config,
            update: self.updates,
            learning_rate,
        };
        module.map(&mut Updater {
            factors,
            host_scale: None,
            scale: &scale,
            gradients,
            moments: &mut self.moments,
            reserved: &mut self.reserved,
            shards: &self.shards,
        })
    }
}

/// What this rank remembers of a parameter with `count` numbers.
fn own(shards: &Option<Arc<Shards>>, id: ParamId, count: usize) -> Range<usize> {
    shards.as_ref().map_or(0..count, |shards| shards.own(id))
}

/// What the updates of all tensors share.
#[derive(Clone, Copy, Debug)]
struct Factors {
    config: AdamWConfig,
    /// The number of this update, from 1.
    update: u64,
    learning_rate: f64,
}

impl Factors {
    fn settings(&self, gradient_factor: f32) -> call::AdamW {
        call::AdamW {
            beta_1: self.config.beta1 as f32,
            beta_2: self.config.beta2 as f32,
            epsilon: self.config.epsilon as f32,
            step: self.update,
            gradient_factor,
        }
    }

    /// On slices of one length, in one pass.
    fn apply(
        &self,
        scale: f64,
        weight_decay: f64,
        values: &mut [f32],
        gradient: &[f32],
        first_moment: &mut [f32],
        second_moment: &mut [f32],
    ) {
        let parameter = adamw::Parameter {
            values,
            gradient,
            first_moment,
            second_moment,
            learning_rate: self.learning_rate as f32,
            weight_decay: weight_decay as f32,
        };
        adamw::step(self.settings(scale as f32), &mut [parameter]);
    }

    /// The same with tensors, on any device: new weights and moments.
    fn apply_tensors(
        &self,
        scale: &Scale,
        weight_decay: f64,
        weights: Tensor<1>,
        gradient: Tensor<1>,
        moments: AdamWState<1>,
    ) -> (Tensor<1>, AdamWState<1>) {
        let group = GroupSettings {
            learning_rate: self.learning_rate as f32,
            weight_decay: weight_decay as f32,
        };
        let factor = scale.tensor(&weights.device());
        adamw_step_by(
            self.settings(1.0),
            group,
            weights,
            gradient,
            moments,
            factor,
        )
    }
}

struct Updater<'a> {
    factors: Factors,
    scale: &'a Scale,
    /// The scale as a number, once a tensor in this process's memory needed it.
    host_scale: Option<f64>,
    gradients: GradientSum,
    moments: &'a mut HashMap<ParamId, Moments>,
    reserved: &'a mut HashMap<ParamId, Moments>,
    shards: &'a Option<Arc<Shards>>,
}

impl ModuleMapper for Updater<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(gradient) = self.gradients.take(param.id) else {
            return param;
        };
        let own = own(self.shards, param.id, param.lazy_shape().num_elements());
        if own.is_empty() {
            // Known to have moments, as on the ranks that have them.
            self.moments.entry(param.id).or_insert_with(Moments::none);
            return param;
        }
        let mut scale = f64::NAN;
        if matches!(gradient, Flat::Host(_)) {
            scale = *self.host_scale.get_or_insert_with(|| self.scale.number());
            if !scale.is_finite() {
                return param;
            }
        }
        let (id, tensor, mapper) = param.consume();
        let device = tensor.device();
        let trains = tensor.is_require_grad();
        let shape = tensor.shape();
        let factors = self.factors;
        let decay = if D < 2 {
            0.0
        } else {
            factors.config.weight_decay
        };
        let gradient = gradient.part(own.clone());
        let moments = self.moments.entry(id).or_insert_with(|| {
            let zeros = || Moments {
                first: gradient.zeros_like(),
                second: gradient.zeros_like(),
            };
            self.reserved.remove(&id).unwrap_or_else(zeros)
        });
        let plain = device.clone().without_autodiff();
        let weights = Flat::from_tensor(tensor.inner());
        let updated = match (weights, gradient, &mut moments.first, &mut moments.second) {
            (
                Flat::Host(mut weights),
                Flat::Host(gradient),
                Flat::Host(first),
                Flat::Host(second),
            ) => {
                factors.apply(scale, decay, &mut weights[own], &gradient, first, second);
                Flat::Host(weights)
            }
            (weights, gradient, first, second) => {
                let take = |flat: &mut Flat| {
                    std::mem::replace(flat, Flat::Host(Vec::new())).into_tensor(&plain)
                };
                let state = AdamWState {
                    first_moment: take(first),
                    second_moment: take(second),
                };
                let weights = weights.into_tensor(&plain);
                let (updated, state) = factors.apply_tensors(
                    self.scale,
                    decay,
                    part_of(&weights, own.clone()),
                    gradient.into_tensor(&plain),
                    state,
                );
                *first = Flat::Device(state.first_moment);
                *second = Flat::Device(state.second_moment);
                Flat::Device(with_part(weights, own, updated))
            }
        };
        let mut tensor = updated.into_shaped::<D>(shape, &plain);
        if device.is_autodiff() {
            tensor = Tensor::from_inner(tensor);
        }
        if trains {
            tensor = tensor.require_grad();
        }
        Param::from_mapped_value(id, tensor, mapper)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::backend::Flex;
    use burn::tensor::{Device, TensorData};

    #[derive(Module, Debug)]
    struct Layer {
        weight: Param<Tensor<2>>,
        bias: Param<Tensor<1>>,
        unused: Param<Tensor<2>>,
    }

    const CONFIG: AdamWConfig = AdamWConfig {
        beta1: 0.9,
        beta2: 0.95,
        epsilon: 1e-8,
        weight_decay: 0.1,
    };

    fn layer(device: &Device) -> Layer {
        Layer {
            weight: Param::from_tensor(Tensor::from_floats([[1.0, -2.0], [0.5, 3.0]], device)),
            bias: Param::from_tensor(Tensor::from_floats([0.25, -4.0], device)),
            unused: Param::from_tensor(Tensor::from_floats([[7.0]], device)),
        }
    }

    /// Gradients: 2·weight and 3.
    fn gradients(layer: &Layer) -> GradientSum {
        let loss = layer.weight.val().square().sum() + layer.bias.val().sum() * 3.0;
        let mut sum = GradientSum::new();
        sum.add(layer, loss.backward());
        sum
    }

    fn numbers<const D: usize>(tensor: &Param<Tensor<D>>) -> Vec<f32> {
        let data: TensorData = tensor.val().inner().into_data();
        data.try_into_vec().expect("float32")
    }

    /// AdamW from its definition, in float64.
    fn expected(mut weight: f64, gradient: impl Fn(f64) -> f64, decay: f64, rate: f64) -> f64 {
        let (mut first, mut second) = (0.0, 0.0);
        for step in 1..=5 {
            let gradient = 0.5 * gradient(weight);
            first = 0.9 * first + 0.1 * gradient;
            second = 0.95 * second + 0.05 * gradient * gradient;
            let first_hat = first / (1.0 - 0.9f64.powi(step));
            let second_hat = second / (1.0 - 0.95f64.powi(step));
            weight -= rate * decay * weight;
            weight -= rate * first_hat / (second_hat.sqrt() + 1e-8);
        }
        weight
    }

    #[test]
    fn five_updates_follow_the_definition() {
        let device = Device::flex().autodiff();
        let mut module = layer(&device);
        let mut optimizer = AdamW::new(CONFIG);
        for _ in 0..5 {
            let gradients = gradients(&module);
            module = optimizer.update(module, gradients, 0.01, 0.5);
        }
        assert_eq!(optimizer.updates(), 5);
        for (got, start) in numbers(&module.weight).iter().zip([1.0, -2.0, 0.5, 3.0]) {
            let want = expected(start, |weight| 2.0 * weight, 0.1, 0.01);
            assert!((f64::from(*got) - want).abs() < 1e-5, "{got} {want}");
        }
        for (got, start) in numbers(&module.bias).iter().zip([0.25, -4.0]) {
            let want = expected(start, |_| 3.0, 0.0, 0.01);
            assert!((f64::from(*got) - want).abs() < 1e-5, "{got} {want}");
        }
        assert_eq!(numbers(&module.unused), [7.0], "no gradient, no decay");
        assert!(module.weight.val().is_require_grad());
    }

    #[test]
    fn a_scale_that_is_not_finite_stops_the_update() {
        let device = Device::flex().autodiff();
        let mut module = layer(&device);
        let mut optimizer = AdamW::new(CONFIG);
        for (scale, moves) in [(0.5, true), (f32::NAN, false), (f32::INFINITY, false)] {
            let gradients = gradients(&module);
            let before = numbers(&module.weight);
            let parameters = simattn::named::parameters(&module);
            let moments = optimizer.moments(&parameters);
            let scale = Scale::OnDevice(Tensor::from_floats([scale], &Device::flex()));
            module = optimizer.update(module, gradients, 0.01, scale);
            assert_eq!(numbers(&module.weight) != before, moves);
            let after = optimizer.moments(&parameters);
            assert_eq!(after.len() != moments.len(), moves);
            assert!(moves || after[0].values == moments[0].values);
        }
    }

    /// Where the numbers of a tensor lie.
    fn address(tensor: &Param<Tensor<2>>) -> usize {
        let tensor = tensor.val().inner().try_into_primitive::<Flex>();
        tensor.expect("the CPU").storage::<f32>().as_ptr() as usize
    }

    #[test]
    fn an_update_leaves_the_numbers_where_they_are() {
        let device = Device::flex().autodiff();
        let mut module = layer(&device);
        let mut optimizer = AdamW::new(CONFIG);
        for step in 0..3 {
            let gradients = gradients(&module);
            let before = address(&module.weight);
            module = optimizer.update(module, gradients, 0.01, 0.5);
            assert_eq!(address(&module.weight), before, "step {step}");
        }
    }

    #[test]
    fn the_tensor_form_says_the_same_as_the_slices() {
        let device = Device::flex();
        let count = 20_000;
        let wave = |phase: f32| -> Vec<f32> {
            (0..count)
                .map(|at| (at as f32 * 0.37 + phase).sin())
                .collect()
        };
        let (mut weights, gradient) = (wave(0.0), wave(1.0));
        let (mut first, second) = (wave(2.0), wave(3.0));
        let mut second: Vec<f32> = second.iter().map(|number| number * number).collect();
        let factors = Factors {
            config: CONFIG,
            update: 3,
            learning_rate: 6e-4,
        };
        let tensor = |numbers: &[f32]| Flat::Host(numbers.to_vec()).into_tensor(&device);
        let state = AdamWState {
            first_moment: tensor(&first),
            second_moment: tensor(&second),
        };
        let (new, state) = factors.apply_tensors(
            &Scale::OnDevice(Tensor::from_floats([0.3], &device)),
            0.1,
            tensor(&weights),
            tensor(&gradient),
            state,
        );
        factors.apply(0.3, 0.1, &mut weights, &gradient, &mut first, &mut second);
        let pairs = [
            (new, weights),
            (state.first_moment, first),
            (state.second_moment, second),
        ];
        for (tensor, slice) in pairs {
            let tensor: Vec<f32> = tensor.into_data().try_into_vec().expect("float32");
            let (mut wrong, mut size) = (0.0f64, 0.0f64);
            for (a, b) in tensor.iter().zip(&slice) {
                wrong += f64::from(a - b).powi(2);
                size += f64::from(*b).powi(2);
            }
            assert!((wrong / size).sqrt() < 1e-6);
        }
    }
}
