//! How fast attention and simulated attention run here, beside the matrix product of the `gemm`
//! crate in the same process.
//!
//! `cargo bench -p simattn-kernels --bench attention_rate [-- ROUNDS]`
//!
//! Checks the kernels against plain loops first and refuses to time a wrong one. Then measures A B
//! A B …, every size once a round, and prints medians: milliseconds, GFLOP/s by operation counts
//! (not by what the kernels happen to compute), and the share of the matrix product's rate. Forward
//! of one SAS layer between its projections: 6·N·D·κ·(H·H' + H'²) + 4·N·H'·(D·D' + D'²) +
//! B·H'·T·(T+1)·(D' + D); backward counts dense parts twice and attention 2.5 times, and the
//! expansions once more, as they are computed again.

#[path = "../tests/definition/mod.rs"]
mod definition;

use std::hint::black_box;
use std::time::Instant;

use definition::{relative_error, simulated, wide};
use simattn_kernels::call::{
    self, Aggregation, AttentionOptions, AttentionShape, ExpansionOptions, Qkv, RopePlacement,
    SasOptions, SasShape,
};
use simattn_kernels::cpu::attention::{
    BackwardInputs, HeadLayout, Heads, attention_backward, attention_forward,
};
use simattn_kernels::cpu::sas_attention::{
    Expansion, Rotation, SasInputs, SasWeights, sas_attention_backward, sas_attention_forward,
};
use simattn_kernels::cpu::simd::InstructionSet;

/// As in the binary: freed memory is kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets one integer option; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rounds = arguments.iter().find_map(|argument| argument.parse().ok());
    let rounds = rounds.unwrap_or(7usize).max(1);
    println!(
        "instructions {}, {} threads",
        InstructionSet::current(),
        rayon::current_num_threads()
    );
    let worst = check();
    println!("largest error against plain loops {worst:.1e}");
    if worst.is_nan() || worst > 1e-4 {
        eprintln!("the kernels are wrong: nothing is timed");
        std::process::exit(1);
    }
    // `cargo bench` asks for times, `cargo test --benches` only whether it runs.
    if !arguments.iter().any(|argument| argument == "--bench") {
        return;
    }
    let mut works: Vec<Work> = vec![product()];
    for (batch, tokens) in [(4, 512), (1, 2048)] {
        works.extend(Sas::new(batch, tokens, [12, 36, 64, 96, 5]).works());
    }
    for (batch, tokens) in [(4, 512), (1, 2048)] {
        works.extend(Plain::new(batch, tokens, 12, 64).works());
    }
    let mut times = vec![Vec::new(); works.len()];
    for round in 0..=rounds {
        for (work, times) in works.iter_mut().zip(&mut times) {
            let start = Instant::now();
            (work.run)();
            // The first round warms up.
            if round > 0 {
                times.push(start.elapsed().as_secs_f64());
            }
        }
    }
    let mut product_rate = f64::NAN;
    for (work, mut times) in works.into_iter().zip(times) {
        times.sort_by(f64::total_cmp);
        let median = times[times.len() / 2];
        let rate = work.operations / median / 1e9;
        if product_rate.is_nan() {
            product_rate = rate;
        }
        let share = 100.0 * rate / product_rate;
        println!(
            "{:44} {:9.2} ms  (least {:9.2}) {rate:7.1} GFLOP/s  {share:4.0} %",
            work.name,
            median * 1e3,
            times[0] * 1e3
        );
    }
}

struct Work {
    name: String,
    operations: f64,
    run: Box<dyn FnMut()>,
}

/// Reproducible values in ±1.
fn values(seed: u32, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

fn product() -> Work {
    let (m, k, n) = (2048, 768, 3072);
    let (a, b) = (values(1, m * k), values(2, k * n));
    let mut c = vec![0.0f32; m * n];
    let run = move || {
        let threads = gemm::Parallelism::Rayon(rayon::current_num_threads());
        let (c, a, b) = (c.as_mut_ptr(), a.as_ptr(), b.as_ptr());
        let (n_, k_) = (n as isize, k as isize);
        // SAFETY: row-major matrices of the given sizes.
        unsafe {
            gemm::gemm(
                m, n, k, c, 1, n_, false, a, 1, k_, b, 1, n_, 0.0, 1.0, false, false, false,
                threads,
            )
        }
    };
    Work {
        name: format!("matrix product {m}x{k}x{n}, gemm"),
        operations: 2.0 * (m * k * n) as f64,
        run: Box::new(run),
    }
}

#[derive(Clone)]
struct Stage([Vec<f32>; 4]);

impl Stage {
    fn new(seed: u32, inputs: usize, outputs: usize, kernel: usize) -> Self {
        let scaled = |seed, len: usize, fan_in: usize| {
            values(seed, len)
                .iter()
                .map(|x| x / (fan_in as f32).sqrt())
                .collect::<Vec<_>>()
        };
        Self([
            scaled(seed, outputs * inputs * kernel, inputs * kernel),
            scaled(seed + 1, outputs, inputs * kernel),
            scaled(seed + 2, outputs * outputs * kernel, outputs * kernel),
            scaled(seed + 3, outputs, outputs * kernel),
        ])
    }
}

#[derive(Clone)]
struct Sas {
    shape: SasShape,
    options: SasOptions,
    stages: [Stage; 5],
    inputs: [Vec<f32>; 3],
    gradient: Vec<f32>,
    table: [Vec<f32>; 2],
}

impl Sas {
    fn new(batch: usize, tokens: usize, [h, h2, d, d2, kernel]: [usize; 5]) -> Self {
        let shape = SasShape {
            batch,
            queries: tokens,
            keys: tokens,
            heads: h,
            kv_heads: h,
            expanded_heads: h2,
            head_dim: d,
            expanded_head_dim: d2,
            kernel_size: kernel,
        };
        let options = SasOptions {
            attention: AttentionOptions::causal(d2),
            expansion: ExpansionOptions {
                residual: true,
                relu: true,
            },
            rope: RopePlacement::After,
            aggregation: Aggregation::Peaa,
        };
        let half = d2 / 2;
        let angles = (0..tokens * half)
            .map(|i| (i / half) as f64 * 1e4f64.powf(-((i % half) as f64) / half as f64));
        let angles: Vec<f64> = angles.collect();
        Self {
            shape,
            options,
            stages: [
                Stage::new(10, h, h2, kernel),
                Stage::new(20, d, d2, 1),
                Stage::new(30, h, h2, kernel),
                Stage::new(40, d, d2, 1),
                Stage::new(50, h, h2, kernel),
            ],
            inputs: [60, 61, 62].map(|seed| values(seed, batch * tokens * h * d)),
            gradient: values(63, batch * tokens * h * d),
            table: [
                angles.iter().map(|a| a.cos() as f32).collect(),
                angles.iter().map(|a| a.sin() as f32).collect(),
            ],
        }
    }

    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        sas_attention_forward(&self.shape, self.inputs(), &self.weights(), &self.options)
    }

    fn inputs(&self) -> SasInputs<'_> {
        let half = self.shape.expanded_head_dim / 2;
        let rotation = Rotation {
            cos: &self.table[0],
            sin: &self.table[1],
            half,
        };
        let [q, k, v] = &self.inputs;
        SasInputs {
            q,
            k,
            v,
            rotations: Some((rotation, rotation)),
        }
    }

    fn weights(&self) -> SasWeights<'_> {
        let [q, q2, k, k2, v] = &self.stages;
        SasWeights {
            q: Expansion {
                heads: Some(q.view()),
                features: Some(q2.view()),
            },
            k: Expansion {
                heads: Some(k.view()),
                features: Some(k2.view()),
            },
            v: Expansion {
                heads: Some(v.view()),
                features: None,
            },
        }
    }

    fn works(self) -> Vec<Work> {
        let SasShape {
            batch,
            queries: tokens,
            heads,
            expanded_heads,
            head_dim,
            expanded_head_dim,
            kernel_size,
            ..
        } = self.shape;
        let [b, t, h, h2, d, d2, k] = [
            batch,
            tokens,
            heads,
            expanded_heads,
            head_dim,
            expanded_head_dim,
            kernel_size,
        ]
        .map(|n| n as f64);
        let expansions =
            6.0 * b * t * d * k * (h * h2 + h2 * h2) + 4.0 * b * t * h2 * (d * d2 + d2 * d2);
        let attention = b * h2 * t * (t + 1.0) * (d2 + d);
        let name = format!(
            "SAS {heads}->{expanded_heads} heads {head_dim}->{expanded_head_dim}, B {batch} T {tokens}"
        );
        let (_, sums) = self.forward();
        let other = self.clone();
        vec![
            Work {
                name: format!("{name}, forward"),
                operations: expansions + attention,
                run: Box::new(move || {
                    black_box(other.forward());
                }),
            },
            Work {
                name: format!("{name}, backward"),
                operations: 3.0 * expansions + 2.5 * attention,
                run: Box::new(move || {
                    let g = &self.gradient;
                    black_box(sas_attention_backward(
                        &self.shape,
                        self.inputs(),
                        &self.weights(),
                        &sums,
                        g,
                        &self.options,
                    ));
                }),
            },
        ]
    }
}

impl Stage {
    fn view(&self) -> call::Stage<&[f32]> {
        let [first_weight, first_bias, second_weight, second_bias] = &self.0;
        call::Stage {
            first_weight,
            first_bias,
            second_weight,
            second_bias,
        }
    }
}

struct Plain {
    shape: AttentionShape,
    options: AttentionOptions,
    inputs: [Vec<f32>; 4],
}

impl Plain {
    fn new(batch: usize, tokens: usize, heads: usize, width: usize) -> Self {
        let shape = AttentionShape {
            batch,
            heads,
            kv_heads: heads,
            queries: tokens,
            keys: tokens,
            width,
            value_width: width,
        };
        let inputs = [70, 71, 72, 73].map(|seed| values(seed, batch * heads * tokens * width));
        Self {
            shape,
            options: AttentionOptions::causal(width),
            inputs,
        }
    }

    fn heads(&self, which: usize) -> Heads<'_> {
        let AttentionShape {
            heads,
            queries,
            width,
            ..
        } = self.shape;
        Heads {
            values: &self.inputs[which],
            layout: HeadLayout::token_major(heads, queries, width),
        }
    }

    fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let layout = self.heads(0).layout;
        attention_forward(
            &self.shape,
            self.heads(0),
            self.heads(1),
            self.heads(2),
            &self.options,
            layout,
        )
    }

    fn works(self) -> Vec<Work> {
        let AttentionShape {
            batch,
            heads,
            queries,
            width,
            ..
        } = self.shape;
        let [b, h, t, d] = [batch, heads, queries, width].map(|n| n as f64);
        let attention = b * h * t * (t + 1.0) * 2.0 * d;
        let name = format!("attention {heads} heads of {width}, B {batch} T {queries}");
        let (out, sums) = self.forward();
        let this = std::rc::Rc::new(self);
        let other = this.clone();
        vec![
            Work {
                name: format!("{name}, forward"),
                operations: attention,
                run: Box::new(move || {
                    black_box(other.forward());
                }),
            },
            Work {
                name: format!("{name}, backward"),
                operations: 2.5 * attention,
                run: Box::new(move || {
                    let (q, k, v, g) = (this.heads(0), this.heads(1), this.heads(2), this.heads(3));
                    let out = Heads {
                        values: &out,
                        layout: q.layout,
                    };
                    black_box(attention_backward(
                        &this.shape,
                        &BackwardInputs {
                            q,
                            k,
                            v,
                            out,
                            log_sum_exp: &sums,
                            out_gradient: g,
                        },
                        &this.options,
                        Qkv::from([q.layout; 3]),
                    ));
                }),
            },
        ]
    }
}

/// Largest relative error of small cases, one of the usual convolution: output and gradients of the
/// inputs, against the definition in float64.
fn check() -> f64 {
    [[2, 4, 10, 14, 3], [2, 4, 12, 14, 5]]
        .map(check_of)
        .into_iter()
        .fold(0.0, f64::max)
}

fn check_of(sizes: [usize; 5]) -> f64 {
    let small = Sas::new(2, 70, sizes);
    let (out, sums) = small.forward();
    let g = &small.gradient;
    let got = sas_attention_backward(
        &small.shape,
        small.inputs(),
        &small.weights(),
        &sums,
        g,
        &small.options,
    );
    let SasShape {
        batch,
        queries,
        heads,
        expanded_heads,
        head_dim,
        expanded_head_dim,
        kernel_size,
        ..
    } = small.shape;
    let sizes = |expanded_width| simulated::ExpansionSizes {
        tokens: batch * queries,
        heads,
        expanded_heads,
        width: head_dim,
        expanded_width,
        kernel_size,
    };
    let [q, q2, k, k2, v] = small.stages.each_ref().map(|stage| {
        let [first, first_bias, second, second_bias] = stage.0.each_ref().map(|x| wide(x));
        Some(simulated::Stage {
            first,
            first_bias,
            second,
            second_bias,
        })
    });
    let expansions = [(q, q2), (k, k2), (v, None)]
        .map(|(heads, features)| simulated::Expansion { heads, features });
    let half = expanded_head_dim / 2;
    let rotation = simulated::Rotation {
        cos: wide(&small.table[0]),
        sin: wide(&small.table[1]),
        half,
    };
    let inputs = small.inputs.each_ref().map(|x| wide(x));
    let exact = simulated::sas_attention(
        batch,
        expanded_heads / heads,
        [
            sizes(expanded_head_dim),
            sizes(expanded_head_dim),
            sizes(head_dim),
        ],
        inputs.each_ref().map(|x| x.as_slice()),
        &expansions,
        Some([&rotation, &rotation]),
        &wide(g),
        &small.options,
    );
    [
        (&out, &exact.out),
        (&got.q, &exact.inputs[0]),
        (&got.k, &exact.inputs[1]),
        (&got.v, &exact.inputs[2]),
    ]
    .map(|(got, exact)| relative_error(got, exact))
    .into_iter()
    .fold(0.0, f64::max)
}
