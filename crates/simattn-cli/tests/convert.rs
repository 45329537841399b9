//! `simattn convert`, `upcycle`, `generate` and `train --init` as a user runs them, without Python.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{LLAMA, refusal, simattn, succeeds, words};

#[test]
fn a_model_goes_out_and_comes_back_is_upcycled_and_trained_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), LLAMA).expect("a small file");
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
    let (_, rest) = LLAMA.split_once("[data]").expect("its sections");
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
    fs::write(here.join("run.toml"), LLAMA).expect("a small file");
    succeeds(here, "train run.toml --out first");
    succeeds(here, "convert to-hf first hf");
    let weights = here.join("hf/model.safetensors");
    let whole = fs::read(&weights).expect("a file");
    fs::write(&weights, &whole[..whole.len() - 9]).expect("a small file");
    let line = refusal(here, "convert from-hf hf new", "new");
    assert!(line.contains("not a complete safetensors file"), "{line}");
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

/// Overwrites numbers of the weights in a folder: the first one, or all of one tensor.
fn overwrite(model: &Path, tensor: Option<&str>, value: f32) {
    let path = model.join("model.safetensors");
    let mut file = fs::read(&path).expect("the weights");
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).expect("JSON");
    let place = |name: &str, n: usize| {
        let offset = header[name]["data_offsets"][n].as_u64();
        8 + length + offset.expect("its place") as usize
    };
    let range = match tensor {
        Some(name) => place(name, 0)..place(name, 1),
        None => 8 + length..12 + length,
    };
    for number in file[range].chunks_exact_mut(4) {
        number.copy_from_slice(&value.to_le_bytes());
    }
    fs::write(path, file).expect("a small file");
}

#[test]
fn a_model_with_a_nan_weight_is_neither_used_nor_passed_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), LLAMA).expect("a small file");
    fs::write(
        here.join("text.txt"),
        "Once upon a time there was a text.\n",
    )
    .expect("a file");
    fs::create_dir(here.join("data")).expect("a folder");
    let item = "{\"goal\":\"g\",\"sol1\":\"a\",\"sol2\":\"b\",\"label\":1}\n";
    fs::write(here.join("data/piqa_validation.jsonl"), item).expect("a small file");
    succeeds(here, "train run.toml --out first");
    succeeds(here, "convert to-hf first hf");
    fs::create_dir(here.join("good")).expect("a folder");
    for entry in fs::read_dir(here.join("first")).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_file() {
            let name = path.file_name().expect("a name").to_owned();
            fs::copy(&path, here.join("good").join(name)).expect("a small file");
        }
    }
    for model in ["good", "hf"] {
        overwrite(&here.join(model), None, f32::NAN);
    }
    let sizes = "--expanded-heads 8 --expanded-head-dim 6 --kernel-size 3";
    for command in [
        "eval good --data text.txt",
        "eval good --tasks piqa --tasks-dir data --json new",
        "generate good Once --greedy --tokens 3",
        "convert to-hf good new",
        "convert from-hf hf new",
        "convert verify good first",
        "convert verify first hf",
        &format!("upcycle good new {sizes}"),
        "train run.toml --init good --out new",
    ] {
        let line = refusal(here, command, "new");
        assert!(
            line.contains("tensor `") && line.contains("not finite"),
            "{command}: {line}"
        );
    }

    // Finite weights whose scores overflow: the failure is the model's, not the input's.
    overwrite(&here.join("good"), None, 0.0);
    overwrite(&here.join("good"), Some("head"), f32::MAX);
    for command in [
        "eval good --data text.txt",
        "eval good --data text.txt --per-document",
        "eval good --tasks piqa --tasks-dir data --json new",
        "generate good Once --greedy --tokens 3",
        "convert verify first good --tokens 8 --context 8",
    ] {
        let out = simattn(here, &words(command));
        let log = String::from_utf8(out.stderr).expect("UTF-8");
        assert_eq!(out.status.code(), Some(1), "{command}: {log}");
        let last = log.lines().last().unwrap_or_default();
        assert!(last.contains("overflow"), "{command}: {log}");
        assert!(
            out.stdout.is_empty() && !here.join("new").exists(),
            "{command}"
        );
    }
    let line = refusal(
        here,
        "eval first --tasks piqa --tasks-dir data --limit 0",
        "new",
    );
    assert!(line.contains("--limit 0"), "{line}");
}

#[cfg(target_os = "linux")]
#[test]
fn sizes_that_no_memory_holds_are_said_before() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), LLAMA).expect("a small file");
    succeeds(here, "train run.toml --out first");
    for command in [
        "upcycle first new --expanded-heads 1048576 --expanded-head-dim 64",
        "train run.toml --out new --set model.width=1048576",
        "train run.toml --out new --set model.vocabulary=2000000000",
        "train run.toml --out new --set model.layers=16777216",
        "train run.toml --out new --set train.batch=1048576 --set model.context=1000",
        "train run.toml --out new --set data.tales_train_bytes=1099511627776",
        "bench layer --heads 1024 --head-dim 1024 --expanded-heads 1024 --expanded-head-dim 1024",
        "bench train --vocab 2000000000 --layers 1",
        "bench layer --batch 1073741824",
        "bench decode --seq 16777216 --batch 18446744073709551615",
    ] {
        let line = refusal(here, command, "new");
        let said = line.contains("needs at least") && line.contains("available");
        assert!(said, "{command}: {line}");
    }
    // A file of weights without end, for those that read it whole.
    fs::create_dir(here.join("endless")).expect("a folder");
    for name in ["config.toml", "tokenizer.json"] {
        let (from, to) = (
            here.join("first").join(name),
            here.join("endless").join(name),
        );
        fs::copy(from, to).expect("a small file");
    }
    let file = fs::File::create(here.join("endless/model.safetensors")).expect("a file");
    if file.set_len(1 << 42).is_ok() {
        for command in [
            "generate endless Once --greedy",
            "eval endless --data run.toml",
            "convert to-hf endless new",
        ] {
            let line = refusal(here, command, "new");
            assert!(
                line.contains("opening endless needs at least 8.00 TiB"),
                "{line}"
            );
        }
    }
    // A configuration that was changed under its weights.
    let path = here.join("first/config.toml");
    let config = fs::read_to_string(&path).expect("the configuration");
    let wide = config.replace("width = 16", "width = 1048576");
    fs::write(&path, wide.replace("head_dim = 4", "head_dim = 262144")).expect("a small file");
    let line = refusal(here, "generate first Once --greedy --tokens 3", "new");
    assert!(line.contains("weights"), "{line}");
    let said = succeeds(here, "info run.toml --vocabulary 2000000000");
    assert!(said.contains("memory"), "{said}");
}

#[cfg(target_os = "linux")]
#[test]
fn out_of_memory_is_one_line_and_exit_code_1() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    // 64 MiB of weights: training has to find four times that, and passes on top. The limit leaves
    // less for them than they take.
    let config = LLAMA.replace("width = 16", "width = 16\nvocabulary = 524288");
    fs::write(here.join("run.toml"), config).expect("a small file");
    let program = env!("CARGO_BIN_EXE_simattn");
    let script = format!("ulimit -v 400000 && exec '{program}' train run.toml --out new");
    let out = Command::new("sh")
        .current_dir(here)
        .args(["-c", &script])
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .expect("a shell");
    let log = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(1), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.starts_with("simattn: out of memory: "), "{log}");
    assert!(
        !log.contains("backtrace") && !log.contains("panicked"),
        "{log}"
    );
}
