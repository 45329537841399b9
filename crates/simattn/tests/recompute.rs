//! What a block works out again in backward changes no bit of the loss or of a gradient.

mod variants;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{Device, Gradients, Int, Tensor, TensorData},
};
use simattn::{Decoder, ModelConfig, Recompute};
use simattn_kernels::Kernels;
use variants::models;

/// The loss and every gradient, as bits, in the module's order.
fn run(model: &Decoder, recompute: Recompute, kernels: Kernels) -> Vec<Vec<u32>> {
    struct Collect<'a>(&'a Gradients, Vec<Vec<u32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("every parameter has one");
            self.1.push(bits(gradient));
        }
    }
    let device = Device::flex().autodiff();
    let ids: Vec<i32> = (0..3 * 14).map(|at| (at * at + 5) % 31).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [3, 14]), &device);
    let (inputs, targets) = (ids.clone().narrow(1, 0, 13), ids.narrow(1, 1, 13));
    let model = model
        .clone()
        .with_recompute(recompute)
        .with_kernels(kernels);
    let loss = model.loss(inputs, targets);
    let value = bits(loss.clone().inner());
    let gradients = loss.backward();
    let mut collect = Collect(&gradients, vec![value]);
    model.visit(&mut collect);
    collect.1
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
}

fn check(name: &str, config: &ModelConfig) {
    let device = Device::flex().autodiff();
    let model = Decoder::new(config, 5, &device).expect("a valid model");
    for kernels in [Kernels::Fast, Kernels::Reference] {
        let plain = run(&model, Recompute::None, kernels);
        assert!(plain.iter().flatten().any(|&bits| bits != 0));
        for recompute in [Recompute::Block, Recompute::Expansions, Recompute::Nothing] {
            let other = run(&model, recompute, kernels);
            assert!(plain == other, "{name}, {kernels:?} kernels, {recompute:?}");
        }
    }
}

#[test]
fn every_variant() {
    for (name, config) in models() {
        check(&name, &config);
    }
}

#[test]
fn a_block_whose_input_is_used_three_times() {
    for (name, mut config) in models().into_iter().take(2) {
        config.parallel_residual = true;
        config.qk_norm = true;
        check(&name, &config);
    }
}
