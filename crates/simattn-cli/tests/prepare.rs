//! From text to shards to a trained model, by the binary; killed on the way, and with everything
//! that can be wrong.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;

use common::Place;

const CONFIG: &str = r#"
seed = 5
[model]
context = 16
layers = 1
width = 16
attention = { kind = "sas", heads = 2, head_dim = 8, expanded_heads = 4, expanded_head_dim = 12, kernel_size = 3 }
[data]
source = "shards"
[train]
steps = 12
batch = 2
evaluate_every = 6
evaluation_batches = 2
checkpoint_every = 4
"#;

impl Place {
    /// With 400 documents of a few hundred bytes, and a configuration that trains on `shards`.
    fn new() -> Self {
        let place = Self::empty();
        let lines: String = (0..400)
            .map(|n| {
                let words = format!("story {n} of a fox who counted to {n} ").repeat(1 + n % 9);
                format!("{}\n", serde_json::json!({ "text": words }))
            })
            .collect();
        place.write("text.jsonl", lines);
        place.write("run.toml", CONFIG);
        place
    }
}

fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder");
    entries
        .map(|entry| {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("a name of ours");
            (name, fs::read(entry.path()).expect("a file"))
        })
        .collect()
}

const PREPARE: &str =
    "prepare text.jsonl --tokenizer bytes --shard-tokens 4000 --validation-fraction 0.1";

#[test]
fn shards_train_as_the_text_and_resume_bit_for_bit() {
    let place = Place::new();
    let said = place.succeed(&format!("{PREPARE} --out shards"));
    for line in [
        "tokens       ",
        "documents    ",
        "tokens/s",
        "saved        shards",
    ] {
        assert!(said.contains(line), "{said}");
    }
    assert!(
        place
            .succeed("info shards")
            .contains("vocabulary   257, tokenizer ")
    );
    place.succeed("train run.toml --peak-flops 1e11 --out whole");
    // Half of it, then the rest from where it stood.
    place.succeed(
        "train run.toml --peak-flops 1e11 --out parts --steps 4 --set train.decay=\"constant\"",
    );
    let line = place.refuse("train run.toml --peak-flops 1e11 --out parts");
    assert!(line.contains("train.steps"), "{line}");
    let constant = "--set train.decay=\"constant\" --set train.warmup_steps=1 --peak-flops 1e11";
    place.succeed(&format!("train run.toml --out straight {constant}"));
    place.succeed(&format!("train run.toml --out broken {constant} --steps 8"));
    place.succeed(&format!(
        "train run.toml --out broken {constant} --allow-config-change"
    ));
    let weights = |run: &str| fs::read(place.path(run).join("model.safetensors")).expect("a model");
    assert!(weights("straight") == weights("broken"));
    let eval = place.succeed("eval whole --data text.jsonl");
    assert!(eval.contains("bits per byte"), "{eval}");
}

#[test]
fn several_sources_are_mixed() {
    let place = Place::new();
    place.succeed(&format!("{PREPARE} --out a"));
    place.succeed(&format!("{PREPARE} --out b --seed 3"));
    let sources = "[data]\nsources = [{ path = \"a\", weight = 3.0 }, { path = \"b\" }]";
    let mixed = CONFIG.replace("[data]\nsource = \"shards\"", sources);
    place.write("mixed.toml", &mixed);
    place.succeed("train mixed.toml --peak-flops 1e11 --out mixed");
    place.write(
        "both.toml",
        CONFIG
            .replace("[data]\n", &format!("{sources}\n"))
            .as_bytes(),
    );
    assert!(
        place
            .refuse("train both.toml --out x")
            .contains("left out where data.sources is given")
    );
    place.write("weight.toml", mixed.replace("3.0", "0.0"));
    assert!(
        place
            .refuse("train weight.toml --out x")
            .contains("data.sources.weight")
    );
    place.write(
        "text.toml",
        mixed.replace("\"b\"", "\"text.jsonl\"").as_bytes(),
    );
    assert!(
        place
            .refuse("train text.toml --out x")
            .contains("prepare the text first")
    );
    assert!(!place.path("x").exists());
}

#[test]
fn killed_again_and_again_prepare_gives_the_same_shards() {
    let place = Place::new();
    place.succeed(&format!("{PREPARE} --out straight"));
    let expected = files(&place.path("straight"));
    let shards = expected
        .keys()
        .filter(|name| name.ends_with(".bin"))
        .count();
    assert!(shards >= 8, "{shards}");
    // Each life ends by SIGKILL some lines after it has begun; the lines race with the writing, so
    // that it ends anywhere.
    let mut kills = 0;
    for life in 0..100 {
        let mut child = place
            .command(&format!("{PREPARE} --out killed"))
            .spawn()
            .expect("the binary");
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        let mut lines = errors.lines();
        let enough = lines.by_ref().take(1 + life % 2).count() == 1 + life % 2;
        child.kill().expect("it is ours");
        let status = child.wait().expect("it is ours");
        kills += usize::from(enough && !status.success());
        if place.path("killed/index.json").exists() {
            break;
        }
    }
    // A life may have ended with the index written and the journal not yet removed.
    if place.path("killed/prepare.json").exists() {
        place.succeed(&format!("{PREPARE} --out killed"));
    }
    assert!(kills >= 3, "{kills} kills");
    assert!(files(&place.path("killed")) == expected);
}

#[test]
fn an_index_or_a_journal_that_contradicts_its_shards_ends_with_code_2() {
    let place = Place::new();
    place.succeed(&format!("{PREPARE} --out shards"));
    let path = place.path("shards/index.json");
    let whole = fs::read(&path).expect("an index");
    let mut index: serde_json::Value = serde_json::from_slice(&whole).expect("JSON");
    let bytes = index["validation"]["bytes"].as_u64().expect("a number");
    index["validation"]["bytes"] = (bytes + 1_000_000).into();
    let first = &mut index["validation"]["shards"][0]["bytes"];
    *first = (first.as_u64().expect("a number") + 1_000_000).into();
    fs::write(&path, index.to_string()).expect("a small file");
    for arguments in ["train run.toml --out x", "info shards"] {
        let line = place.refuse(arguments);
        assert!(line.contains("bytes of text there"), "{line}");
    }
    fs::write(&path, &whole).expect("a small file");
    place.succeed("info shards");

    // A process that is killed when it says that a shard is finished leaves a journal behind.
    let journal = place.path("begun/prepare.json");
    while !journal.exists() || fs::read(&journal).is_ok_and(|text| text.len() < 900) {
        assert!(
            !place.path("begun/index.json").exists(),
            "it came to its end"
        );
        let mut child = place
            .command(&format!("{PREPARE} --out begun"))
            .spawn()
            .expect("the binary");
        let errors = BufReader::new(child.stderr.take().expect("piped"));
        errors.lines().take(1).for_each(drop);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
    }
    let mut noted: serde_json::Value =
        serde_json::from_slice(&fs::read(&journal).expect("a journal")).expect("JSON");
    noted["bad_inputs"] = 7.into();
    fs::write(&journal, noted.to_string()).expect("a small file");
    let line = place.refuse(&format!("{PREPARE} --out begun"));
    assert!(line.contains("its own checksum"), "{line}");
    // As it was written before it had a sum.
    noted["format"] = 1.into();
    noted.as_object_mut().expect("an object").remove("sha256");
    noted["train"]["growing"] = serde_json::json!({"tokens": 3999, "documents": 1, "bytes": 1});
    fs::write(&journal, noted.to_string()).expect("a small file");
    let before = files(&place.path("begun"));
    let line = place.refuse(&format!("{PREPARE} --out begun"));
    assert!(line.contains("start again"), "{line}");
    assert!(files(&place.path("begun")) == before);
}

#[test]
fn damaged_and_foreign_data_end_with_a_line_and_code_2() {
    let place = Place::new();
    place.succeed(&format!("{PREPARE} --out shards"));
    let shard = place.path("shards/train-00001.bin");
    let whole = fs::read(&shard).expect("a shard");
    let damaged = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        bytes
    };
    let train = "train run.toml --out x";
    for (bytes, said) in [
        (damaged(0), "not a shard of token ids"),
        (damaged(20), "its header is damaged"),
        (damaged(whole.len() - 1), "do not match their checksum"),
        (whole[..whole.len() - 2].to_vec(), "cut short"),
        (Vec::new(), "an empty shard"),
    ] {
        fs::write(&shard, bytes).expect("a small file");
        let line = place.refuse(train);
        assert!(
            line.contains(said) && line.contains("train-00001.bin"),
            "{line}"
        );
    }
    fs::write(&shard, &whole).expect("a small file");

    // Another tool's ids, and an id beyond the vocabulary.
    fs::create_dir(place.path("bare")).expect("a folder");
    let ids = |last: u16| -> Vec<u8> {
        let ids = (0..200).map(|n| n % 90).chain([last]);
        ids.flat_map(u16::to_le_bytes).collect()
    };
    place.write("bare/train.bin", ids(7));
    place.write("bare/val.bin", ids(7));
    let bare = "train run.toml --set data.source=bare";
    let line = place.refuse(&format!("{bare} --out x"));
    assert!(line.contains("does not say whose they are"), "{line}");
    let tokenizer = "--set data.tokenizer=shards/tokenizer.json";
    place.succeed(&format!(
        "{bare} {tokenizer} --peak-flops 1e11 --out bare-run"
    ));
    place.write("bare/train.bin", ids(300));
    let line = place.refuse(&format!("{bare} {tokenizer} --out x"));
    assert!(
        line.contains("token 200 is id 300, beyond the tokenizer's vocabulary of 257"),
        "{line}"
    );

    // Shards of another tokenizer than the model's, and than the one asked for.
    place.write(
        "bpe.toml",
        CONFIG
            .replace(
                "source = \"shards\"",
                "tokenizer = \"bpe:300\"\ntales_train_bytes = 20000\ntales_validation_bytes = 4000",
            )
            .as_bytes(),
    );
    place.succeed("train bpe.toml --peak-flops 1e11 --out bpe-model");
    for arguments in [
        "train run.toml --init bpe-model --out x",
        "train run.toml --set data.tokenizer=bpe-model/tokenizer.json --out x",
    ] {
        let line = place.refuse(arguments);
        assert!(line.contains("its ids were made by tokenizer"), "{line}");
    }
    // A run that continues with other data than it began with.
    place.succeed("train run.toml --peak-flops 1e11 --out run --steps 4");
    fs::remove_dir_all(place.path("shards")).expect("ours");
    place.succeed(&format!("{PREPARE} --out shards --seed 9"));
    let line =
        place.refuse("train run.toml --peak-flops 1e11 --out run --steps 4 --set train.steps=8");
    assert!(line.contains("other"), "{line}");
    // Nothing held out; not finished; nothing at all.
    fs::remove_dir_all(place.path("shards")).expect("ours");
    place.succeed(&format!("{} --out shards", PREPARE.replace("0.1", "0")));
    assert!(place.refuse(train).contains("no tokens for validation"));
    fs::rename(
        place.path("shards/index.json"),
        place.path("shards/prepare.json"),
    )
    .expect("ours");
    assert!(place.refuse(train).contains("only partly prepared"));
    assert!(place.refuse("info shards").contains("only partly prepared"));
    fs::remove_dir_all(place.path("shards")).expect("ours");
    assert!(place.refuse(train).contains("shards"));
    if cfg!(not(feature = "hub")) {
        let hub = place.refuse("prepare hf://datasets/a/b/c.jsonl --tokenizer bytes --out x");
        assert!(hub.contains("--features hub"), "{hub}");
    }
    for arguments in [
        "prepare hf://nonsense --tokenizer bytes --out x",
        "prepare text.jsonl --tokenizer bpe:300 --out x",
        "prepare text.jsonl --tokenizer none.json --out x",
        "prepare text.jsonl --tokenizer bytes --field body --out x",
        "prepare nothing.txt --tokenizer bytes --out x",
        "prepare text.jsonl --tokenizer bytes --out run.toml",
    ] {
        place.refuse(arguments);
        assert!(!place.path("x").exists(), "{arguments}");
    }
}

#[test]
fn a_text_measures_the_same_as_a_file_and_in_a_folder() {
    let place = Place::new();
    place.succeed(&format!("{PREPARE} --out shards"));
    place.succeed("train run.toml --peak-flops 1e11 --out model --steps 4");
    let text = "A paragraph of several words.\r\nIts second line.\n\n".repeat(30);
    fs::create_dir(place.path("folder")).expect("a folder");
    place.write("folder/book.txt", &text);
    let alone = place.succeed("eval model --data folder/book.txt");
    assert_eq!(place.succeed("eval model --data folder"), alone);
    assert!(alone.contains("documents      1\n"), "{alone}");
    let bytes = format!(
        "bytes          {},{:03}\n",
        text.len() / 1000,
        text.len() % 1000
    );
    assert!(alone.contains(&bytes), "{alone}");
    // The same field and kinds as prepare takes.
    let line = serde_json::json!({ "text": 1, "body": text, "score": null }).to_string();
    let line = line.replace("null", "NaN");
    place.write("book.json", line);
    let lines = place.succeed("eval model --data book.json --field body");
    assert_eq!(lines, alone);

    #[cfg(unix)]
    for arguments in [
        "prepare /dev/zero --tokenizer bytes --out x",
        "prepare text.jsonl --validation /dev/zero --tokenizer bytes --out x",
        "train run.toml --data /dev/zero --out x",
        "eval model --data /dev/zero",
    ] {
        let line = place.refuse(arguments);
        assert!(line.contains("/dev/zero: a device, not a file"), "{line}");
        assert!(!place.path("x").exists(), "{arguments}");
    }
}
