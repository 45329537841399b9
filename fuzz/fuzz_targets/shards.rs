//! A folder that `prepare` made: index.json, tokenizer and shards, as training opens it.
//!
//! reader: crates/simattn-data/src/shards/index.rs except of new
//! reader: crates/simattn-data/src/shards/file_names.rs
//! reader: crates/simattn-data/src/shards/header.rs except to_bytes encode for_vocabulary
//! reader: crates/simattn-data/src/shards/shard.rs except open_bare
//! reader: crates/simattn-data/src/shards/set.rs except foreign
#![no_main]

use serde_json::Value;
use sha2::{Digest, Sha256};
use simattn_data::Tokenizer;
use simattn_data::prepare::{Job, OnBadInput, prepare};
use simattn_data::shards::{Index, TokenShards};
use simattn_fuzz::{Place, Switches, files, parts, tokenizers};
use simattn_train::{DataConfig, Dataset};
use std::fs;

/// Bytes of a shard's header, of which the first 64 are its own and the sums follow.
const HEADER: usize = 128;
/// What index and header both say, and where it is in the header.
const NUMBERS: [(&str, usize); 3] = [("tokens", 16), ("documents", 24), ("bytes", 32)];

fn seeds() -> Vec<Vec<u8>> {
    let seed = |(switches, tokenizer, shard_tokens): (&str, Tokenizer, u64)| {
        let place = Place::fresh();
        let input = place.write(
            "in/a.txt",
            "one two\n<|endoftext|>\nthree\n".repeat(9).as_bytes(),
        );
        let out = place.path("out");
        let job = Job {
            inputs: &[input],
            validation: &[],
            tokenizer: &tokenizer,
            out: &out,
            field: "text",
            validation_fraction: 0.3,
            seed: 2,
            shard_tokens,
            on_bad_input: OnBadInput::Fail,
        };
        let index = prepare(&job, &mut ()).expect("a small text").index;
        let read = |name: &str| fs::read(out.join(name)).expect("a file of the folder");
        let mut all = vec![
            switches.as_bytes().to_vec(),
            read("index.json"),
            read("tokenizer.json"),
        ];
        for part in [&index.train, &index.validation] {
            for shard in &part.shards {
                all.push(shard.file.clone().into_bytes());
                all.push(read(&shard.file));
            }
        }
        parts::join(&all)
    };
    [
        ("000", Tokenizer::bytes(), 1 << 20),
        ("000", tokenizers::learnt(), 20),
        ("100", Tokenizer::bytes(), 1 << 20),
        ("010", Tokenizer::bytes(), 30),
        ("001", Tokenizer::bytes(), 1 << 20),
        ("0001", Tokenizer::bytes(), 1 << 20),
    ]
    .map(seed)
    .to_vec()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let switches = Switches(all[0]);
    let rest = all.get(3..).unwrap_or_default();
    let place = Place::fresh();
    let mut shards = Vec::new();
    for pair in rest.chunks_exact(2).take(8) {
        let name = parts::text(pair[0]).into_owned();
        if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
            continue;
        }
        let name: String = name.chars().take(60).collect();
        let shard = repaired(pair[1], switches);
        shards.push((name.clone(), shard.clone()));
        place.write(&format!("data/{name}"), &shard);
    }
    let index = listed(all.get(1).copied().unwrap_or_default(), &shards, switches);
    place.write("data/index.json", &index);
    let tokenizer = all.get(2).copied().unwrap_or_default();
    place.write("data/tokenizer.json", tokenizer);
    train(&place);
}

/// A shard whose sums are right, unless they are left alone; and whose number of tokens is.
fn repaired(shard: &[u8], switches: Switches) -> Vec<u8> {
    let mut shard = shard.to_vec();
    if shard.len() < HEADER || switches.on(0) {
        return shard;
    }
    if !switches.on(1) {
        let width = u64::from(shard[12]).clamp(1, 8);
        let tokens = (shard.len() - HEADER) as u64 / width;
        shard.truncate(HEADER + (tokens * width) as usize);
        shard[16..24].copy_from_slice(&tokens.to_le_bytes());
    }
    let sum = Sha256::digest(&shard[HEADER..]);
    shard[64..96].copy_from_slice(&sum);
    let sum = Sha256::digest(&shard[..96]);
    shard[96..HEADER].copy_from_slice(&sum);
    shard
}

/// An index whose sums, numbers and totals are right, unless they are left alone.
fn listed(index: &[u8], shards: &[(String, Vec<u8>)], switches: Switches) -> Vec<u8> {
    let Ok(mut json) = serde_json::from_slice::<Value>(index) else {
        return index.to_vec();
    };
    if switches.on(2) {
        return index.to_vec();
    }
    for name in ["train", "validation"] {
        let Some(part) = json.get_mut(name) else {
            continue;
        };
        let mut totals = [0_u64; 3];
        for entry in part
            .get_mut("shards")
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let shard = shards.iter().find(|(name, _)| entry["file"] == *name);
            if let (Some((_, shard)), Value::Object(entry)) = (shard, &mut *entry)
                && shard.len() >= HEADER
            {
                entry.insert("sha256".into(), files::sha256(&shard[HEADER..]).into());
                for (field, at) in NUMBERS.into_iter().filter(|_| !switches.on(3)) {
                    let number = shard[at..at + 8].try_into().expect("eight bytes");
                    entry.insert(field.into(), u64::from_le_bytes(number).into());
                }
            }
            for (total, field) in totals.iter_mut().zip(NUMBERS.map(|(field, _)| field)) {
                *total = total.wrapping_add(entry[field].as_u64().unwrap_or_default());
            }
        }
        if let Value::Object(part) = part {
            for (total, field) in totals.into_iter().zip(NUMBERS.map(|(field, _)| field)) {
                part.insert(field.into(), total.into());
            }
        }
    }
    json.to_string().into_bytes()
}

/// Opens the folder as `train` and `eval` do, and reads all of it.
fn train(place: &Place) {
    let folder = place.path("data");
    match Index::read(&folder) {
        Ok(index) => {
            for part in [&index.train, &index.validation] {
                match TokenShards::of_part(&folder, &index, part) {
                    Ok(set) => read(&set, index.tokenizer.end_of_text),
                    Err(error) => simattn_fuzz::refused(&error),
                }
            }
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
    let config = DataConfig {
        source: folder.display().to_string(),
        ..DataConfig::default()
    };
    match Dataset::prepare(&config, 1) {
        Ok(data) => {
            data.fingerprint().expect("what was just verified");
            let vocabulary = data.tokenizer.vocabulary();
            let mut ids = vec![0; data.train_tokens().min(1 << 16) as usize];
            data.train[0]
                .source
                .read(0, &mut ids)
                .expect("tokens that there are");
            assert!(ids.iter().all(|&id| (id as usize) < vocabulary));
            if let Ok(bits) = data.validation.bits_per_byte(1.0) {
                assert!(bits.is_finite());
            }
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
}

fn read(set: &TokenShards, end_of_text: u32) {
    if let Err(error) = set.verify() {
        simattn_fuzz::refused(&error);
    }
    for document in set.read_documents(end_of_text) {
        if let Err(error) = document {
            return simattn_fuzz::refused(&error);
        }
    }
}

simattn_fuzz::target!(seeds, run);
