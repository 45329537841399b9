//! Tokens per second of decoding with random weights, beside the memory's bandwidth.
//!
//! `cargo bench -p simattn --bench running_rate -- MODEL CONTEXT… [--weights T] [--cache T]
//! [--compact] [--rows N] [--threads N] [--steps N]` with MODEL one of smollm2, smollm2-sas, 125m, 125m-sas. One
//! line a context: milliseconds and tokens per second of a step, the bytes that it reads, their rate
//! in percent of what a plain sum of a large array reads, and the rates of prefill and of
//! restoring.

use std::error::Error;
use std::time::Instant;

use burn::tensor::Device;
use rayon::prelude::*;
use serde_json::json;
use simattn::decoding::{CacheForm, Logits, NumberType, PAGE, Running, RunningOptions, Sequence};
use simattn::{Decoder, ModelConfig};

/// The seconds of the fastest of some runs.
fn fastest(runs: usize, mut work: impl FnMut()) -> f64 {
    let time = || {
        let start = Instant::now();
        work();
        start.elapsed().as_secs_f64()
    };
    std::iter::repeat_with(time)
        .take(runs)
        .fold(f64::INFINITY, f64::min)
}

/// Bytes per second that all threads read from an array no cache holds.
fn bandwidth() -> f64 {
    const LEN: usize = 1 << 27;
    let array = vec![1u64; LEN];
    let mut total = 0;
    let seconds = fastest(5, || {
        let sums = array.par_chunks(1 << 16).map(|part| {
            let mut sums = [0u64; 16];
            for part in part.as_chunks::<16>().0 {
                for (sum, x) in sums.iter_mut().zip(part) {
                    *sum = sum.wrapping_add(*x);
                }
            }
            sums.iter().sum::<u64>()
        });
        total = sums.sum();
    });
    assert_eq!(total, LEN as u64);
    (8 * LEN) as f64 / seconds
}

fn config(name: &str) -> Result<ModelConfig, Box<dyn Error>> {
    let smollm2 = |attention| {
        let mut config = ModelConfig::llama(16_384, 30, 576, attention);
        config.mlp_width = Some(1536);
        config.vocabulary = 49_152;
        config
    };
    let of_125m = |attention| {
        let mut config = ModelConfig::neox(16_384, 12, 768, attention);
        config.vocabulary = 50_304;
        config
    };
    let mut config = match name {
        "smollm2" => smollm2(serde_json::from_value(json!({
            "kind": "gqa", "heads": 9, "kv_heads": 3, "head_dim": 64
        }))?),
        "smollm2-sas" => smollm2(serde_json::from_value(json!({
            "kind": "sas", "heads": 9, "kv_heads": 3, "head_dim": 64, "expanded_heads": 18,
            "expanded_head_dim": 96, "kernel_size": 5
        }))?),
        "125m" => of_125m(serde_json::from_value(json!({
            "kind": "mha", "heads": 12, "head_dim": 64
        }))?),
        "125m-sas" => of_125m(serde_json::from_value(json!({
            "kind": "sas", "heads": 12, "head_dim": 64, "expanded_heads": 36,
            "expanded_head_dim": 96, "kernel_size": 5
        }))?),
        other => return Err(format!("no model {other}").into()),
    };
    config.init = simattn::Init::Small;
    Ok(config)
}

struct Asked {
    model: String,
    contexts: Vec<usize>,
    options: RunningOptions,
    rows: usize,
    steps: usize,
}

fn asked() -> Result<Asked, Box<dyn Error>> {
    let number_type = |name: Option<String>| match name.as_deref() {
        Some("f32") => Ok(NumberType::F32),
        Some("bf16") => Ok(NumberType::Bf16),
        Some("int8") => Ok(NumberType::Int8),
        other => Err(format!("no type {other:?}")),
    };
    let mut asked = Asked {
        model: "smollm2".into(),
        contexts: Vec::new(),
        options: RunningOptions::default(),
        rows: 1,
        steps: 15,
    };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next();
        match argument.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--rows" => asked.rows = value().ok_or("no rows")?.parse()?,
            "--steps" => asked.steps = value().ok_or("no steps")?.parse()?,
            "--threads" => rayon::ThreadPoolBuilder::new()
                .num_threads(value().ok_or("no threads")?.parse()?)
                .build_global()?,
            "--compact" => asked.options.form = CacheForm::Compact,
            "--weights" => asked.options.weights = number_type(value())?,
            "--cache" => asked.options.cache = number_type(value())?,
            other => match other.parse() {
                Ok(context) => asked.contexts.push(context),
                Err(_) => asked.model = other.into(),
            },
        }
    }
    Ok(asked)
}

/// Sequences of `context` tokens, and the seconds that the first one's last page took.
fn filled(model: &Running, context: usize, rows: usize) -> (Vec<Sequence>, f64) {
    let ids: Vec<u32> = (0..context as u32).map(|i| i * 31 % 40_000).collect();
    let last = context / PAGE * PAGE - PAGE;
    let mut prefill = f64::INFINITY;
    let fill = |_| {
        let mut text = model.start();
        let mut extend = |ids: &[u32], logits| {
            model
                .extend(&mut text, ids, logits)
                .expect("tokens that fit");
        };
        extend(&ids[..last], Logits::None);
        let start = Instant::now();
        extend(&ids[last..last + PAGE], Logits::None);
        prefill = prefill.min(start.elapsed().as_secs_f64());
        extend(&ids[last + PAGE..], Logits::None);
        text
    };
    ((0..rows).map(fill).collect(), prefill)
}

fn main() -> Result<(), Box<dyn Error>> {
    let asked = asked()?;
    let config = config(&asked.model)?;
    let model = Running::new(&Decoder::new(&config, 1, &Device::flex())?, asked.options);
    for &context in &asked.contexts {
        let (mut texts, prefill) = filled(&model, context, asked.rows);
        let cache: usize = texts.iter().map(Sequence::bytes).sum();
        let read = (model.bytes() + cache) as f64;
        let ids = vec![7; asked.rows];
        let (mut steps, mut rates) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            rates.push(bandwidth());
            for _ in 0..asked.steps.div_ceil(3) {
                let mut all: Vec<&mut Sequence> = texts.iter_mut().collect();
                let start = Instant::now();
                model.step(&mut all, &ids)?;
                steps.push(start.elapsed().as_secs_f64());
            }
        }
        steps.sort_by(f64::total_cmp);
        let seconds = steps[steps.len() / 2];
        let rate = rates.iter().copied().fold(0.0, f64::max);
        let stored = model.set_aside(&texts[0]);
        let restore = fastest(1, || drop(model.restore(&stored)));
        println!(
            "{} weights {} cache {} {:?} context {context} rows {}: {:.2} ms (fastest {:.2}), {:.1} tokens/s, \
             {:.0} MB read, {:.1} of {:.1} GB/s ({:.0}%); cache {:.0} MiB a text, stored {:.0} MiB; \
             prefill {:.0} tokens/s, restored {:.0} tokens/s",
            asked.model,
            asked.options.weights,
            asked.options.cache,
            asked.options.form,
            asked.rows,
            seconds * 1e3,
            steps[0] * 1e3,
            asked.rows as f64 / seconds,
            read / 1e6,
            read / seconds / 1e9,
            rate / 1e9,
            100.0 * read / seconds / rate,
            cache as f64 / asked.rows as f64 / f64::from(1 << 20),
            stored.bytes() as f64 / f64::from(1 << 20),
            PAGE as f64 / prefill,
            context as f64 / restore,
        );
    }
    Ok(())
}
