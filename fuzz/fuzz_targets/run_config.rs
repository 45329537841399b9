//! The TOML configuration of a run: a file alone, and one over a saved model's.
//!
//! reader: crates/simattn-train/src/config/document.rs
//! reader: crates/simattn-train/src/config/mod.rs except from_file_with default schedule optimizer adamw sequences_per_step
//! reader: crates/simattn-train/src/config/diff.rs
//! reader: crates/simattn/src/config/mod.rs except neox llama qkv_bias out_bias rotation
//! reader: crates/simattn/src/config/attention.rs except name kv_heads rotary_dim
//! reader: crates/simattn-data/src/spec.rs except build
#![no_main]

use simattn_fuzz::{Place, models, parts};
use simattn_train::{RunConfig, changes};

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let presets = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../configs"));
    for preset in presets.into_iter().flatten().flatten() {
        seeds.push(std::fs::read(preset.path()).unwrap_or_default());
    }
    for config in models::configs() {
        let text = config.to_toml().expect("a configuration").into_bytes();
        seeds.push(text.clone());
        seeds.push(parts::join(&[text, b"[train]\nsteps = 3\n".to_vec()]));
    }
    seeds.push(
        b"[model]\nlayers = 1\n[data]\ntokenizer = \"bpe:300\"\n\
          sources = [{ path = \"a\", weight = 2.0 }]\n"
            .to_vec(),
    );
    seeds
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let place = Place::fresh();
    let file = place.write("run.toml", all[0]);
    let saved = match RunConfig::from_file(&file) {
        Ok(config) => config,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    // Whatever is valid can be written, and reads back as the same.
    let text = saved.to_toml().expect("a valid configuration");
    let again = place.write("again.toml", text.as_bytes());
    let again = RunConfig::from_file(&again).expect("what was just written");
    assert!(changes(&saved, &again).is_empty());
    assert_eq!(again, saved);
    let Some(over) = all.get(1) else {
        return;
    };
    let over = place.write("over.toml", over);
    match RunConfig::from_file_over(&over, &saved.model, &[]) {
        Ok(config) => changes(&saved, &config)
            .iter()
            .for_each(|change| simattn_fuzz::refused(change)),
        Err(error) => simattn_fuzz::refused(&error),
    }
}

simattn_fuzz::target!(seeds, run);
