//! `simattn train` and `simattn eval` as a user runs them.

mod common;

use std::fs;
use std::path::Path;

use common::{simattn, text};

const CONFIG: &str = r#"
seed = 5
[model]
context = 16
layers = 1
width = 16
attention = { kind = "sas", heads = 2, head_dim = 8, expanded_heads = 4, expanded_head_dim = 12, kernel_size = 3 }
[data]
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 4
batch = 4
evaluate_every = 2
evaluation_batches = 2
log_every = 1
"#;

/// The entries of a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .into_string()
                .expect("a name")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_model_is_trained_saved_and_measured() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), CONFIG).expect("a small file");
    let trained = simattn(here, &["train", "run.toml", "--out", "runs/one"]);
    let (out, log) = (text(&trained.stdout), text(&trained.stderr));
    assert!(trained.status.success(), "{log}");
    assert!(
        out.contains("4 steps") && out.contains("bits per byte"),
        "{out}"
    );
    assert!(log.contains("step 3/4 loss"), "{log}");
    assert!(log.contains("step 2: validation loss"), "{log}");

    fs::create_dir(here.join("texts")).expect("a folder");
    fs::write(here.join("texts/a.txt"), "A fox met a crow.").expect("a small file");
    fs::write(here.join("texts/b.txt"), "The crow sang.").expect("a small file");
    let measured = simattn(here, &["eval", "runs/one", "--data", "texts"]);
    let out = text(&measured.stdout);
    assert!(measured.status.success(), "{}", text(&measured.stderr));
    let line = |name: &str| {
        out.lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name} in {out}"))
            .trim()
            .to_owned()
    };
    assert_eq!(line("documents"), "2");
    assert_eq!(line("bytes"), "31");
    assert_eq!(line("tokens"), "33", "every byte and two ends of text");
    assert_eq!(line("windows"), "3 of 16 tokens");
    let perplexity: f64 = line("perplexity").parse().expect("a number");
    assert!(perplexity > 1.0 && perplexity < 1000.0);

    let rolled = |options: &[&str]| {
        simattn(
            here,
            &[&["eval", "runs/one", "--data", "texts"], options].concat(),
        )
    };
    let output = rolled(&["--per-document", "--stride", "8"]);
    let out = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    // 17 and 14 bytes: 16 + 1 and 14, and no end of text.
    assert!(
        out.contains("tokens         31\nwindows        3 of 16"),
        "{out}"
    );
    let output = rolled(&["--prefix-token", "<s>"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--prefix-token <s>: the model's tokenizer has no"));
    // As `generate` runs the model: the same but for rounding, and nothing narrow is exact.
    let on_cache = |options: &[&str]| -> f64 {
        let output = rolled(options);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let out = text(&output.stdout);
        assert!(
            out.contains("tokens         33\nwindows        3 of 16"),
            "{out}"
        );
        let line = out.lines().find_map(|line| line.strip_prefix("perplexity"));
        line.expect("a line").trim().parse().expect("a number")
    };
    assert!((on_cache(&["--weights", "f32"]) / perplexity - 1.0).abs() < 1e-3);
    assert!((on_cache(&["--weights", "int8", "--cache", "bf16"]) / perplexity - 1.0).abs() < 0.05);
    let output = rolled(&["--cache", "int8", "--per-document"]);
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    let output = rolled(&["--stride", "17"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--stride 17 must be from 1 to the 16"));

    let again = simattn(
        here,
        &["train", "run.toml", "--out", "runs/two", "--seed", "5"],
    );
    assert!(again.status.success());
    let weights = |run: &str| fs::read(here.join(run).join("model.safetensors")).expect("weights");
    assert_eq!(
        weights("runs/one"),
        weights("runs/two"),
        "one seed, one model"
    );
}

#[test]
fn options_stand_above_the_file() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), CONFIG).expect("a small file");
    let story = "Once there was a mill by a river.\n\n".repeat(200);
    fs::write(here.join("story.txt"), story).expect("a small file");
    let arguments = "train run.toml --out m --data story.txt --tokenizer bytes --steps 2 --seed 9 \
                     --batch 2 --accumulation 2 --learning-rate 0.001 --context 8";
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let trained = simattn(here, &arguments);
    // Equal paragraphs cannot be on both sides of the split.
    assert_eq!(trained.status.code(), Some(2), "{}", text(&trained.stderr));
    let story: String = (0..400)
        .map(|day| {
            format!(
                "On day {day} the mill ground {} sacks of rye.\n\n",
                day * day
            )
        })
        .collect();
    fs::write(here.join("story.txt"), story).expect("a small file");
    let trained = simattn(here, &arguments);
    assert!(trained.status.success(), "{}", text(&trained.stderr));
    let saved = fs::read_to_string(here.join("m/config.toml")).expect("the configuration");
    for line in [
        "seed = 9",
        "steps = 2",
        "batch = 2",
        "accumulation = 2",
        "learning_rate = 0.001",
        "context = 8",
        "source = \"story.txt\"",
        "vocabulary = 257",
    ] {
        assert!(saved.contains(line), "no {line} in {saved}");
    }
}

#[test]
fn wrong_input_gets_one_line_exit_code_2_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let files = [
        ("run.toml", CONFIG.to_owned()),
        ("misspelt.toml", CONFIG.replace("layers", "layrs")),
        (
            "even.toml",
            CONFIG.replace("kernel_size = 3", "kernel_size = 4"),
        ),
        (
            "heads.toml",
            CONFIG.replace("expanded_heads = 4", "expanded_heads = 5"),
        ),
        ("none.toml", CONFIG.replace("steps = 4", "steps = 0")),
        ("empty.txt", String::new()),
        ("short.txt", "A.\n\x0cB.".to_owned()),
    ];
    for (name, contents) in files {
        fs::write(here.join(name), contents).expect("a small file");
    }
    fs::write(here.join("latin.txt"), b"caf\xe9").expect("a small file");
    fs::create_dir(here.join("taken")).expect("a folder");
    fs::write(here.join("taken/mine"), "mine").expect("a small file");
    let before = names(here);
    let cases = [
        ("train nowhere.toml --out m", "nowhere.toml"),
        ("train misspelt.toml --out m", "did you mean `layers`?"),
        ("train even.toml --out m", "kernel_size = 4"),
        ("train heads.toml --out m", "expanded_heads = 5"),
        ("train none.toml --out m", "train.steps is 0"),
        ("train run.toml --out taken", "already exists"),
        ("train run.toml --out m --steps 0", "train.steps is 0"),
        (
            "train run.toml --out m --learning-rate nan",
            "train.learning_rate",
        ),
        ("train run.toml --out m --data nowhere.txt", "nowhere.txt"),
        ("train run.toml --out m --data empty.txt", "empty.txt"),
        (
            "train run.toml --out m --data latin.txt",
            "not UTF-8 at byte 3",
        ),
        ("train run.toml --out m --data short.txt", "context 16"),
        ("train run.toml --out m --tokenizer bpe:3", "at least 257"),
        (
            "train run.toml --out m --tokenizer nowhere.json",
            "nowhere.json",
        ),
        ("eval nowhere --data run.toml", "no saved model"),
        ("eval taken --data run.toml", "config.toml is missing"),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<&str> = arguments.split_whitespace().collect();
        let output = simattn(here, &arguments);
        let log = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {log}");
        assert_eq!(log.lines().count(), 1, "{arguments:?}: {log}");
        assert!(log.contains(expected), "{arguments:?}: {log}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
        assert_eq!(names(here), before, "{arguments:?}");
    }
}

#[test]
fn a_run_that_overflows_says_so_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), CONFIG).expect("a small file");
    let arguments = [
        "train",
        "run.toml",
        "--out",
        "m",
        "--learning-rate",
        "1e38",
        "--steps",
        "20",
    ];
    let output = simattn(here, &arguments);
    let log = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{log}");
    let last = log.lines().last().expect("a line");
    assert!(last.contains("lower train.learning_rate"), "{last}");
    assert_eq!(names(here), ["run.toml"]);
}
