//! `simattn compare` and `simattn info` as a user runs them.

mod common;

use std::fs;
use std::path::Path;

use common::{simattn, text};
use simattn_cli::study::results::{RunStatus, StudyResults, VariantResults};

const MODEL: &str = r#"
seed = 3
[model]
context = 16
layers = 1
width = 32
[model.attention]
kind = "sas"
heads = 4
head_dim = 8
expanded_heads = 8
expanded_head_dim = 12
kernel_size = 3
[data]
tokenizer = "bytes"
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 3
batch = 2
evaluate_every = 2
evaluation_batches = 2
"#;

fn study(folder: &Path) -> StudyResults {
    let json = fs::read(folder.join("results.json")).expect("results");
    serde_json::from_slice(&json).expect("in the documented form")
}

#[test]
fn every_variant_trains_and_the_page_is_written() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("tiny.toml"), MODEL).expect("a small file");
    let compare = |name: &str, more: &[&str]| {
        let mut arguments = vec!["compare", "--config", "tiny.toml", "--name", name];
        arguments.extend(more);
        let output = simattn(here, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        (text(&output.stdout), study(&here.join("runs").join(name)))
    };
    let (table, first) = compare("one", &[]);
    let names: Vec<&str> = first.variants.iter().map(|v| v.name.as_str()).collect();
    let all = ["mha", "gqa", "mqa", "mla", "mfa", "tpa", "sas", "sas-light"];
    assert_eq!(names, all);
    assert_eq!(first.baseline, "mha");
    let target = first.variants[0].parameters.total as f64;
    for variant in &first.variants {
        assert!(table.contains(&variant.label), "{table}");
        let off = (variant.parameters.total as f64 / target - 1.0).abs();
        assert!(off < 0.02, "{} differs by {off}", variant.name);
        assert_eq!(variant.runs.len(), 1);
        let run = &variant.runs[0];
        assert_eq!(run.status, RunStatus::Finished);
        assert_eq!((run.steps, run.tokens), (3, 96));
        let steps: Vec<u64> = run.evaluations.iter().map(|e| e.step).collect();
        assert_eq!(steps, [0, 2, 3]);
    }
    let page = fs::read_to_string(here.join("runs/one/report.html")).expect("a page");
    assert!(page.contains("<svg"));
    for outside in ["src=", "href=\"http", "url(http", "@import"] {
        assert!(!page.contains(outside), "the page asks for {outside}");
    }

    // The same again is the same bit for bit; so is one variant on its own.
    let (_, second) = compare("two", &["--variants", "sas"]);
    let losses = |study: &StudyResults| -> Vec<u64> {
        let named = |variant: &&VariantResults| variant.name == "sas";
        let sas = study.variants.iter().find(named).expect("SAS");
        sas.runs[0].train.iter().map(|p| p.loss.to_bits()).collect()
    };
    assert_eq!(losses(&first), losses(&second));
    assert_eq!(second.baseline, "sas");
}

#[test]
fn the_light_form_is_left_out_where_it_is_the_configurations_own_or_the_study_is_older() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("tiny.toml"), MODEL).expect("a small file");
    let names_of = |name: &str, more: &[&str]| {
        let mut arguments = vec!["compare", "--config", "tiny.toml", "--steps", "1"];
        arguments.extend(["--name", name]);
        arguments.extend(more);
        let output = simattn(here, &arguments);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let variants = study(&here.join("runs").join(name)).variants;
        let names: Vec<String> = variants.into_iter().map(|variant| variant.name).collect();
        names
    };
    let before = ["mha", "gqa", "mqa", "mla", "mfa", "tpa", "sas"];
    let older = names_of("older", &["--variants", &before.join(",")]);
    assert_eq!(older, before);
    assert_eq!(names_of("older", &[]), before, "the study is continued");
    let light = [
        "--set",
        "model.attention.expand_features=false",
        "--set",
        "model.attention.expanded_head_dim=8",
    ];
    assert_eq!(names_of("light", &light), before);
}

#[test]
fn seeds_and_equal_flops_are_kept_apart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("tiny.toml"), MODEL).expect("a small file");
    let output = simattn(
        here,
        &[
            "compare",
            "--config",
            "tiny.toml",
            "--variants",
            "sas,mha",
            "--seeds",
            "2",
            "--equal",
            "flops",
            "--steps",
            "8",
            "--out",
            "study",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let study = study(&here.join("study"));
    assert_eq!(study.schedule.seeds, [3, 4]);
    let [sas, mha] = &study.variants[..] else {
        panic!("two variants")
    };
    for (sas, mha) in sas.runs.iter().zip(&mha.runs) {
        assert_eq!(mha.steps, 8);
        assert!(
            sas.steps < 8,
            "SAS does more operations a step: {}",
            sas.steps
        );
    }
    assert_ne!(mha.runs[0].train[0].loss, mha.runs[1].train[0].loss);
}

#[test]
fn variants_are_described_by_their_fields() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("tiny.toml"), MODEL).expect("a small file");
    let output = simattn(
        here,
        &[
            "compare",
            "--config",
            "tiny.toml",
            "--variant",
            "mha",
            "--variant",
            "sas:expand_features=false,kernel_size=1",
            "--set",
            "train.steps=1",
            "--set",
            "train.batch=1",
            "--out",
            "study",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("SAS heads only, κ 1"));
    let study = study(&here.join("study"));
    assert_eq!(study.baseline, "mha");
    let described = &study.variants[1];
    assert_eq!(described.name, "sas:expand_features=false,kernel_size=1");
    assert_eq!(described.attention, "4 to 8 heads, width 8 to 8, kernel 1");
    assert_eq!((study.schedule.steps, study.schedule.batch), (1, 1));
}

#[test]
fn what_cannot_be_compared_costs_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let write =
        |name: &str, contents: &[u8]| fs::write(here.join(name), contents).expect("written");
    write("tiny.toml", MODEL.as_bytes());
    write(
        "even.toml",
        MODEL
            .replace("kernel_size = 3", "kernel_size = 4")
            .as_bytes(),
    );
    write(
        "heads.toml",
        MODEL
            .replace("expanded_heads = 8", "expanded_heads = 9")
            .as_bytes(),
    );
    write(
        "width.toml",
        MODEL.replace("width = 32", "width = 33").as_bytes(),
    );
    write(
        "typo.toml",
        MODEL.replace("layers = 1", "layrs = 1").as_bytes(),
    );
    write("broken.toml", b"[model\n");
    write("empty.txt", b"");
    write("binary.txt", &[b'a', 0xff, 0xfe]);
    write("short.txt", b"One.\n\nTwo.\n");
    fs::create_dir(here.join("nothing")).expect("a folder");
    fs::create_dir(here.join("taken")).expect("a folder");
    fs::write(here.join("taken/mine"), "mine").expect("a small file");
    let before = names(here);
    let tiny = ["--config", "tiny.toml"];
    let cases: &[(&[&str], &str)] = &[
        (&["--config", "even.toml"], "kernel_size = 4"),
        (&["--config", "heads.toml"], "expanded_heads = 9"),
        (&["--config", "width.toml"], "33"),
        (&["--config", "typo.toml"], "did you mean `layers`"),
        (&["--config", "broken.toml"], "broken.toml"),
        (&["--config", "missing.toml"], "missing.toml"),
        (&["--data", "missing"], "missing"),
        (&["--data", "empty.txt"], "empty.txt"),
        (&["--data", "binary.txt"], "UTF-8"),
        (&["--data", "short.txt"], "short.txt"),
        (&["--data", "nothing"], "nothing"),
        (&["--tokenizer", "bpe:12"], "12"),
        (&["--tokenizer", "none.json"], "none.json"),
        (&["--variants", "mha,mhq"], "mhq"),
        (&["--variants", "mha,mha"], "same attention"),
        (&["--variants", ""], "no variant is called"),
        (&["--variant", "sas:kernal_size=3"], "kernal_size"),
        (&["--variant", "sas:kernel_size=4"], "kernel_size"),
        (
            &["--variant", "sas", "--variant", "sas:kernel_size=3"],
            "same attention",
        ),
        (&["--variant", "mha:heads=4000"], "no MLP width"),
        (&["--set", "train.stps=3"], "did you mean `steps`"),
        (&["--out", "taken"], "taken"),
        (&["--name", "../escape"], "escape"),
        (&["--seeds", "0"], "--seeds"),
        (&["--steps", "0"], "steps"),
    ];
    for (arguments, named) in cases {
        let mut all = vec!["compare"];
        if !arguments.contains(&"--config") {
            all.extend(tiny);
        }
        all.extend(*arguments);
        let output = simattn(here, &all);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert_eq!(error.lines().count(), 1, "{arguments:?}: {error}");
        assert!(error.contains(named), "{arguments:?}: {error}");
        assert_eq!(names(here), before, "{arguments:?} left something");
    }
}

#[test]
fn a_study_of_which_a_run_ends_in_nan_is_written_and_fails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let text_of = MODEL.replace("steps = 3", "steps = 1\nlearning_rate = 1e38\nclip = 0.0");
    fs::write(here.join("tiny.toml"), text_of).expect("a small file");
    let words = [
        "compare",
        "--config",
        "tiny.toml",
        "--variants",
        "mha",
        "--out",
        "s",
    ];
    let output = simattn(here, &words);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let last = said.lines().last().expect("a line");
    assert!(
        last.contains("1 of 1 runs failed") && last.contains("mha with seed 3"),
        "{last}"
    );
    assert!(last.contains("the validation loss is"), "{last}");
    assert!(text(&output.stdout).contains("MHA"), "the table is shown");
    let study = study(&here.join("s"));
    assert!(matches!(
        study.variants[0].runs[0].status,
        RunStatus::Failed { .. }
    ));
}

#[test]
fn every_preset_describes_a_model() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut presets = 0;
    for name in names(&configs) {
        let path = configs.join(&name);
        let contents = fs::read_to_string(&path).expect("a preset");
        for line in contents.lines().filter(|line| line.contains(" = ")) {
            assert!(line.contains("# "), "{name}: no comment beside `{line}`");
        }
        let output = simattn(&configs, &["info", &name]);
        let (said, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}: {error}");
        assert!(said.contains("parameters"), "{name}: {said}");
        presets += 1;
    }
    assert!(presets >= 21, "only {presets} presets");
}

#[test]
fn the_machine_is_described() {
    let output = simattn(Path::new("."), &["info", "--machine"]);
    assert!(output.status.success());
    assert!(text(&output.stdout).contains("instruction set"));
}

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
