//! Rates of the operations around attention, beside those of Burn's own operations on the CPU, in
//! one process.
//!
//! `cargo bench -p simattn-kernels --bench step_parts_rate [-- NAME]` measures all of them, or
//! those whose name contains NAME. Each operation is compared with Burn's first; if one differs, it
//! is not timed and the program ends with 1. Then ours and Burn's run in turn, and medians are
//! printed. Forward and backward together include what Burn does for `y.sum()`, on both sides.

use std::process::ExitCode;
use std::time::Instant;

use burn::tensor::{Device, Distribution, Int, Tensor, activation};
use simattn_kernels::cpu::activation::{gelu_gradient, swiglu_gradient};
use simattn_kernels::cpu::adamw::{self, Parameter};
use simattn_kernels::cpu::gradient_norm::global_norm;
use simattn_kernels::cpu::linear::{
    LinearShape, bias_gradient, forward, input_gradient, weight_gradient,
};
use simattn_kernels::cpu::norm as norm_kernel;
use simattn_kernels::cpu::output::filled;
use simattn_kernels::cpu::simd::InstructionSet;
use simattn_kernels::ops::{self, AdamW, AdamWState, GeluForm, GroupSettings};
use simattn_kernels::reference;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a case computes; the results of both sides are compared.
type Run = Box<dyn Fn() -> Vec<Tensor<1>>>;

struct Case {
    name: &'static str,
    work: Work,
    ours: Run,
    burn: Run,
}

#[derive(Clone, Copy)]
enum Work {
    Flops(f64),
    /// Bytes that have to be read and written.
    Bytes(f64),
}

impl Work {
    fn rate(self, ms: f64) -> String {
        match self {
            Self::Flops(flops) => format!("{:7.1} GFLOP/s", flops / ms * 1e-6),
            Self::Bytes(bytes) => format!("{:7.1} GB/s   ", bytes / ms * 1e-6),
        }
    }
}

fn main() -> ExitCode {
    keep_memory();
    // `cargo bench` asks for times, `cargo test --benches` only whether it runs.
    let (flags, names): (Vec<String>, Vec<String>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    if !flags.iter().any(|flag| flag == "--bench") {
        return ExitCode::SUCCESS;
    }
    let wanted = names.into_iter().next().unwrap_or_default();
    println!(
        "instruction set {}, {} threads",
        InstructionSet::current(),
        rayon::current_num_threads()
    );
    products(&wanted);
    backward_passes(&wanted);
    if cases()
        .into_iter()
        .filter(|case| case.name.contains(&wanted))
        .all(|case| case.measure())
    {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Freed memory stays mapped, as in the `simattn` binary.
fn keep_memory() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets one integer option; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) }
}

impl Case {
    fn measure(self) -> bool {
        let (ours, burn) = ((self.ours)(), (self.burn)());
        for (i, (ours, burn)) in ours.into_iter().zip(burn).enumerate() {
            let error = relative_error(&ours, &burn);
            if error.is_nan() || error >= 1e-4 {
                eprintln!(
                    "{}: result {i} differs from Burn's by {error:e}; not timed",
                    self.name
                );
                return false;
            }
        }
        let (mut ours, mut burn) = (Vec::new(), Vec::new());
        for _ in 0..7 {
            ours.push(time(|| drop((self.ours)())));
            burn.push(time(|| drop((self.burn)())));
        }
        let (ours, burn) = (median(ours), median(burn));
        println!(
            "{:34} {ours:9.2} ms {}   Burn {burn:9.2} ms   {:6.2}×",
            self.name,
            self.work.rate(ours),
            burn / ours
        );
        true
    }
}

fn relative_error(a: &Tensor<1>, b: &Tensor<1>) -> f64 {
    let values = |tensor: &Tensor<1>| tensor.clone().into_data().iter::<f64>().collect::<Vec<_>>();
    let (a, b) = (values(a), values(b));
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    norm(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / norm(&mut b.into_iter()).max(1e-30)
}

fn time(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn vector(len: usize) -> Vec<f32> {
    (0..len)
        .map(|i| ((i * 7919) % 2003) as f32 * 1e-3 - 1.0)
        .collect()
}

/// The products of a linear map on slices, which show the machine's rate.
fn products(wanted: &str) {
    if !"product".contains(wanted) {
        return;
    }
    for (rows, inputs, outputs) in [(2048, 768, 3072), (2048, 3072, 768), (2048, 768, 768)] {
        let shape = LinearShape {
            rows,
            inputs,
            outputs,
        };
        let (x, weight) = (vector(rows * inputs), vector(inputs * outputs));
        let (bias, dy) = (vector(outputs), vector(rows * outputs));
        // SAFETY: the kernels write every value.
        let runs: [(&str, &dyn Fn() -> Vec<f32>); 5] = unsafe {
            [
                ("y", &|| {
                    filled(rows * outputs, |y| forward(shape, &x, &weight, None, y))
                }),
                ("y with bias", &|| {
                    filled(rows * outputs, |y| {
                        forward(shape, &x, &weight, Some(&bias), y)
                    })
                }),
                ("dx", &|| {
                    filled(rows * inputs, |dx| input_gradient(shape, &dy, &weight, dx))
                }),
                ("dW", &|| {
                    filled(inputs * outputs, |dw| weight_gradient(shape, &dy, &x, dw))
                }),
                ("db", &|| bias_gradient(outputs, &dy)),
            ]
        };
        for (name, run) in runs {
            drop(run());
            let ms = median((0..9).map(|_| time(|| drop(run()))).collect());
            let work = if name == "db" {
                Work::Bytes(4.0 * (rows * outputs) as f64)
            } else {
                Work::Flops(2.0 * (rows * inputs * outputs) as f64)
            };
            println!(
                "product {rows}×{inputs}×{outputs} {name:12} {ms:9.2} ms {}",
                work.rate(ms)
            );
        }
    }
}

/// Backward passes on slices, free of what Burn does around them.
fn backward_passes(wanted: &str) {
    if !"backward pass".contains(wanted) {
        return;
    }
    let (rows, width) = (2048, 768);
    let (x, weight, dy) = (vector(rows * width), vector(width), vector(rows * width));
    let (a, b, d) = (
        vector(4 * rows * width),
        vector(4 * rows * width),
        vector(4 * rows * width),
    );
    let (len, wide_len) = (x.len(), a.len());
    // SAFETY: the kernels write every value.
    let runs: [(&str, usize, &dyn Fn()); 4] = unsafe {
        [
            ("layer norm", 3 * len, &|| {
                filled(len, |dx| {
                    drop(norm_kernel::layer_norm_gradient(1e-5, &x, &weight, &dy, dx))
                });
            }),
            ("rms norm", 3 * len, &|| {
                filled(len, |dx| {
                    drop(norm_kernel::rms_norm_gradient(1e-5, &x, &weight, &dy, dx))
                });
            }),
            ("gelu", 3 * wide_len, &|| {
                filled(wide_len, |dx| {
                    gelu_gradient(GeluForm::Exact, &a, None, &d, dx)
                });
            }),
            ("swiglu", 5 * wide_len, &|| {
                filled(wide_len, |da| {
                    filled(wide_len, |db| swiglu_gradient(&a, &b, &d, da, db));
                });
            }),
        ]
    };
    for (name, values, run) in runs {
        run();
        let ms = median((0..15).map(|_| time(run)).collect());
        println!(
            "backward pass {name:20} {ms:9.2} ms {}",
            Work::Bytes(4.0 * values as f64).rate(ms)
        );
    }
}

fn normal<const D: usize>(shape: [usize; D], deviation: f64) -> Tensor<D> {
    Tensor::<D>::random(
        shape,
        Distribution::Normal(0.0, deviation),
        &Device::flex().autodiff(),
    )
}

/// Values of a forward pass.
fn forward_case<const D: usize>(
    name: &'static str,
    work: Work,
    inputs: &[Tensor<D>],
    ours: impl Fn(&[Tensor<D>]) -> Tensor<D> + 'static,
    burn: impl Fn(&[Tensor<D>]) -> Tensor<D> + 'static,
) -> Case {
    let plain: Vec<_> = inputs.iter().map(|tensor| tensor.clone().inner()).collect();
    let again = plain.clone();
    Case {
        name,
        work,
        ours: Box::new(move || vec![flat(ours(&plain))]),
        burn: Box::new(move || vec![flat(burn(&again))]),
    }
}

/// Gradients of `y.sum()` for all inputs.
fn gradient_case<const D: usize>(
    name: &'static str,
    work: Work,
    inputs: &[Tensor<D>],
    ours: impl Fn(&[Tensor<D>]) -> Tensor<D> + 'static,
    burn: impl Fn(&[Tensor<D>]) -> Tensor<D> + 'static,
) -> Case {
    fn run<const D: usize>(
        inputs: Vec<Tensor<D>>,
        f: impl Fn(&[Tensor<D>]) -> Tensor<D> + 'static,
    ) -> Run {
        Box::new(move || {
            let leaves: Vec<_> = inputs
                .iter()
                .map(|tensor| tensor.clone().detach().require_grad())
                .collect();
            let gradients = f(&leaves).sum().backward();
            leaves
                .iter()
                .filter_map(|leaf| leaf.grad(&gradients))
                .map(flat)
                .collect()
        })
    }
    Case {
        name,
        work,
        ours: run(inputs.to_vec(), ours),
        burn: run(inputs.to_vec(), burn),
    }
}

fn flat<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    let values: usize = tensor.dims().iter().product();
    tensor.reshape([values])
}

fn row(tensor: &Tensor<2>) -> Tensor<1> {
    tensor.clone().flatten(0, 1)
}

fn cases() -> Vec<Case> {
    const N: usize = 2048;
    let bytes = |values: usize, streams: usize| Work::Bytes((4 * values * streams) as f64);
    let mut cases = Vec::new();

    let (x, weight, bias) = (
        normal([N, 768], 1.0),
        normal([3072, 768], 0.05),
        normal([1, 3072], 1.0),
    );
    let linear = [x.clone(), weight, bias.clone()];
    let flops = 2.0 * (N * 768 * 3072) as f64;
    let ours = |t: &[Tensor<2>]| ops::linear(t[0].clone(), t[1].clone(), Some(row(&t[2])));
    let burn = |t: &[Tensor<2>]| reference::linear(t[0].clone(), t[1].clone(), Some(row(&t[2])));
    cases.push(forward_case(
        "linear forward",
        Work::Flops(flops),
        &linear,
        ours,
        burn,
    ));
    cases.push(gradient_case(
        "linear forward+backward",
        Work::Flops(3.0 * flops),
        &linear,
        ours,
        burn,
    ));

    let hidden = normal([N, 3072], 1.0);
    let len = N * 3072;
    let ours = |t: &[Tensor<2>]| ops::gelu(t[0].clone(), GeluForm::Exact);
    let burn = |t: &[Tensor<2>]| activation::gelu(t[0].clone());
    cases.push(forward_case(
        "gelu forward",
        bytes(len, 2),
        std::slice::from_ref(&hidden),
        ours,
        burn,
    ));
    cases.push(gradient_case(
        "gelu forward+backward",
        bytes(len, 5),
        std::slice::from_ref(&hidden),
        ours,
        burn,
    ));
    let ours = |t: &[Tensor<2>]| ops::gelu(t[0].clone(), GeluForm::Tanh);
    let burn = |t: &[Tensor<2>]| activation::gelu_approximate(t[0].clone());
    cases.push(forward_case(
        "gelu (tanh) forward",
        bytes(len, 2),
        std::slice::from_ref(&hidden),
        ours,
        burn,
    ));
    cases.push(gradient_case(
        "gelu (tanh) forward+backward",
        bytes(len, 5),
        std::slice::from_ref(&hidden),
        ours,
        burn,
    ));
    let ours = |t: &[Tensor<2>]| ops::bias_gelu(t[0].clone(), row(&t[1]), GeluForm::Exact);
    let burn = |t: &[Tensor<2>]| activation::gelu(t[0].clone() + t[1].clone());
    cases.push(forward_case(
        "bias+gelu forward",
        bytes(len, 2),
        &[hidden.clone(), bias.clone()],
        ours,
        burn,
    ));

    let square = [normal([N, 2048], 1.0), normal([N, 2048], 1.0)];
    let ours = |t: &[Tensor<2>]| ops::swiglu(t[0].clone(), t[1].clone());
    let burn = |t: &[Tensor<2>]| activation::silu(t[0].clone()) * t[1].clone();
    cases.push(forward_case(
        "swiglu forward",
        bytes(N * 2048, 3),
        &square,
        ours,
        burn,
    ));
    cases.push(gradient_case(
        "swiglu forward+backward",
        bytes(N * 2048, 8),
        &square,
        ours,
        burn,
    ));

    let narrow = [x.clone(), normal([1, 768], 1.0), normal([1, 768], 1.0)];
    let ours = |t: &[Tensor<2>]| ops::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5);
    let burn = |t: &[Tensor<2>]| reference::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5);
    cases.push(forward_case(
        "layer norm forward",
        bytes(N * 768, 2),
        &narrow,
        ours,
        burn,
    ));
    cases.push(gradient_case(
        "layer norm forward+backward",
        bytes(N * 768, 5),
        &narrow,
        ours,
        burn,
    ));
    let ours = |t: &[Tensor<2>]| ops::rms_norm(t[0].clone(), row(&t[1]), 1e-5);
    let burn = |t: &[Tensor<2>]| reference::rms_norm(t[0].clone(), row(&t[1]), 1e-5);
    cases.push(forward_case(
        "rms norm forward",
        bytes(N * 768, 2),
        &narrow[..2],
        ours,
        burn,
    ));
    cases.push(gradient_case(
        "rms norm forward+backward",
        bytes(N * 768, 5),
        &narrow[..2],
        ours,
        burn,
    ));

    cases.extend(with_vocabulary());
    cases.push(adamw());
    cases.push(norm());
    cases
}

fn with_vocabulary() -> [Case; 3] {
    const TOKENS: usize = 1024;
    const VOCABULARY: usize = 50_304;
    let targets = || {
        let ids: Vec<i32> = (0..TOKENS)
            .map(|i| (i * 104_729 % VOCABULARY) as i32)
            .collect();
        Tensor::<1, Int>::from_data(ids.as_slice(), &Device::flex().autodiff())
    };
    let head = [normal([TOKENS, 768], 1.0), normal([VOCABULARY, 768], 0.05)];
    let flops = 2.0 * (TOKENS * VOCABULARY * 768) as f64;
    let once = |loss: Tensor<1>| loss.unsqueeze::<2>();
    let ids = targets();
    let ours = move |t: &[Tensor<2>]| {
        once(ops::head_cross_entropy(
            t[0].clone(),
            t[1].clone(),
            ids.clone(),
        ))
    };
    let ids = targets();
    let burn = move |t: &[Tensor<2>]| {
        once(reference::head_cross_entropy(
            t[0].clone(),
            t[1].clone(),
            ids.clone(),
        ))
    };
    let head_loss = gradient_case(
        "head+cross-entropy fwd+bwd",
        Work::Flops(3.0 * flops),
        &head,
        ours,
        burn,
    );
    let ids = targets();
    let ours = move |t: &[Tensor<2>]| once(ops::cross_entropy(t[0].clone(), ids.clone()));
    let ids = targets();
    let burn = move |t: &[Tensor<2>]| once(reference::cross_entropy(t[0].clone(), ids.clone()));
    let logits = [normal([TOKENS, VOCABULARY], 1.0)];
    let work = Work::Bytes(12.0 * (TOKENS * VOCABULARY) as f64);
    let loss = gradient_case("cross-entropy fwd+bwd", work, &logits, ours, burn);
    let work = Work::Bytes((4 * (VOCABULARY + 3 * TOKENS) * 768) as f64);
    let ids = targets();
    let ours =
        move |t: &[Tensor<2>]| ops::embedding(t[0].clone(), ids.clone().unsqueeze()).squeeze_dim(0);
    let ids = targets();
    let burn = move |t: &[Tensor<2>]| {
        reference::embedding(t[0].clone(), ids.clone().unsqueeze()).squeeze_dim(0)
    };
    [
        head_loss,
        loss,
        gradient_case("embedding fwd+bwd", work, &head[1..], ours, burn),
    ]
}

const SETTINGS: AdamW = AdamW {
    beta_1: 0.9,
    beta_2: 0.95,
    epsilon: 1e-8,
    step: 1,
    gradient_factor: 1.0,
};

/// One step for 18.9 million values in 8 parameters, in place; Burn's side from plain operations,
/// as its optimiser does it.
fn adamw() -> Case {
    use std::cell::RefCell;
    const LEN: usize = 768 * 3072;
    struct Held {
        values: Vec<f32>,
        gradient: Vec<f32>,
        moments: [Vec<f32>; 2],
    }
    let held: Vec<_> = (0..8)
        .map(|_| Held {
            values: vector(LEN),
            gradient: vector(LEN),
            moments: [vec![0.0; LEN], vec![0.0; LEN]],
        })
        .collect();
    let held = RefCell::new(held);
    let ours = move || {
        let mut held = held.borrow_mut();
        let mut parameters: Vec<_> = held
            .iter_mut()
            .map(|held| {
                let [first_moment, second_moment] = &mut held.moments;
                Parameter {
                    values: &mut held.values,
                    gradient: &held.gradient,
                    first_moment,
                    second_moment,
                    learning_rate: 1e-3,
                    weight_decay: 0.1,
                }
            })
            .collect();
        adamw::step(SETTINGS, &mut parameters);
        Vec::new()
    };
    let device = Device::flex();
    let tensor = |values: Vec<f32>| Tensor::<1>::from_data(values.as_slice(), &device);
    let state = AdamWState {
        first_moment: tensor(vec![0.0; LEN]),
        second_moment: tensor(vec![0.0; LEN]),
    };
    let (values, gradient) = (tensor(vector(LEN)), tensor(vector(LEN)));
    let burn = move || {
        for _ in 0..8 {
            let group = GroupSettings {
                learning_rate: 1e-3,
                weight_decay: 0.1,
            };
            let (values, gradient) = (values.clone(), gradient.clone());
            drop(ops::adamw_step_portable(
                SETTINGS,
                group,
                values,
                gradient,
                state.clone(),
            ));
        }
        Vec::new()
    };
    Case {
        name: "adamw",
        work: Work::Bytes((8 * LEN * 28) as f64),
        ours: Box::new(ours),
        burn: Box::new(burn),
    }
}

fn norm() -> Case {
    const LEN: usize = 18_874_368;
    let gradient = vector(LEN);
    let tensor = Tensor::<1>::from_data(gradient.as_slice(), &Device::flex());
    let value = |norm: f64| vec![Tensor::<1>::from_data([norm as f32], &Device::flex())];
    Case {
        name: "gradient norm",
        work: Work::Bytes((4 * LEN) as f64),
        ours: Box::new(move || value(global_norm(&[&gradient]).norm)),
        burn: Box::new(move || vec![tensor.clone().square().sum().sqrt()]),
    }
}
