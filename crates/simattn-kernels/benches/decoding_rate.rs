//! How fast the kernels of decoding run here, beside the matrix product of the `gemm` crate in the
//! same process.
//!
//! `cargo bench -p simattn-kernels --bench decoding_rate [-- THREADS [WORDS]]`; with WORDS only
//! works whose names contain them.
//!
//! Every piece of work is short and runs many times, in turn with the others; the fastest run
//! counts, so that other programs on the machine disturb little. Operations are counted by
//! definition.

use std::hint::black_box;
use std::time::Instant;

use simattn_kernels::call::{Expansion, ExpansionOptions, NumberType, Stage};
use simattn_kernels::cpu::decoding::{
    AttendShape, Expander, KeyPage, PAGE, Page, Panels, Rows, Run, ValuePage, attend, expand,
    on_workers, product,
};
use simattn_kernels::cpu::linear::{LinearShape, input_gradient};
use simattn_random::stream;

fn normals(len: usize) -> Vec<f32> {
    let mut chance = stream(1, "bench");
    (0..len).map(|_| chance.normal() as f32).collect()
}

/// A piece of work, its operations, and the bytes that it reads of weights or caches.
struct Work {
    name: String,
    operations: f64,
    bytes: f64,
    run: Box<dyn FnMut() + Send>,
    best: f64,
}

fn work(name: &str, operations: f64, bytes: usize, run: impl FnMut() + Send + 'static) -> Work {
    Work {
        name: name.into(),
        operations,
        bytes: bytes as f64,
        run: Box::new(run),
        best: f64::INFINITY,
    }
}

/// A plain product of the shape that the rates of the other benches are compared with, cut short.
fn gemm() -> Work {
    let [rows, inputs, outputs] = [64, 576, 3072];
    let (x, weight) = (normals(rows * inputs), normals(inputs * outputs));
    let mut out = Box::<[f32]>::new_uninit_slice(rows * outputs);
    let shape = LinearShape {
        rows,
        inputs: outputs,
        outputs: inputs,
    };
    let operations = 2.0 * (rows * inputs * outputs) as f64;
    work(
        "gemm 64 × 576 × 3072",
        operations,
        4 * weight.len(),
        move || {
            input_gradient(shape, &x, &weight, &mut out);
            black_box(&out);
        },
    )
}

fn products() -> Vec<Work> {
    let (inputs, outputs) = (576, 3072);
    let weight = normals(inputs * outputs);
    let mut all = Vec::new();
    for number_type in [NumberType::F32, NumberType::Bf16, NumberType::Int8] {
        for rows in [1, 4, 8, 16, 64] {
            let panels = Panels::new(number_type, outputs, inputs, &weight);
            let (x, mut y) = (normals(rows * inputs), vec![0.0; rows * outputs]);
            let name = format!("product {rows} × {inputs} × {outputs}, {number_type}");
            let operations = 2.0 * (rows * inputs * outputs) as f64;
            all.push(work(&name, operations, panels.bytes(), move || {
                product(
                    &panels,
                    rows,
                    Rows::dense(&x, inputs),
                    None,
                    &mut y,
                    outputs,
                    false,
                );
                black_box(&y);
            }));
        }
    }
    all
}

/// Expansions of q, k and v of the 125M class, 12 → 36 heads, 64 → 96 features, κ 5.
fn expansions() -> Vec<Work> {
    let [heads, expanded, width, wide, taps] = [12, 36, 64, 96, 5];
    let convolutions = [
        normals(expanded * heads * taps),
        normals(expanded),
        normals(expanded * expanded * taps),
        normals(expanded),
    ];
    let maps = [
        normals(wide * width),
        normals(wide),
        normals(wide * wide),
        normals(wide),
    ];
    let stage = |w: &'static [Vec<f32>; 4]| Stage {
        first_weight: &w[0][..],
        first_bias: &w[1][..],
        second_weight: &w[2][..],
        second_bias: &w[3][..],
    };
    // A bench ends with its process.
    let (convolutions, maps) = (Box::leak(Box::new(convolutions)), Box::leak(Box::new(maps)));
    let full = Expansion {
        heads: Some(stage(convolutions)),
        features: Some(stage(maps)),
    };
    let of_heads = Expansion {
        heads: Some(stage(convolutions)),
        features: None,
    };
    let options = ExpansionOptions::default();
    let expanders: &'static [Expander; 2] = Box::leak(Box::new([
        Expander::new(heads, width, &full, options),
        Expander::new(heads, width, &of_heads, options),
    ]));
    let of_convolutions = expanded * (heads + expanded) * taps * width;
    let of_maps = expanded * wide * (width + wide);
    let operations = 2.0 * (3 * of_convolutions + 2 * of_maps) as f64;
    let bytes = 2 * expanders[0].bytes() + expanders[1].bytes();
    let of_tokens = |tokens: usize| {
        let x = normals(tokens * heads * width);
        let [full, of_heads] = expanders;
        let room = |expander: &Expander| vec![0.0; tokens * expander.outputs()];
        let (mut q, mut k, mut v) = (room(full), room(full), room(of_heads));
        let name = format!("expansions of {tokens} tokens");
        work(&name, operations * tokens as f64, bytes, move || {
            let x = Rows::dense(&x, heads * width);
            expand(
                tokens,
                &mut [(full, x, &mut q), (full, x, &mut k), (of_heads, x, &mut v)],
            );
            black_box((&q, &k, &v));
        })
    };
    [1, 4, 16].map(of_tokens).into()
}

fn attentions() -> Vec<Work> {
    let mut all = Vec::new();
    for (name, heads, kv_heads, width, value_width) in [
        ("MHA", 12, 12, 64, 64),
        ("GQA", 9, 3, 64, 64),
        ("SAS", 36, 36, 96, 64),
    ] {
        for number_type in [NumberType::F32, NumberType::Int8] {
            let keys = 512;
            let tokens = normals(PAGE * kv_heads * width.max(value_width));
            let pages: Vec<(KeyPage, ValuePage)> = (0..keys / PAGE)
                .map(|_| {
                    let mut key = KeyPage::new(number_type, kv_heads, width);
                    let mut value = ValuePage::new(number_type, kv_heads, value_width);
                    key.write(0, PAGE, Rows::dense(&tokens, kv_heads * width));
                    value.write(0, PAGE, Rows::dense(&tokens, kv_heads * value_width));
                    (key, value)
                })
                .collect();
            let pages: &'static [(KeyPage, ValuePage)] = Box::leak(pages.into());
            let bytes = pages
                .iter()
                .map(|(key, value)| key.bytes() + value.bytes())
                .sum();
            let shape = AttendShape {
                heads,
                kv_heads,
                query_width: width,
                value_width,
                scale: 0.1,
            };
            for rows in [1, 64] {
                let q = normals(rows * heads * width);
                let mut out = vec![0.0; rows * heads * value_width];
                let run = [Run {
                    pages: pages
                        .iter()
                        .map(|(keys, values)| Page::Heads { keys, values })
                        .collect(),
                    first: keys - rows,
                    tokens: rows,
                }];
                let operations = 2.0 * (rows * keys * heads * (width + value_width)) as f64;
                let name = format!("{name}, {rows} × {keys} keys, {number_type}");
                all.push(work(&name, operations, bytes, move || {
                    attend(&shape, &run, &q, &mut out);
                    black_box(&out);
                }));
            }
        }
    }
    all
}

fn main() {
    let arguments: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let threads = arguments.first().and_then(|argument| argument.parse().ok());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.unwrap_or(1));
    pool.build_global().expect("threads");
    let mut works = vec![gemm()];
    works.extend(products());
    works.extend(expansions());
    works.extend(attentions());
    if let Some(words) = arguments.get(1) {
        works.retain(|work| work.name.contains("gemm") || work.name.contains(words));
    }
    // As decoding runs them: on one of the pool's threads.
    on_workers(|| {
        for _ in 0..200 {
            for work in &mut works {
                let start = Instant::now();
                (work.run)();
                work.best = work.best.min(start.elapsed().as_secs_f64());
            }
        }
    });
    let rate = works[0].operations / works[0].best;
    for work in &works {
        let of_work = work.operations / work.best;
        println!(
            "{:40} {:9.1} µs {:7.1} GFLOP/s, {:3.0}% of gemm, {:6.1} GB/s",
            work.name,
            work.best * 1e6,
            of_work / 1e9,
            100.0 * of_work / rate,
            work.bytes / work.best / 1e9
        );
    }
}
