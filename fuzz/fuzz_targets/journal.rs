//! A folder that `prepare` began: its journal and shards, as the same command continues them.
//!
//! reader: crates/simattn-data/src/prepare/journal.rs except new to_bytes save write close discard json
//! reader: crates/simattn-data/src/prepare/soundness.rs
//! reader: crates/simattn-data/src/prepare/identity.rs except to_json
#![no_main]

use serde_json::Value;
use simattn_data::Tokenizer;
use simattn_data::prepare::{Job, OnBadInput, PrepareObserver, prepare};
use simattn_fuzz::{Place, Switches, files, parts};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

const JOURNAL: &str = "prepare.json";
/// In place of the input's path, which differs from process to process.
const PATH: &str = "INPUT";
/// In place of the journal's sum while it is taken.
const BLANK: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Stops after so many shards.
struct Stop(usize);

impl PrepareObserver for Stop {
    fn on_shard(&mut self, _: &str, _: u64) -> ControlFlow<()> {
        self.0 -= 1;
        match self.0 {
            0 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    }
}

fn text() -> Vec<u8> {
    let documents = (0..30).map(|n| format!("document {n}\nof two lines\n<|endoftext|>\n"));
    documents.collect::<String>().into_bytes()
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for shards in 1..8 {
        let place = Place::fresh();
        let input = place.write("in/a.txt", &text());
        let out = place.path("out");
        work(&input, &out, &mut Stop(shards)).expect_err("it was stopped");
        let mut all = read(&out);
        let journal = all.remove(JOURNAL).expect("a journal");
        let journal = parts::text(&journal).replace(&input.display().to_string(), PATH);
        let mut seed = vec![b"00".to_vec(), summed(&journal).expect("JSON").into_bytes()];
        for (name, contents) in all {
            seed.push(name.into_bytes());
            seed.push(contents);
        }
        seeds.push(parts::join(&seed));
        seed[0] = b"10".to_vec();
        // As versions wrote it that took no sum.
        seed[1] = without_sums(&journal);
        seeds.push(parts::join(&seed));
    }
    seeds
}

fn without_sums(journal: &str) -> Vec<u8> {
    let mut json: Value = serde_json::from_str(journal).expect("JSON");
    json["format"] = 1.into();
    for part in ["train", "validation"] {
        if let Some(growing) = json[part]["growing"].as_object_mut() {
            growing.remove("sha256");
        }
    }
    if let Some(json) = json.as_object_mut() {
        json.remove("sha256");
    }
    json.to_string().into_bytes()
}

/// A journal with its sum over itself.
fn summed(journal: &str) -> Option<String> {
    let mut json: Value = serde_json::from_str(journal).ok()?;
    json.as_object_mut()?.insert("sha256".into(), BLANK.into());
    let text = json.to_string();
    Some(text.replacen(BLANK, &files::sha256(text.as_bytes()), 1))
}

fn work(
    input: &Path,
    out: &Path,
    observer: &mut dyn PrepareObserver,
) -> Result<(), simattn_data::prepare::PrepareError> {
    let job = Job {
        inputs: &[input.to_owned()],
        validation: &[],
        tokenizer: &Tokenizer::bytes(),
        out,
        field: "text",
        validation_fraction: 0.3,
        seed: 2,
        shard_tokens: 60,
        on_bad_input: OnBadInput::Fail,
    };
    prepare(&job, observer).map(drop)
}

/// The files of a folder.
fn read(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let named = entries.map(|entry| (entry.file_name(), entry.path()));
    named
        .map(|(name, path)| {
            let contents = fs::read(path).unwrap_or_default();
            (name.to_string_lossy().into_owned(), contents)
        })
        .collect()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let switches = Switches(all[0]);
    let place = Place::fresh();
    let input = place.write("in/a.txt", &text());
    let journal = parts::text(all.get(1).copied().unwrap_or_default());
    let honest = summed(&journal).is_some_and(|summed| summed == journal);
    let mut json = journal.replace(PATH, &input.display().to_string());
    let repaired = switches.on(1) || honest;
    if repaired && !switches.on(0) {
        json = summed(&json).unwrap_or(json);
    }
    place.write(&format!("out/{JOURNAL}"), json.as_bytes());
    for pair in all.get(2..).unwrap_or_default().chunks_exact(2) {
        let name = parts::text(pair[0]);
        let name = name.trim_start_matches('.');
        if !name.is_empty() && name.len() < 60 && !name.contains(['/', '\0']) {
            place.write(&format!("out/{name}"), pair[1]);
        }
    }
    let out = place.path("out");
    match work(&input, &out, &mut ()) {
        // A journal whose sum is its own was written; the folder is then the one of a single run.
        Ok(()) if honest => {
            let whole = place.path("whole");
            work(&input, &whole, &mut ()).expect("a small text");
            let (mut found, expected) = (read(&out), read(&whole));
            found.retain(|name, _| expected.contains_key(name));
            assert!(
                found == expected,
                "another folder than that of a single run"
            );
        }
        Ok(()) => {}
        Err(error) => simattn_fuzz::refused(&error),
    }
}

simattn_fuzz::target!(seeds, run);
