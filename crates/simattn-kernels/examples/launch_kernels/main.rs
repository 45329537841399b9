//! Launches every GPU kernel at least once, in every float type that the device has, and ignores
//! what comes out.
//!
//! `cargo run --release -p simattn-kernels --features cuda --example launch_kernels [NAME ...]`
//!
//! With names of operations (`attention`) only those, with names of types (`bf16`) only in those.
//! A kernel is compiled when it is first launched, so this shows which of them a device's compiler
//! takes: a line for each operation, forward and backward, and 1 at the end if one failed.
//! `interop/gpu/compile_for_cuda.py` runs it without a GPU.

mod attention;
#[path = "../../tests/gpu/mod.rs"]
mod gpu;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use burn::tensor::{DType, Device, Gradients, Int, Tensor, TensorData};
use simattn_kernels::ops::{self, AdamW, AdamWState, GeluForm, GroupSettings, Normed};
use simattn_kernels::reference::RopeTable;

/// Tokens of a sequence: more than two tiles of 64, and no whole number of them.
const TOKENS: usize = 150;
/// Width of a model of the published size.
const MODEL: usize = 768;
const VOCABULARY: usize = 1000;
const BOTH_FORMS: [GeluForm; 2] = [GeluForm::Exact, GeluForm::Tanh];

const TYPES: [(&str, DType); 3] = [
    ("f32", DType::F32),
    ("bf16", DType::BF16),
    ("f16", DType::F16),
];

const OPERATIONS: [(&str, fn(&mut Call)); 12] = [
    ("attention", attention::attention),
    ("simulated attention", attention::simulated_attention),
    ("rotation", rotation),
    ("norms", norms),
    ("norms, then linear maps", normed_maps),
    ("activations", activations),
    ("activations, then linear maps", activated_maps),
    ("linear maps", linear_maps),
    ("embedding", embedding),
    ("cross-entropy", cross_entropy),
    ("head and cross-entropy", head),
    ("AdamW", optimizer),
];

fn main() -> ExitCode {
    let names: Vec<_> = std::env::args().skip(1).collect();
    let types = TYPES.map(|(name, _)| name);
    let operations = OPERATIONS.map(|(name, _)| name);
    let known = |name: &&str| types.contains(name) || operations.contains(name);
    if let Some(name) = names.iter().find(|name| !known(&name.as_str())) {
        eprintln!("launch_kernels: neither a type nor an operation is called {name:?}");
        return ExitCode::from(2);
    }
    // Of each kind those that are named, or all.
    let wanted = |name: &str, kind: &[&str]| {
        let named = |one: &&str| names.iter().any(|name| name == one);
        named(&name) || !kind.iter().any(named)
    };
    let Some(device) = gpu::device() else {
        return ExitCode::from(2);
    };
    let mut code = ExitCode::SUCCESS;
    for (type_name, dtype) in TYPES {
        if !wanted(type_name, &types) {
            continue;
        }
        if !device.supports_dtype(dtype) {
            println!("{dtype:?}: the device does not have it");
            continue;
        }
        for (name, launch) in OPERATIONS {
            if !wanted(name, &operations) {
                continue;
            }
            let mut call = Call::new(&device, dtype);
            if catch_unwind(AssertUnwindSafe(|| launch(&mut call))).is_err() {
                call.failures.insert("it panicked, see above".to_owned());
            }
            if call.failures.is_empty() {
                println!("{dtype:?} {name}: launched");
                continue;
            }
            code = ExitCode::FAILURE;
            for failure in call.failures {
                println!("{dtype:?} {name}: FAILED: {failure}");
            }
        }
    }
    code
}

/// Launches of one operation, on leaves that are all zeros.
struct Call<'a> {
    device: &'a Device,
    tracked: Device,
    dtype: DType,
    /// Take a leaf's gradient, and say why it cannot be read.
    leaves: Vec<Box<dyn Fn(&Gradients) -> Option<String>>>,
    failures: BTreeSet<String>,
}

impl<'a> Call<'a> {
    fn new(device: &'a Device, dtype: DType) -> Self {
        Self {
            device,
            tracked: device.clone().autodiff(),
            dtype,
            leaves: Vec::new(),
            failures: BTreeSet::new(),
        }
    }

    fn leaf_of<const R: usize>(&mut self, shape: [usize; R], dtype: DType) -> Tensor<R> {
        let leaf = zeros(shape, &self.tracked, dtype).require_grad();
        let kept = leaf.clone();
        let read = move |gradients: &Gradients| kept.grad(gradients).and_then(failure);
        self.leaves.push(Box::new(read));
        leaf
    }

    fn leaf<const R: usize>(&mut self, shape: [usize; R]) -> Tensor<R> {
        self.leaf_of(shape, self.dtype)
    }

    fn ids<const R: usize>(&self, shape: [usize; R]) -> Tensor<R, Int> {
        let data = TensorData::new(vec![1i32; shape.iter().product()], shape);
        Tensor::from_data(data, &self.tracked)
    }

    /// Launches report nothing: a kernel that did not compile shows where a result is read.
    fn read<const R: usize>(&mut self, x: Tensor<R>) {
        self.failures.extend(failure(x));
    }

    /// Backward from `y`, and every result read.
    fn backward<const R: usize>(&mut self, y: Tensor<R>) {
        let gradients = y.backward();
        self.read(y.inner());
        let leaves = self.leaves.drain(..);
        self.failures
            .extend(leaves.filter_map(|leaf| leaf(&gradients)));
    }
}

fn zeros<const R: usize>(shape: [usize; R], device: &Device, dtype: DType) -> Tensor<R> {
    gpu::tensor(&vec![0.0; shape.iter().product()], shape, device, dtype)
}

/// Why `x` cannot be read: the kernel and what the compiler said of it, without the source that
/// CubeCL puts behind.
fn failure<const R: usize>(x: Tensor<R>) -> Option<String> {
    let error = format!("{:?}", x.try_into_data().err()?);
    let Some((_, said)) = error.split_once("[Compilation Error]") else {
        return Some(error);
    };
    let (message, source) = said.split_once("[Source]").unwrap_or((said, ""));
    // … __launch_bounds__(256) name(parameters) {
    let mut pieces = source.split("__launch_bounds__(").skip(1);
    let signature = pieces.next().and_then(|s| s.split([')', '(']).nth(1));
    let kernel = signature.unwrap_or("a kernel").trim();
    Some(format!("{kernel}\n    {}", message.trim()))
}

fn rotation(call: &mut Call) {
    let table = RopeTable::new(TOKENS, 0, 64, 1e4, call.device, DType::F32);
    for width in [64, 80] {
        let x = call.leaf([1, TOKENS, 3, width]);
        let y = ops::rotate(x, &table);
        call.backward(y);
    }
}

/// The types of a norm's weight: that of `x`, and float32 beside it.
fn weight_types(dtype: DType) -> Vec<DType> {
    match dtype {
        DType::F32 => vec![dtype],
        _ => vec![dtype, DType::F32],
    }
}

fn norms(call: &mut Call) {
    for dtype in weight_types(call.dtype) {
        for width in [MODEL, 64, 5] {
            let x = call.leaf([3, TOKENS, width]);
            let (weight, bias) = (call.leaf_of([width], dtype), call.leaf_of([width], dtype));
            let y = ops::layer_norm(x, weight, bias, 1e-5);
            call.backward(y);
            let x = call.leaf([3, TOKENS, width]);
            let weight = call.leaf_of([width], dtype);
            let y = ops::rms_norm(x, weight, 1e-5);
            call.backward(y);
        }
    }
}

fn normed_maps(call: &mut Call) {
    for with_bias in [true, false] {
        let x = call.leaf([2, TOKENS, MODEL]);
        let scale = call.leaf([MODEL]);
        let shift = with_bias.then(|| call.leaf([MODEL]));
        let weight = call.leaf([3 * MODEL, MODEL]);
        let bias = with_bias.then(|| call.leaf([3 * MODEL]));
        let y = ops::normed_linear(&Normed::new(x, scale, shift, 1e-5), weight, bias);
        call.backward(y);
    }
}

fn activations(call: &mut Call) {
    let shape = [2, TOKENS, 4 * MODEL];
    for form in BOTH_FORMS {
        let x = call.leaf(shape);
        call.backward(ops::gelu(x, form));
        let (x, bias) = (call.leaf(shape), call.leaf([4 * MODEL]));
        call.backward(ops::bias_gelu(x, bias, form));
    }
    let (gate, up) = (call.leaf(shape), call.leaf(shape));
    call.backward(ops::swiglu(gate, up));
    let packed = call.leaf(shape);
    call.backward(ops::swiglu_packed(packed));
}

fn activated_maps(call: &mut Call) {
    let shape = [2, TOKENS, 4 * MODEL];
    for with_bias in [true, false] {
        for form in BOTH_FORMS {
            let (x, weight) = (call.leaf(shape), call.leaf([MODEL, 4 * MODEL]));
            let bias = with_bias.then(|| call.leaf([MODEL]));
            call.backward(ops::gelu_linear(x, weight, bias, form));
        }
        let (gate, up, weight) = (
            call.leaf(shape),
            call.leaf(shape),
            call.leaf([MODEL, 4 * MODEL]),
        );
        let bias = with_bias.then(|| call.leaf([MODEL]));
        call.backward(ops::swiglu_linear(gate, up, weight, bias));
    }
}

fn linear_maps(call: &mut Call) {
    for (inputs, outputs) in [(MODEL, 3 * MODEL), (7, 5)] {
        for with_bias in [true, false] {
            let (x, weight) = (call.leaf([2, TOKENS, inputs]), call.leaf([outputs, inputs]));
            let bias = with_bias.then(|| call.leaf([outputs]));
            call.backward(ops::linear(x, weight, bias));
        }
    }
    // So many rows, in whole blocks of terms, that the weight's gradient is cut along its sum; with
    // more outputs, tiles are wide.
    for (rows, outputs) in [(4096, MODEL), (16_384, 4 * MODEL)] {
        let (x, weight) = (call.leaf([rows, MODEL]), call.leaf([outputs, MODEL]));
        call.backward(ops::linear(x, weight, None));
    }
}

fn embedding(call: &mut Call) {
    let table = call.leaf([VOCABULARY, MODEL]);
    let y = ops::embedding(table, call.ids([2, TOKENS]));
    call.backward(y);
}

fn cross_entropy(call: &mut Call) {
    let logits = call.leaf([TOKENS, VOCABULARY]);
    let targets = call.ids([TOKENS]);
    let (plain, plain_targets) = (logits.clone().inner(), targets.clone().inner());
    call.read(ops::cross_entropy(plain, plain_targets));
    let loss = ops::cross_entropy(logits, targets);
    call.backward(loss);
}

fn head(call: &mut Call) {
    let (hidden, weight) = (call.leaf([TOKENS, MODEL]), call.leaf([VOCABULARY, MODEL]));
    let targets = call.ids([TOKENS]);
    // So few logits at a time that the tokens go in blocks.
    let (plain, plain_weight) = (hidden.clone().inner(), weight.clone().inner());
    let in_blocks = ops::head_with_gradients(plain, plain_weight, targets.clone().inner(), 1);
    let (loss, [of_hidden, of_weight]) = in_blocks.expect("kernels for these tensors");
    call.read(loss);
    call.read(of_hidden);
    call.read(of_weight);
    let loss = ops::head_cross_entropy(hidden, weight, targets);
    call.backward(loss);
}

fn optimizer(call: &mut Call) {
    let shape = [MODEL, 64];
    let fresh = || zeros(shape, call.device, DType::F32);
    let gradient = zeros(shape, call.device, call.dtype);
    let settings = AdamW {
        beta_1: 0.9,
        beta_2: 0.95,
        epsilon: 1e-8,
        step: 1,
        gradient_factor: 1.0,
    };
    let group = GroupSettings {
        learning_rate: 1e-3,
        weight_decay: 0.1,
    };
    let state = AdamWState {
        first_moment: fresh(),
        second_moment: fresh(),
    };
    let factor = ops::squared_norm_tensor(&gradient);
    let (values, state) = ops::adamw_step(settings, group, fresh(), gradient.clone(), state);
    let (values, state) = ops::adamw_step_by(settings, group, values, gradient, state, factor);
    call.read(values);
    call.read(state.first_moment);
    call.read(state.second_moment);
}
