//! Passes in bfloat16: close to float32's as its rounding allows, gradients and loss in float32.

mod variants;

use burn::{
    module::{Module, ModuleVisitor, Param},
    tensor::{DType, Device, Gradients, Int, Tensor, TensorData},
};
use simattn::{Decoder, Precision, Recompute};
use simattn_kernels::Kernels;
use variants::models;

/// The loss, and every gradient in the module's order.
fn run(
    model: &Decoder,
    precision: Precision,
    recompute: Recompute,
    kernels: Kernels,
) -> (f32, Vec<Vec<f32>>) {
    struct Collect<'a>(&'a Gradients, Vec<Vec<f32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let gradient = param.val().grad(self.0).expect("every parameter has one");
            assert_eq!(param.val().dtype(), DType::F32);
            assert_eq!(gradient.dtype(), DType::F32);
            self.1.push(gradient.into_data().iter::<f32>().collect());
        }
    }
    let device = Device::flex().autodiff();
    let ids: Vec<i32> = (0..3 * 14).map(|at| (at * at + 5) % 31).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [3, 14]), &device);
    let (inputs, targets) = (ids.clone().narrow(1, 0, 13), ids.narrow(1, 1, 13));
    let model = model
        .clone()
        .with_precision(precision)
        .with_recompute(recompute)
        .with_kernels(kernels);
    let loss = model.loss(inputs, targets);
    assert_eq!(loss.dtype(), DType::F32);
    let value = loss.clone().inner().into_scalar::<f32>();
    let gradients = loss.backward();
    let mut collect = Collect(&gradients, Vec::new());
    model.visit(&mut collect);
    (value, collect.1)
}

fn relative(got: &[Vec<f32>], exact: &[Vec<f32>]) -> f64 {
    let pairs = got.iter().flatten().zip(exact.iter().flatten());
    let (mut wrong, mut size) = (0.0, 0.0);
    for (got, exact) in pairs {
        wrong += f64::from(got - exact).powi(2);
        size += f64::from(*exact).powi(2);
    }
    (wrong / size).sqrt()
}

#[test]
fn every_variant_stays_near_float32_and_is_not_it() {
    let device = Device::flex().autodiff();
    for (name, mut config) in models() {
        for qk_norm in [false, true] {
            config.qk_norm = qk_norm && config.validate().is_ok();
            if config.validate().is_err() {
                continue;
            }
            let model = Decoder::new(&config, 5, &device).expect("a valid model");
            for kernels in [Kernels::Fast, Kernels::Reference] {
                let none = Recompute::None;
                let (exact, exact_gradients) = run(&model, Precision::Float32, none, kernels);
                let (loss, gradients) = run(&model, Precision::Bfloat16, none, kernels);
                // bfloat16 keeps 8 bits: 0.4% a rounding.
                assert!((loss / exact - 1.0).abs() < 5e-3, "{name}: {loss} {exact}");
                let error = relative(&gradients, &exact_gradients);
                assert!(error > 1e-4 && error < 6e-2, "{name}, {kernels:?}: {error}");
                let block = Recompute::Block;
                let again = run(&model, Precision::Bfloat16, block, kernels);
                assert!(again == (loss, gradients), "{name}, {kernels:?}");
            }
        }
    }
}

#[test]
fn scores_are_rounded_float32() {
    let device = Device::flex();
    let (_, config) = models().remove(0);
    let model = Decoder::new(&config, 5, &device).expect("a valid model");
    let ids = Tensor::<2, Int>::from_data([[1, 2, 3, 4, 5, 6]], &device);
    let narrow = model.clone().with_precision(Precision::Bfloat16);
    let (exact, got) = (model.logits(ids.clone()), narrow.logits(ids.clone()));
    assert_eq!(got.dtype(), DType::F32);
    let values = |x: Tensor<3>| vec![x.into_data().iter::<f32>().collect::<Vec<_>>()];
    let (exact, got) = (values(exact), values(got));
    let error = relative(&got, &exact);
    assert!(error > 1e-4 && error < 3e-2, "{error}");
    let last = narrow.next_logits(ids).into_data();
    let vocabulary = config.vocabulary;
    assert_eq!(
        last.iter::<f32>().collect::<Vec<_>>(),
        got[0][5 * vocabulary..]
    );
}
