//! Models go to and from `transformers` and keep their logits. The Python half is
//! interop/huggingface/parity.py; `SIMATTN_PYTHON` names an interpreter that has `transformers`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::json;
use simattn::decoding::{Running, RunningOptions};
use simattn::generate::{greedy, greedy_on_cache};
use simattn::huggingface::Weights;
use simattn::{Decoder, ModelConfig};
use simattn_data::Tokenizer;
use simattn_train::model_folder::{Reservation, load};
use simattn_train::{DataConfig, RunConfig, TrainConfig};

/// Of the RMS relative error.
const TOLERANCE: f64 = 1e-4;

fn simattn(arguments: &[&Path]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simattn"))
        .args(arguments)
        .output()
        .expect("the binary runs")
}

fn succeeds(arguments: &[&Path]) {
    let out = simattn(arguments);
    let log = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{arguments:?}: {log}");
}

/// A Python that has `transformers`, or `None` with the reason printed.
fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SIMATTN_PYTHON").map_or("python3".into(), PathBuf::from);
    let asked = Command::new(&python)
        .args(["-c", "import torch, transformers, safetensors"])
        .output();
    let reason = match asked {
        Ok(out) if out.status.success() => return Some(python),
        Ok(_) => "it lacks torch, transformers or safetensors".to_owned(),
        Err(error) => error.to_string(),
    };
    println!(
        "skipped: {}: {reason}; set SIMATTN_PYTHON to one that has them",
        python.display()
    );
    None
}

fn parity(python: &Path, command: &str, paths: &[&Path]) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/huggingface/parity.py");
    let last = paths.last().expect("a path in the test's folder");
    let modules = last.parent().expect("a folder").join("modules");
    let out = Command::new(python)
        .arg(script)
        .arg(command)
        .args(paths)
        .env("HF_HUB_OFFLINE", "1")
        .env("OMP_NUM_THREADS", "1")
        .env("TOKENIZERS_PARALLELISM", "false")
        .env("HF_MODULES_CACHE", modules)
        .output()
        .expect("Python ran before");
    let log = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{log}");
}

fn logits(model: &Decoder, ids: &[u32]) -> Vec<f32> {
    let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let data = TensorData::new(ids.clone(), [1, ids.len()]);
    let found = model.logits(Tensor::<2, Int>::from_data(data, &Device::flex()));
    found.into_data().iter::<f32>().collect()
}

/// RMS of the difference over the RMS of the second.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let pairs = found.iter().zip(expected);
    let difference: f64 = pairs.map(|(a, b)| f64::from(a - b).powi(2)).sum();
    let size: f64 = expected.iter().map(|x| f64::from(*x).powi(2)).sum();
    (difference / size).sqrt()
}

/// Compares a model with what `transformers` computed.
fn compare(name: &str, model: &Decoder, reference: &Path) {
    let reference = Weights::open(reference).expect("what parity.py wrote");
    let read = |name: &str| reference.read(name).expect("a tensor");
    let prompt: Vec<u32> = read("prompt").iter().map(|&id| id as u32).collect();
    let error = distance(&logits(model, &prompt), &read("logits"));
    println!("{name}: RMS relative error {error:.1e}");
    assert!(error < TOLERANCE, "{name}: {error:.2e}");
    let written = |name| -> Vec<u32> { read(name).iter().map(|&id| id as u32).collect() };
    let new = greedy(model, &prompt, 64, None, |_| {}).expect("the prompt fits");
    let running = Running::new(model, RunningOptions::default());
    let on_cache = greedy_on_cache(&running, &prompt, 64, None, |_| {});
    assert_eq!(
        on_cache.expect("the prompt fits"),
        new,
        "{name}: our own cache"
    );
    assert_eq!(new, written("greedy_uncached"), "{name}: greedy tokens");
    assert_eq!(new, written("greedy"), "{name}: greedy tokens with a cache");
}

#[test]
fn models_of_every_family_keep_their_logits_and_come_back_byte_for_byte() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path().join("made");
    parity(&python, "make", &[&here]);
    let families = [
        ("llama", "llama", "f32"),
        ("llama-biased", "llama", "f16"),
        ("llama-mqa", "llama", "f32"),
        ("mistral", "llama", "bf16"),
        ("qwen2", "qwen2", "f32"),
        ("qwen3", "qwen3", "f32"),
        ("pythia", "gpt_neox", "f16"),
        ("neox", "gpt_neox", "f32"),
        ("gpt2", "gpt2", "f32"),
        ("gpt2-exact", "gpt2", "bf16"),
    ];
    for (name, model_type, dtype) in families {
        let source = here.join(name);
        let tokenizer = Tokenizer::bytes();
        tokenizer
            .save(source.join("tokenizer.json"))
            .expect("a small file");
        let [ours, theirs, again] =
            ["ours", "theirs", "again"].map(|s| here.join(format!("{name}-{s}")));
        let [convert, from, to] = ["convert", "from-hf", "to-hf"].map(Path::new);
        succeeds(&[convert, from, &source, &ours]);
        let model = load(&ours, &Device::flex())
            .expect("a model folder")
            .decoder;
        compare(name, &model, &here.join(format!("{name}.reference")));

        succeeds(&[
            convert,
            to,
            &ours,
            &theirs,
            Path::new("--dtype"),
            Path::new(dtype),
        ]);
        let config = fs::read_to_string(theirs.join("config.json")).expect("text");
        assert!(
            config.contains(&format!("\"model_type\": \"{model_type}\"")),
            "{config}"
        );
        let bytes = |folder: &Path, file| fs::read(folder.join(file)).expect("a file");
        if source.join("model.safetensors").is_file() && name != "gpt2" {
            let file = "model.safetensors";
            assert!(
                bytes(&source, file) == bytes(&theirs, file),
                "{name}: weights"
            );
        }
        succeeds(&[convert, from, &theirs, &again]);
        for file in ["model.safetensors", "config.toml", "tokenizer.json"] {
            assert!(bytes(&ours, file) == bytes(&again, file), "{name}: {file}");
        }
    }
}

/// A freshly drawn model, saved as `train` saves one.
fn save(config: ModelConfig, place: &Path) -> Decoder {
    let decoder = Decoder::new(&config, 7, &Device::flex()).expect("a model");
    let config = RunConfig {
        seed: 7,
        model: config,
        data: DataConfig::default(),
        train: TrainConfig::default(),
    };
    Reservation::new(place)
        .and_then(|r| r.save(&config, &Tokenizer::bytes(), &decoder, &Default::default()))
        .expect("a free place");
    decoder
}

#[test]
fn our_own_models_run_in_transformers_and_generate_the_same() {
    let Some(python) = python() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let sas = json!({ "kind": "sas", "heads": 3, "head_dim": 8, "expanded_heads": 6, "expanded_head_dim": 12, "kernel_size": 5 });
    let with = |mut value: serde_json::Value, changes: serde_json::Value| {
        let changes = changes.as_object().expect("an object").clone();
        value.as_object_mut().expect("an object").extend(changes);
        value
    };
    let mha = json!({ "kind": "mha", "heads": 3, "head_dim": 8 });
    let variants = [
        ("sas", "simattn", sas.clone(), json!({})),
        (
            "sas-shared",
            "simattn",
            with(
                sas.clone(),
                json!({ "heads": 4, "kv_heads": 2, "expanded_heads": 8, "rotary_dim": 8 }),
            ),
            json!({ "norm": "rms", "mlp": "swiglu", "qk_norm": true, "qkv_bias": false }),
        ),
        (
            "sas-full",
            "simattn",
            with(sas, json!({ "aggregation": "full", "rope": "before" })),
            json!({ "tied": true }),
        ),
        (
            "mla",
            "simattn",
            json!({ "kind": "mla", "heads": 3, "nope_head_dim": 8, "rope_head_dim": 4, "value_head_dim": 6, "query_rank": 16, "kv_rank": 12 }),
            json!({}),
        ),
        (
            "mfa",
            "simattn",
            json!({ "kind": "mfa", "heads": 3, "head_dim": 12, "query_rank": 10 }),
            json!({}),
        ),
        (
            "tpa",
            "simattn",
            json!({ "kind": "tpa", "heads": 3, "head_dim": 8, "query_rank": 3, "kv_rank": 2 }),
            json!({}),
        ),
        (
            "tpa-kv",
            "simattn",
            json!({ "kind": "tpa", "heads": 3, "head_dim": 8, "kv_rank": 2 }),
            json!({ "rope_scaling": { "kind": "linear", "factor": 2.0 } }),
        ),
        ("mha-neox", "gpt_neox", mha.clone(), json!({})),
        (
            "mha-llama",
            "llama",
            mha.clone(),
            json!({ "norm": "rms", "mlp": "swiglu", "bias": false }),
        ),
        (
            "gqa-mixed",
            "simattn",
            json!({ "kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 8 }),
            json!({ "positions": "learned", "mlp": "gelu_tanh" }),
        ),
    ];
    let mut models = Vec::new();
    for (name, model_type, attention, changes) in variants {
        let base = json!({ "vocabulary": 300, "context": 128, "layers": 2, "width": 24, "attention": attention });
        let config = serde_json::from_value(with(base, changes)).expect("a configuration");
        let [ours, theirs, again] = ["", "-hf", "-again"].map(|s| here.join(format!("{name}{s}")));
        let decoder = save(config, &ours);
        let [convert, from, to] = ["convert", "from-hf", "to-hf"].map(Path::new);
        succeeds(&[convert, to, &ours, &theirs]);
        let config = fs::read_to_string(theirs.join("config.json")).expect("text");
        assert!(
            config.contains(&format!("\"model_type\": \"{model_type}\"")),
            "{config}"
        );
        succeeds(&[convert, from, &theirs, &again]);
        let back = load(&again, &Device::flex())
            .expect("a model folder")
            .decoder;
        assert_eq!(
            simattn::checkpoint::tensors(&decoder),
            simattn::checkpoint::tensors(&back),
            "{name}: every tensor comes back bit for bit"
        );
        models.push((name, decoder, theirs));
    }
    let folders: Vec<&Path> = models
        .iter()
        .map(|(_, _, folder)| folder.as_path())
        .collect();
    parity(&python, "score", &folders);
    for (name, decoder, folder) in &models {
        compare(name, decoder, &folder.with_extension("reference"));
    }
}

/// A real model, `SIMATTN_HF_MODEL` naming its folder: minutes without optimisation.
#[test]
#[ignore = "needs a real model; set SIMATTN_HF_MODEL to its folder"]
fn a_real_model_keeps_its_logits() {
    let Some(python) = python() else { return };
    let Some(source) = std::env::var_os("SIMATTN_HF_MODEL").map(PathBuf::from) else {
        println!("skipped: SIMATTN_HF_MODEL names no folder");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ids = folder.path().join("ids.json");
    let model = simattn::huggingface::import(&source, &Device::flex())
        .expect("a readable model")
        .decoder;
    let text = "The lamp on the quay was lit at six, and by seven the boats had all come home.";
    let tokenizer = Tokenizer::from_file(source.join("tokenizer.json")).expect("a tokenizer");
    let prompt = tokenizer.encode(text).expect("tokens");
    fs::write(&ids, format!("{prompt:?}")).expect("a small file");
    parity(&python, "logits", &[&source, &ids]);
    let reference = Weights::open(&folder.path().join("ids.json.reference")).expect("written");
    let expected = reference.read("logits").expect("a tensor");
    let error = distance(&logits(&model, &prompt), &expected);
    println!("{}: RMS relative error {error:.1e}", source.display());
    assert!(error < TOLERANCE, "{error:.2e}");
}
