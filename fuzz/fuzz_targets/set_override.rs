//! `--set field=value` over a configuration.
//!
//! reader: crates/simattn-train/src/config/overrides.rs
//! reader: crates/simattn-train/src/config/tree.rs
//! reader: crates/simattn-train/src/config/document.rs
#![no_main]

use simattn_fuzz::{Place, models, parts};
use simattn_train::{Override, RunConfig};

fn seeds() -> Vec<Vec<u8>> {
    let file = models::configs()[0].to_toml().expect("a configuration");
    let sets: [&[&str]; 8] = [
        &["train.steps=100", "train.steps=200"],
        &["train.learning_rat=1"],
        &["trian.steps=1"],
        &["model.attention={ kind = \"mqa\", heads = 2, head_dim = 4 }"],
        &["data.source = text/my books", "model.tied=true", "seed=7"],
        &["train.steps.more=1", "train=2"],
        &["data.sources=[{ path = \"a\" }]"],
        &["steps", ".=1", "a..b=1"],
    ];
    let join = |sets: &&[&str]| parts::join(&[&[file.as_str()][..], sets].concat());
    sets.iter().map(join).collect()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let mut overrides = Vec::new();
    for text in &all[1..] {
        match parts::text(text).parse::<Override>() {
            Ok(set) => overrides.push(set),
            Err(error) => simattn_fuzz::refused(&error),
        }
    }
    let place = Place::fresh();
    let file = place.write("run.toml", all[0]);
    match RunConfig::from_file_with(&file, &overrides) {
        Ok(config) => {
            config.to_toml().expect("a valid configuration");
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
    let saved = &models::configs()[0].model;
    if let Err(error) = RunConfig::from_file_over(&file, saved, &overrides) {
        simattn_fuzz::refused(&error);
    }
}

simattn_fuzz::target!(seeds, run);
