//! Tokens per second of decoding with random weights, beside the memory's bandwidth.
//!
//! `cargo bench -p simattn --bench running_rate -- MODEL CONTEXT… [--weights T] [--cache T]
//! [--compact] [--rows N] [--threads N] [--steps N]` with MODEL one of smollm2, smollm2-sas, 125m,
//! 125m-sas. One line a context: milliseconds and tokens per second of a step, the bytes that it
//! reads, their rate in percent of what a plain sum of a large array reads, and the rates of
//! prefill and of restoring all of the context's tokens.

use std::error::Error;
use std::time::Instant;

use burn::tensor::Device;
use serde_json::json;
use simattn::decoding::{CacheForm, Logits, NumberType, PAGE, Running, RunningOptions, Sequence};
use simattn::{Decoder, ModelConfig};
use simattn_kernels::cpu::memory_rate::MemoryRate;

/// As in the binary: freed memory is kept.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn seconds<R>(work: impl FnOnce() -> R) -> (f64, R) {
    let start = Instant::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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

/// Sequences of `context` tokens, and the seconds that one of them took.
fn filled(model: &Running, context: usize, rows: usize) -> (Vec<Sequence>, f64) {
    let ids: Vec<u32> = (0..context as u32).map(|i| i * 31 % 40_000).collect();
    let fill = || {
        let mut text = model.start();
        let (time, done) = seconds(|| model.extend(&mut text, &ids, Logits::None));
        done.expect("tokens that fit");
        (text, time)
    };
    // The first one's memory is fresh.
    fill();
    let (texts, times) = (0..rows).map(|_| fill()).unzip();
    (texts, median(times))
}

fn main() -> Result<(), Box<dyn Error>> {
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: sets one integer option; no other thread runs yet.
    unsafe { libmimalloc_sys::mi_option_set(PURGE_DELAY, -1) };
    let asked = asked()?;
    let config = config(&asked.model)?;
    let model = Running::new(&Decoder::new(&config, 1, &Device::flex())?, asked.options);
    let memory = MemoryRate::new();
    for &context in &asked.contexts {
        let (mut texts, prefill) = filled(&model, context, asked.rows);
        let cache: usize = texts.iter().map(Sequence::bytes).sum();
        // What only restoring reads is kept beside the rest.
        let unread = match model.page_bytes() > model.stored_page_bytes() {
            true => model.stored_page_bytes() * context.div_ceil(PAGE) * asked.rows,
            false => 0,
        };
        // Without a head of its own the embedding is read for the scores; else one row of it.
        let embedding = match config.tied {
            true => 0,
            false => {
                let bytes = match asked.options.weights {
                    NumberType::F32 => 4,
                    NumberType::Bf16 => 2,
                    NumberType::Int8 => 1,
                };
                bytes * config.vocabulary * config.width
            }
        };
        let read = (model.bytes() + cache - unread - embedding) as f64;
        let ids = vec![7; asked.rows];
        let (mut steps, mut rates) = (Vec::new(), Vec::new());
        // In turn, since other programs on the machine take their share of the memory's rate.
        const TURNS: usize = 10;
        for _ in 0..TURNS {
            rates.push(memory.once());
            for _ in 0..asked.steps.div_ceil(TURNS) {
                let mut all: Vec<&mut Sequence> = texts.iter_mut().collect();
                let (time, done) = seconds(|| model.step(&mut all, &ids));
                done?;
                steps.push(time);
            }
        }
        let (step, rate) = (median(steps), median(rates));
        let stored = model.set_aside(&texts[0]);
        let restore = || seconds(|| model.restore(&stored)).0;
        let restore = median((0..5).map(|_| restore()).collect());
        let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
        println!(
            "{} weights {} cache {} {:?} context {context} rows {}: {:.2} ms, {:.1} tokens/s, \
             {:.0} MB read, {:.1} of {:.1} GB/s ({:.0}%); cache {:.0} MiB a text, stored {:.0} \
             MiB; prefill {:.0} tokens/s, restored {:.0} tokens/s ({:.1} x)",
            asked.model,
            asked.options.weights,
            asked.options.cache,
            asked.options.form,
            asked.rows,
            step * 1e3,
            asked.rows as f64 / step,
            read / 1e6,
            read / step / 1e9,
            rate / 1e9,
            100.0 * read / step / rate,
            mib(cache) / asked.rows as f64,
            mib(stored.bytes()),
            context as f64 / prefill,
            texts[0].len() as f64 / restore,
            texts[0].len() as f64 / restore / (context as f64 / prefill),
        );
    }
    Ok(())
}
