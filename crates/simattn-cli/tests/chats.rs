//! What ends a text and how a chat is written goes with a model, from import to export; and
//! tokenizers that mislead their library are refused.

mod common;

use std::fs;
use std::path::Path;

use common::{LLAMA, simattn, succeeds, words};
use serde_json::{Value, json};

/// The one line of a command that refuses its input and leaves `new` free.
fn refusal(folder: &Path, arguments: &str) -> String {
    common::refusal(folder, arguments, "new")
}

/// A trained model in `first`, and as a Hugging Face folder in `hf`.
fn trained() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    fs::write(here.join("run.toml"), LLAMA).expect("a small file");
    succeeds(here, "train run.toml --out first");
    succeeds(here, "convert to-hf first hf");
    folder
}

fn change(file: &Path, changes: &Value) {
    let text = fs::read_to_string(file).unwrap_or_else(|_| "{}".to_owned());
    let mut value: Value = serde_json::from_str(&text).expect("JSON");
    for (field, new) in changes.as_object().expect("an object") {
        value[field] = new.clone();
    }
    fs::write(file, format!("{value}\n")).expect("a small file");
}

fn ids(folder: &Path) -> Value {
    let text = fs::read_to_string(folder.join("config.json")).expect("text");
    let value: Value = serde_json::from_str(&text).expect("JSON");
    json!(["bos_token_id", "eos_token_id", "pad_token_id"].map(|field| &value[field]))
}

#[test]
fn end_of_text_and_chat_templates_go_from_import_to_export() {
    let folder = trained();
    let here = folder.path();
    assert_eq!(ids(&here.join("hf")), json!([null, 256, null]));
    let files = [
        (
            "generation_config.json",
            "{\"eos_token_id\": [7, 8], \"pad_token_id\": 256, \"temperature\": 0.7}\n",
        ),
        (
            "special_tokens_map.json",
            "{\"pad_token\": \"<|endoftext|>\"}",
        ),
        (
            "chat_template.jinja",
            "{% for m in messages %}{{ m.content }}{% endfor %}",
        ),
        ("additional_chat_templates/tools.jinja", "{{ tools }}"),
        (
            "tokenizer_config.json",
            "{\"chat_template\":  \"old\", \"eos_token\": \"<|endoftext|>\"}",
        ),
    ];
    fs::create_dir(here.join("hf/additional_chat_templates")).expect("a folder");
    for (name, text) in files {
        fs::write(here.join("hf").join(name), text).expect("a small file");
    }
    change(
        &here.join("hf/config.json"),
        &json!({"bos_token_id": 3, "eos_token_id": [7, 9], "pad_token_id": 256}),
    );
    succeeds(here, "convert from-hf hf back");
    let sizes = "--expanded-heads 8 --expanded-head-dim 6 --kernel-size 3";
    succeeds(here, &format!("upcycle back sas {sizes}"));
    succeeds(here, "train run.toml --init sas --out second");
    // It continues from its checkpoint, which has them too.
    succeeds(
        here,
        "train run.toml --init sas --out second --steps 4 --allow-config-change",
    );
    for (model, out) in [
        ("back", "hf-back"),
        ("sas", "hf-sas"),
        ("second", "hf-second"),
    ] {
        succeeds(here, &format!("convert to-hf {model} {out}"));
        let out = here.join(out);
        assert_eq!(ids(&out), json!([3, [7, 9], 256]), "{model}");
        for (name, text) in files {
            let written = fs::read_to_string(out.join(name)).expect("text");
            assert_eq!(written, text, "{model}: {name}");
        }
    }
    let step = fs::read_dir(here.join("second")).expect("a folder");
    let steps = step.map(|entry| entry.expect("an entry").path());
    let mut checkpoints = steps.filter(|path| path.join("SHA256SUMS").is_file());
    let checkpoint = checkpoints.next().expect("a checkpoint");
    assert!(checkpoint.join("text.json").is_file());
    fs::write(checkpoint.join("text.json"), "{}").expect("a small file");
    let generate = format!("generate {} Once --greedy --tokens 2", checkpoint.display());
    let out = simattn(here, &words(&generate));
    assert!(!out.status.success());
}

#[test]
fn generate_ends_at_every_end_that_the_config_names_and_not_at_padding() {
    let folder = trained();
    let here = folder.path();
    let told = succeeds(here, "generate first Once --greedy --tokens 6");
    assert!(told.chars().count() > 1, "{told:?}");
    let every_byte: Vec<u32> = (0..256).collect();
    fs::remove_file(here.join("hf/generation_config.json")).expect("it is there");
    change(
        &here.join("hf/config.json"),
        &json!({"eos_token_id": every_byte, "pad_token_id": 256}),
    );
    succeeds(here, "convert from-hf hf ends");
    assert_eq!(
        succeeds(here, "generate ends Once --greedy --tokens 6"),
        "\n"
    );
    // generation_config.json goes before config.json.
    fs::write(
        here.join("hf/generation_config.json"),
        r#"{"eos_token_id": 256}"#,
    )
    .expect("a small file");
    succeeds(here, "convert from-hf hf goes-on");
    assert_eq!(
        succeeds(here, "generate goes-on Once --greedy --tokens 6"),
        told
    );
}

#[test]
fn ids_and_tokenizers_that_cannot_be_are_refused_before_anything_is_written() {
    let folder = trained();
    let here = folder.path();
    let (config, kept) = (here.join("hf/config.json"), here.join("config.json"));
    fs::copy(&config, &kept).expect("a small file");
    for (field, value) in [
        ("eos_token_id", json!([1, 257])),
        ("pad_token_id", json!("0")),
        ("bos_token_id", json!(-3)),
    ] {
        change(&config, &json!({field: value}));
        let line = refusal(here, "convert from-hf hf new");
        assert!(
            line.contains("config.json") && line.contains(field),
            "{line}"
        );
        fs::copy(&kept, &config).expect("a small file");
    }

    let tokenizer = here.join("hf/tokenizer.json");
    let whole = fs::read_to_string(&tokenizer).expect("text");
    let value: Value = serde_json::from_str(&whole).expect("JSON");
    fs::write(here.join("text.txt"), "some text\n\nand more").expect("a small file");
    let charsmap = |text: &str| json!({"type": "Precompiled", "precompiled_charsmap": text});
    for normalizer in [
        charsmap("AAA="),
        charsmap("/////wAAAAA="),
        json!({"type": "Replace", "pattern": {"String": ""}, "content": "x"}),
        json!({"type": "Prepend", "prepend": ""}),
    ] {
        let mut value = value.clone();
        value["normalizer"] = normalizer;
        fs::write(&tokenizer, value.to_string()).expect("a small file");
        let line = refusal(here, "convert from-hf hf new");
        assert!(line.contains("not a usable tokenizer.json"), "{line}");
        refusal(
            here,
            "prepare text.txt --tokenizer hf/tokenizer.json --out new",
        );
        refusal(
            here,
            "train run.toml --tokenizer hf/tokenizer.json --out new",
        );
    }
    // A tokenizer that names no end of text takes the config's.
    let mut value = value;
    value["added_tokens"] = json!([]);
    fs::write(&tokenizer, value.to_string()).expect("a small file");
    succeeds(
        here,
        "prepare text.txt --tokenizer hf/tokenizer.json --out shards --validation-fraction 0",
    );
    succeeds(here, "convert from-hf hf nameless");
    succeeds(here, "generate nameless Once --greedy --tokens 2");
    succeeds(
        here,
        "train run.toml --tokenizer hf/tokenizer.json --out third",
    );
    succeeds(here, "generate third Once --greedy --tokens 2");
    change(&config, &json!({"eos_token_id": null}));
    fs::remove_file(here.join("hf/generation_config.json")).expect("it is there");
    change(&here.join("hf/tokenizer_config.json"), &json!({}));
    let line = refusal(here, "convert from-hf hf new");
    assert!(line.contains("eos_token_id"), "{line}");
}
