//! `simattn convert`, `upcycle`, `generate` and `train --init` as a user runs them, without Python.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

const CONFIG: &str = r#"
[model]
context = 32
layers = 1
width = 16
norm = "rms"
mlp = "swiglu"
bias = false
attention = { kind = "gqa", heads = 4, kv_heads = 2, head_dim = 4 }
[data]
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 2
batch = 2
evaluate_every = 2
evaluation_batches = 2
"#;

fn simattn(folder: &Path, arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simattn"))
        .current_dir(folder)
        .args(arguments.split_whitespace())
        .output()
        .expect("the binary runs")
}

fn succeeds(folder: &Path, arguments: &str) -> String {
    let out = simattn(folder, arguments);
    let log = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{arguments}: {log}");
    String::from_utf8(out.stdout).expect("UTF-8")
}

/// The one line of a command that refuses its input and leaves `place` free.
fn refusal(folder: &Path, arguments: &str, place: &str) -> String {
    let out = simattn(folder, arguments);
    let log = String::from_utf8(out.stderr).expect("UTF-8");
    assert_eq!(out.status.code(), Some(2), "{arguments}: {log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(!folder.join(place).exists(), "{arguments}");
    let left = fs::read_dir(folder).expect("a folder");
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0, "{arguments}");
    log
}

#[test]
fn a_model_goes_out_and_comes_back_is_upcycled_and_trained_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), CONFIG).expect("a small file");
    succeeds(here, "train run.toml --out first");
    let said = succeeds(here, "convert to-hf first hf");
    assert!(said.contains("LlamaForCausalLM"), "{said}");
    succeeds(here, "convert from-hf hf back");
    let same = succeeds(here, "convert verify first back --tokens 64 --context 16");
    assert!(same.contains("largest difference   0.000e0"), "{same}");
    assert!(same.contains("64 of 64"), "{same}");

    let sizes = "--expanded-heads 8 --expanded-head-dim 6 --kernel-size 3";
    succeeds(here, &format!("upcycle back sas --noise 0 {sizes}"));
    let close = succeeds(here, "convert verify hf sas --tokens 64 --context 16");
    let relative = close
        .lines()
        .find_map(|line| line.strip_prefix("RMS, relative"))
        .expect("the line");
    let relative: f64 = relative.trim().parse().expect("a number");
    assert!(relative < 1e-5, "{close}");

    let log = succeeds(
        here,
        "train run.toml --init sas --out second --context 16 --seed 4",
    );
    assert!(log.contains("2 steps"), "{log}");
    let config = fs::read_to_string(here.join("second/config.toml")).expect("text");
    assert!(
        config.contains("kind = \"sas\"") && config.contains("context = 16"),
        "{config}"
    );
    let moved = succeeds(here, "convert verify sas second --tokens 64 --context 16");
    assert!(!moved.contains("largest difference   0.000e0"), "{moved}");

    // The form comes from the model: a configuration need not have one.
    let (_, rest) = CONFIG.split_once("[data]").expect("its sections");
    fs::write(here.join("rest.toml"), format!("[data]{rest}")).expect("a small file");
    succeeds(
        here,
        "train rest.toml --init sas --out third --set model.context=16 --seed 4",
    );
    let third = fs::read_to_string(here.join("third/config.toml")).expect("text");
    assert_eq!(third, config);
    let line = refusal(here, "train rest.toml --out fourth", "fourth");
    assert!(line.contains("missing field `model`"), "{line}");

    let told = succeeds(here, "generate second Once --greedy --tokens 5");
    assert!(told.ends_with('\n'));
    assert_eq!(
        told,
        succeeds(here, "generate second Once --greedy --tokens 5")
    );
    refusal(here, "generate second Once --greedy --tokens 13", "nothing");
}

#[test]
fn what_cannot_be_converted_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), CONFIG).expect("a small file");
    succeeds(here, "train run.toml --out first");
    succeeds(here, "convert to-hf first hf");
    let weights = here.join("hf/model.safetensors");
    let whole = fs::read(&weights).expect("a file");
    fs::write(&weights, &whole[..whole.len() - 9]).expect("a small file");
    let line = refusal(here, "convert from-hf hf new", "new");
    assert!(line.contains("not a whole safetensors file"), "{line}");
    fs::write(&weights, &whole).expect("a small file");

    fs::rename(here.join("hf/tokenizer.json"), here.join("kept.json")).expect("it is there");
    let line = refusal(here, "convert from-hf hf new/er", "new");
    assert!(line.contains("tokenizer.json"), "{line}");
    if cfg!(not(feature = "hub")) {
        let line = refusal(here, "convert from-hf hf://someone/something new", "new");
        assert!(line.contains("--features hub"), "{line}");
    }
    let line = refusal(here, "convert from-hf hf://someone new", "new");
    assert!(line.contains("hf://OWNER/NAME"), "{line}");
    let line = refusal(here, "convert from-hf nowhere new", "new");
    assert!(line.contains("config.json is missing"), "{line}");
    let line = refusal(
        here,
        "upcycle first new --expanded-heads 6 --expanded-head-dim 6",
        "new",
    );
    assert!(line.contains("expanded_heads = 6"), "{line}");
    let line = refusal(here, "train run.toml --init hf --out new", "new");
    assert!(line.contains("no saved model there"), "{line}");
}
