//! Training on a GPU beside training on the processor. Off without a GPU feature; see docs/gpu.md.
#![cfg(any(
    feature = "cuda",
    feature = "rocm",
    feature = "metal",
    feature = "vulkan",
    feature = "webgpu"
))]

use burn::tensor::{Device, DeviceType};
use simattn::{Precision, Recompute};
use simattn_train::{
    Budget, Dataset, EvaluationReport, Observer, RunConfig, StepReport, Trainer, parse_document,
};

/// The first device that this build reaches, or a line that says that there is none;
/// `SIMATTN_REQUIRE_GPU=1` makes that a failure.
fn device() -> Option<Device> {
    let kinds = [
        #[cfg(feature = "cuda")]
        DeviceType::Cuda,
        #[cfg(feature = "rocm")]
        DeviceType::Rocm,
        #[cfg(feature = "metal")]
        DeviceType::Metal,
        #[cfg(feature = "vulkan")]
        DeviceType::Vulkan,
        #[cfg(feature = "webgpu")]
        DeviceType::WebGpu,
    ];
    let found = kinds.into_iter().find_map(|kind| {
        // A runtime whose driver is not there may panic instead of listing nothing.
        let devices = std::panic::catch_unwind(|| Device::enumerate(kind).into_vec());
        devices.ok()?.into_iter().next()
    });
    if found.is_none() {
        let required = std::env::var_os("SIMATTN_REQUIRE_GPU").is_some();
        assert!(!required, "no GPU is there");
        println!("skipped: no GPU is there");
    }
    found
}

fn config(attention: &str) -> RunConfig {
    let text = format!(
        r#"
        seed = 11
        [model]
        context = 32
        layers = 2
        width = 32
        attention = {attention}
        [data]
        tales_train_bytes = 30000
        tales_validation_bytes = 6000
        [train]
        steps = 12
        batch = 4
        learning_rate = 1e-2
        warmup_steps = 3
        evaluate_every = 6
        evaluation_batches = 2
        log_every = 4
        "#
    );
    parse_document(&text, "tiny.toml".as_ref()).expect("the tiny configuration is right")
}

const MHA: &str = r#"{ kind = "mha", heads = 4, head_dim = 8 }"#;
const SAS: &str = r#"{ kind = "sas", heads = 2, head_dim = 16, expanded_heads = 4, expanded_head_dim = 20, kernel_size = 3 }"#;

#[derive(Default)]
struct Record {
    steps: Vec<StepReport>,
    evaluations: Vec<EvaluationReport>,
}

impl Observer for Record {
    fn on_step(&mut self, report: &StepReport) {
        self.steps.push(*report);
    }

    fn on_evaluation(&mut self, report: &EvaluationReport) {
        self.evaluations.push(*report);
    }
}

fn run(config: &RunConfig, device: &Device) -> Record {
    let data = Dataset::prepare(&config.data, config.seed).expect("the embedded corpus");
    let budget = Budget::Steps(config.train.steps);
    let mut trainer = Trainer::new(config, &data, budget, device).expect("a right configuration");
    let mut record = Record::default();
    trainer.run(&mut record).expect("the run stays finite");
    record
}

fn assert_alike(device: &Device, config: &RunConfig, tolerance: f64) {
    let (got, exact) = (run(config, device), run(config, &Device::flex()));
    let name = config.model.attention.name();
    assert_eq!(got.steps.len(), exact.steps.len());
    for (got, exact) in got.steps.iter().zip(&exact.steps) {
        assert_eq!(got.step, exact.step);
        for (got, exact) in [
            (got.loss, exact.loss),
            (got.gradient_norm, exact.gradient_norm),
        ] {
            let error = (got / exact - 1.0).abs();
            assert!(error < tolerance, "{name}: {got} beside {exact}");
        }
    }
    let pairs = got.evaluations.iter().zip(&exact.evaluations);
    for (got, exact) in pairs {
        assert_eq!(got.step, exact.step);
        let (got, exact) = (got.evaluation.loss, exact.evaluation.loss);
        assert!(
            (got / exact - 1.0).abs() < tolerance,
            "{name}: {got} beside {exact}"
        );
    }
    let last = |record: &Record| record.steps.last().map(|report| report.loss);
    println!("{name}: {:?} beside {:?}", last(&got), last(&exact));
    let first = exact.evaluations[0].evaluation.loss;
    assert!(
        got.evaluations[2].evaluation.loss < first - 0.1,
        "it learns"
    );
}

#[test]
fn simulated_attention_learns_as_on_the_processor() {
    let Some(device) = device() else { return };
    assert_alike(&device, &config(SAS), 2e-3);
}

#[test]
fn attention_with_recomputed_blocks_and_accumulation_learns_as_on_the_processor() {
    let Some(device) = device() else { return };
    let mut config = config(MHA);
    config.train.recompute = Recompute::Block;
    config.train.accumulation = 2;
    assert_alike(&device, &config, 2e-3);
}

#[test]
fn bfloat16_learns_as_on_the_processor() {
    let Some(device) = device() else { return };
    if !device.supports_dtype(burn::tensor::DType::BF16) {
        println!("skipped: the device has no bfloat16");
        return;
    }
    let mut config = config(SAS);
    config.train.precision = Precision::Bfloat16;
    assert_alike(&device, &config, 2e-2);
}

#[test]
fn memory_does_not_grow_over_a_thousand_steps() {
    let Some(device) = device() else { return };
    let mut config = config(SAS);
    config.model.layers = 1;
    config.model.context = 16;
    config.train.batch = 1;
    let data = Dataset::prepare(&config.data, config.seed).expect("the embedded corpus");
    let mut trainer =
        Trainer::new(&config, &data, Budget::Steps(1000), &device).expect("a right configuration");
    let mut held = Vec::new();
    while !trainer.is_done() {
        trainer
            .run_until(|trainer| trainer.step_count().is_multiple_of(100), &mut ())
            .expect("the run stays finite");
        held.extend(device.memory_pool_usage().map(|usage| usage.bytes_reserved));
    }
    println!("bytes held after each hundred steps: {held:?}");
    if held.is_empty() {
        println!("skipped: the device does not say what it holds");
        return;
    }
    // The first hundred find out what a step needs.
    let (early, late) = (held[1], held[held.len() - 1]);
    assert!(late <= early + early / 20, "{held:?}");
}
