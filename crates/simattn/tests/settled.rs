//! Gradients that are told while backward still runs are those of its end, bit for bit.

mod variants;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use burn::{
    module::{Module, ModuleVisitor, Param, ParamId},
    tensor::{Device, Gradients, Int, Tensor, TensorData},
};
use simattn::{Decoder, ModelConfig, Precision, Recompute, Settled, named};
use simattn_kernels::Kernels;
use variants::models;

/// Gradients as bits, by their parameters.
type Found = HashMap<ParamId, Vec<u32>>;

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    tensor.into_data().iter::<f32>().map(f32::to_bits).collect()
}

fn collected(model: &Decoder, gradients: &Gradients) -> Found {
    struct Collect<'a>(&'a Gradients, Found);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(gradient) = param.val().grad(self.0) {
                self.1.insert(param.id, bits(gradient));
            }
        }
    }
    let mut collect = Collect(gradients, Found::new());
    model.visit(&mut collect);
    collect.1
}

/// Compares both ways to the gradients; gives the names of those that were told, in their order.
fn told(what: &str, model: &Decoder) -> Vec<String> {
    let device = Device::flex().autodiff();
    let ids: Vec<i32> = (0..3 * 14).map(|at| (at * at + 5) % 31).collect();
    let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [3, 14]), &device);
    let (inputs, targets) = (ids.clone().narrow(1, 0, 13), ids.narrow(1, 1, 13));
    let plain = model.loss(inputs.clone(), targets.clone());
    let told = Arc::new(Mutex::new(Vec::new()));
    let hears = told.clone();
    let settled: Settled = Arc::new(move |found| {
        let found = found.into_iter().map(|(id, row)| (id, bits(row)));
        hears.lock().expect("nobody panicked").extend(found);
    });
    let loss = model.loss_telling(inputs, targets, &settled);
    assert_eq!(
        bits(loss.clone().inner()),
        bits(plain.clone().inner()),
        "{what}"
    );
    let expected = collected(model, &plain.backward());
    let mut found = collected(model, &loss.backward());
    let told = told.lock().expect("nobody panicked").clone();
    let order: Vec<ParamId> = told.iter().map(|(id, _)| *id).collect();
    for (id, gradient) in told {
        assert!(
            found.insert(id, gradient).is_none(),
            "{what}: told, and grown since"
        );
    }
    assert!(found == expected, "{what}");
    let names: HashMap<ParamId, String> = named::parameters(model)
        .into_iter()
        .map(|parameter| (parameter.id, parameter.name))
        .collect();
    order.iter().map(|id| names[id].clone()).collect()
}

#[test]
fn every_variant_with_every_kernel_recomputed_or_not() {
    let device = Device::flex().autodiff();
    for (name, config) in models() {
        let model = Decoder::new(&config, 5, &device).expect("a valid model");
        for kernels in [Kernels::Fast, Kernels::Reference] {
            for recompute in [Recompute::None, Recompute::Block] {
                let model = model
                    .clone()
                    .with_kernels(kernels)
                    .with_recompute(recompute);
                told(&format!("{name}, {kernels:?}, {recompute:?}"), &model);
            }
        }
    }
}

fn mha(change: impl FnOnce(&mut ModelConfig)) -> Decoder {
    let (_, mut config) = models().swap_remove(0);
    change(&mut config);
    Decoder::new(&config, 5, &Device::flex().autodiff()).expect("a valid model")
}

#[test]
fn the_last_blocks_are_told_first_and_the_embedding_never() {
    let names = told("mha", &mha(|_| ()));
    let place = |part: &str| {
        let found = names.iter().position(|name| name.starts_with(part));
        found.unwrap_or_else(|| panic!("{part} is not among {names:?}"))
    };
    assert!(place("head") < place("layers.1.") && place("layers.1.") < place("layers.0."));
    assert!(place("norm.") < place("layers.1."));
    assert!(!names.iter().any(|name| name == "embedding"));
    // Within a block too: what is told at its end is little.
    let order = [
        "mlp.up.weight",
        "attention.out.weight",
        "attention.q.weight",
    ];
    let order = order.map(|part| place(&format!("layers.0.{part}")));
    assert!(order.is_sorted(), "{names:?}");
    // Every matrix of a block comes early in float32.
    for part in [
        "attention.q.weight",
        "attention.out.weight",
        "mlp.up.weight",
    ] {
        place(&format!("layers.1.{part}"));
    }
}

#[test]
fn what_a_model_shares_or_changes_first_is_left_to_the_end() {
    let tied = told("tied", &mha(|config| config.tied = true));
    assert!(!tied.is_empty() && !tied.iter().any(|name| name == "embedding"));
    told("parallel", &mha(|config| config.parallel_residual = true));
    let narrow = mha(|_| ()).with_precision(Precision::Bfloat16);
    told("bfloat16", &narrow);
}
