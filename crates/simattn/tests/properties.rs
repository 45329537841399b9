//! What must hold for every variant, whatever its weights: causality, right gradients, any shape.

mod variants;

use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Int, Tensor, TensorData},
};
use simattn::{Decoder, ModelConfig, cost::Cost, named};
use simattn_kernels::Kernels;
use simattn_random::stream;
use variants::models;

fn ids(batch: usize, tokens: usize, seed: u64, device: &Device) -> Tensor<2, Int> {
    let mut chance = stream(seed, "ids");
    let values: Vec<i32> = (0..batch * tokens)
        .map(|_| chance.below(31) as i32)
        .collect();
    Tensor::from_data(TensorData::new(values, [batch, tokens]), device)
}

fn values(logits: Tensor<3>) -> Vec<f32> {
    logits.into_data().iter::<f32>().collect()
}

#[test]
fn changing_a_token_changes_nothing_before_it() {
    let device = Device::flex();
    let (tokens, changed) = (11, 6);
    for (name, config) in models() {
        let model = Decoder::new(&config, 3, &device).expect("a valid model");
        for kernels in [Kernels::Fast, Kernels::Reference] {
            let model = model.clone().with_kernels(kernels);
            let before = ids(2, tokens, 1, &device);
            let other = (before.clone().narrow(1, changed, 1) + 1).remainder_scalar(31);
            let after = Tensor::cat(
                vec![
                    before.clone().narrow(1, 0, changed),
                    other,
                    before.clone().narrow(1, changed + 1, tokens - changed - 1),
                ],
                1,
            );
            let (a, b) = (values(model.logits(before)), values(model.logits(after)));
            for (row, (a, b)) in a.chunks(31).zip(b.chunks(31)).enumerate() {
                let position = row % tokens;
                let off = a
                    .iter()
                    .zip(b)
                    .map(|(a, b)| (a - b).abs())
                    .fold(0.0, f32::max);
                if position < changed {
                    assert!(
                        off == 0.0,
                        "{name} {kernels:?}: position {position} moved by {off:e}"
                    );
                } else if position == changed {
                    assert!(
                        off > 1e-6,
                        "{name} {kernels:?}: nothing happened at {position}"
                    );
                }
            }
        }
    }
}

#[test]
fn fast_kernels_agree_with_the_definitions_at_any_shape() {
    let device = Device::flex().autodiff();
    for (name, config) in models() {
        for (batch, tokens) in [(1, 1), (3, 1), (1, 7), (2, 13)] {
            let model = Decoder::new(&config, 5, &device).expect("a valid model");
            let run = |kernels| {
                let model = model.clone().with_kernels(kernels);
                let inputs = ids(batch, tokens, 7, &device);
                let targets = ids(batch, tokens, 8, &device);
                let loss = model.loss(inputs, targets);
                let gradients = loss.backward();
                (
                    f64::from(loss.into_scalar::<f32>()),
                    gradients_of(&model, &gradients),
                )
            };
            let (fast, fast_gradients) = run(Kernels::Fast);
            let (slow, slow_gradients) = run(Kernels::Reference);
            assert!(
                (fast - slow).abs() < 1e-5,
                "{name} {batch}×{tokens}: {fast} {slow}"
            );
            // A gradient that vanishes is compared on the scale of the largest one.
            let scale = slow_gradients
                .iter()
                .map(|(_, g)| rms(g))
                .fold(0.0, f64::max);
            for ((tensor, a), (_, b)) in fast_gradients.iter().zip(&slow_gradients) {
                let difference: Vec<f64> = a.iter().zip(b).map(|(a, b)| a - b).collect();
                let error = rms(&difference) / rms(b).max(1e-2 * scale);
                assert!(error < 2e-5, "{name} {batch}×{tokens} {tensor}: {error:e}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let device = Device::flex().autodiff();
    for (name, config) in models() {
        let model = Decoder::with_dtype(&config, 9, &device, DType::F64)
            .expect("a valid model")
            .with_kernels(Kernels::Reference);
        let loss = |model: &Decoder| {
            let (inputs, targets) = (ids(2, 5, 1, &device), ids(2, 5, 2, &device));
            model.loss(inputs, targets)
        };
        let gradients = gradients_of(&model, &loss(&model).backward());
        let mut chance = stream(11, &name);
        for (tensor, gradient) in gradients {
            // One random element of every tensor.
            let index = chance.below(gradient.len() as u64) as usize;
            let at = |delta: f64| {
                let nudge = &mut Nudge {
                    path: named::Path::default(),
                    tensor: &tensor,
                    index,
                    delta,
                };
                loss(&model.clone().map(nudge)).into_scalar::<f64>()
            };
            let step = 1e-5;
            let slope = (at(step) - at(-step)) / (2.0 * step);
            let off = (slope - gradient[index]).abs();
            // Central differences in float64: about 1e-10 from truncation and rounding together.
            assert!(
                off < 1e-8 + 1e-5 * slope.abs(),
                "{name} {tensor}[{index}]: {slope:e} by differences, {:e} by backward",
                gradient[index]
            );
        }
    }
}

#[test]
fn costs_count_the_parameters_that_are_there() {
    let device = Device::flex();
    for (name, mut config) in models() {
        for bias in [false, true] {
            config.bias = bias;
            let model = Decoder::new(&config, 1, &device).expect("a valid model");
            let cost = Cost::of(&config).parameters;
            assert_eq!(
                cost.total,
                model.num_params() as u128,
                "{name}, bias {bias}"
            );
            let attention: usize = named::parameters(&model)
                .iter()
                .filter(|p| p.name.contains(".attention."))
                .map(|p| p.shape.iter().product::<usize>())
                .sum();
            assert_eq!(cost.attention, attention as u128, "{name}, bias {bias}");
        }
    }
}

#[test]
fn costs_are_those_of_the_published_table() {
    // 12 → 36 heads, 64 → 96, κ = 5, T = 512: 27.0 GFLOP for 2,048 tokens of one layer.
    let attention = serde_json::from_str(
        r#"{ "kind": "sas", "heads": 12, "head_dim": 64, "expanded_heads": 36,
             "expanded_head_dim": 96, "kernel_size": 5 }"#,
    )
    .expect("a valid attention");
    let mut config = ModelConfig::neox(512, 1, 768, attention);
    config.vocabulary = 1;
    config.mlp_width = Some(1);
    let cost = Cost::of(&config);
    assert_eq!(cost.parameters.expansion, 57_240);
    let mlp_and_head = 2.0 * (2.0 * 768.0 + 768.0);
    let layer = 2048.0 * (cost.forward_flops_per_token(512) - mlp_and_head);
    assert!((layer / 1e9 - 27.0).abs() < 0.1, "{layer}");
}

#[test]
fn shared_parts_start_alike_whatever_the_attention() {
    let device = Device::flex();
    let all = models();
    let (_, first) = &all[0];
    let first = Decoder::new(first, 1, &device).expect("a valid model");
    let (_, other) = all
        .iter()
        .find(|(name, _)| name == "sas, neox")
        .expect("there is SAS");
    let other = Decoder::new(other, 1, &device).expect("a valid model");
    let same = |a: Tensor<2>, b: Tensor<2>| a.into_data() == b.into_data();
    assert!(same(first.embedding.val(), other.embedding.val()));
    assert!(same(
        first.layers[1].mlp.up.weight.val(),
        other.layers[1].mlp.up.weight.val()
    ));
}

fn rms(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// Every parameter's gradient by name.
fn gradients_of(model: &Decoder, gradients: &Gradients) -> Vec<(String, Vec<f64>)> {
    struct Collect<'a> {
        path: named::Path,
        gradients: &'a Gradients,
        found: Vec<(String, Vec<f64>)>,
    }
    impl ModuleVisitor for Collect<'_> {
        fn enter_module(&mut self, name: &str, container_type: &str) {
            self.path.enter(name, container_type);
        }
        fn exit_module(&mut self, _: &str, container_type: &str) {
            self.path.exit(container_type);
        }
        fn visit_float<const R: usize>(&mut self, param: &Param<Tensor<R>>) {
            let name = self.path.name();
            let gradient = param.val().grad(self.gradients);
            let gradient = gradient.unwrap_or_else(|| panic!("{name} has no gradient"));
            self.found
                .push((name, gradient.into_data().iter::<f64>().collect()));
        }
    }
    let mut collect = Collect {
        path: named::Path::default(),
        gradients,
        found: Vec::new(),
    };
    model.visit(&mut collect);
    collect.found
}

/// Adds `delta` to one element of one tensor.
struct Nudge<'a> {
    path: named::Path,
    tensor: &'a str,
    index: usize,
    delta: f64,
}

impl ModuleMapper for Nudge<'_> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }
    fn exit_module(&mut self, _: &str, container_type: &str) {
        self.path.exit(container_type);
    }
    fn map_float<const R: usize>(&mut self, param: Param<Tensor<R>>) -> Param<Tensor<R>> {
        if self.path.name() != self.tensor {
            return param;
        }
        let value = param.val();
        let (device, dtype) = (value.device(), value.dtype());
        let data = value.into_data();
        let mut values: Vec<f64> = data.iter::<f64>().collect();
        values[self.index] += self.delta;
        let data = TensorData::new(values, data.shape().to_vec());
        Param::from_tensor(Tensor::from_data(data, (&device, dtype)))
    }
}
