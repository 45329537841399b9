//! A run with a checkpoint: state.json, sums, configuration, weights and what the optimizer
//! remembers, as `--resume` and `runs` read them.
//!
//! reader: crates/simattn-train/src/checkpoint/read.rs
//! reader: crates/simattn-train/src/checkpoint/agreement.rs
//! reader: crates/simattn-train/src/checkpoint/header.rs
//! reader: crates/simattn-train/src/checkpoint/sums.rs except compose
//! reader: crates/simattn-train/src/checkpoint/mod.rs except remove_leftovers
//! reader: crates/simattn-train/src/tensors.rs
//! reader: crates/simattn-train/src/kept_tokenizer.rs
//! reader: crates/simattn-train/src/resume.rs
//! reader: crates/simattn-train/src/runs.rs except in_folder fmt
#![no_main]

use burn::tensor::Device;
use simattn_fuzz::{Place, Switches, files, models, parts};
use simattn_train::checkpoint::{Checkpoint, folder_name};
use simattn_train::run_folder::RunFolder;
use simattn_train::{
    Budget, Dataset, KeptTokenizer, Meters, Resume, Resumption, RunConfig, Session, Trainer,
    compare_config, compare_data, runs,
};
use std::fs;
use std::path::Path;
use std::sync::{Arc, LazyLock, atomic::AtomicBool};

const PLAIN: [&str; 3] = ["config.toml", "state.json", "tokenizer.json"];
const TENSORS: [&str; 2] = ["model.safetensors", "optimizer.safetensors"];
/// In the order of the sums.
const SUMMED: [&str; 5] = [PLAIN[0], TENSORS[0], TENSORS[1], PLAIN[1], PLAIN[2]];

/// The data of every run here.
static DATA: LazyLock<Dataset> =
    LazyLock::new(|| Dataset::prepare(&models::configs()[0].data, 7).expect("embedded stories"));

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, config) in models::configs().iter().enumerate() {
        let mut config = config.clone();
        if number % 2 == 1 {
            config.train.optimizer = simattn_train::OptimizerKind::Muon;
        }
        let place = Place::fresh();
        train(&place.path("run"), &config);
        let folder = place.path("run").join(folder_name(1));
        let read = |name: &str| fs::read(folder.join(name)).expect("a file of the checkpoint");
        let mut all = vec![b"000".to_vec()];
        all.extend(PLAIN.map(read));
        all.extend(
            TENSORS
                .iter()
                .flat_map(|name| files::safetensors_parts(&read(name))),
        );
        all.push(fs::read(place.path("run/run.json")).expect("the run's mark"));
        all.push(fs::read(place.path("run/metrics.jsonl")).expect("the run's log"));
        seeds.push(parts::join(&all));
        for switches in [&b"100"[..], b"010", b"001", b"0001", b"00001"] {
            if number == 0 {
                all[0] = switches.to_vec();
                seeds.push(parts::join(&all));
            }
        }
    }
    seeds
}

/// A run of two steps with a checkpoint after each.
fn train(place: &Path, config: &RunConfig) {
    let device = Device::flex();
    let trainer = Trainer::new(config, &DATA, Budget::Steps(2), &device).expect("a small model");
    let folder = RunFolder::create(place).expect("a free place");
    let stop = Arc::new(AtomicBool::new(false));
    Session::start(
        trainer,
        folder,
        config,
        &DATA,
        None,
        Meters::default(),
        stop,
    )
    .and_then(|session| session.run(&mut ()))
    .expect("a small run");
}

fn run(data: &[u8]) {
    let (switches, all) = parts::parts::<9>(data);
    let place = Place::fresh();
    let run = place.path("run");
    let state: serde_json::Value = serde_json::from_slice(all[1]).unwrap_or_default();
    let step = if switches.on(2) {
        None
    } else {
        state["progress"]["step"].as_u64()
    };
    let name = folder_name(step.unwrap_or(1));
    write(&place, &name, switches, &all);
    for thorough in [false, true] {
        let summary = runs::summary(&run, thorough);
        for trouble in summary.troubles {
            simattn_fuzz::refused(&trouble);
        }
    }
    if let Err(error) = Checkpoint::glance(&run.join(&name)) {
        simattn_fuzz::refused(&error);
    }
    let resume = match switches.choose(5, 3) {
        0 => Resume::Auto,
        1 => Resume::From(run.join(&name)),
        _ => Resume::From(run.clone()),
    };
    match Resumption::find(&run, &resume) {
        Ok(found) => {
            for (_, error) in &found.unusable {
                simattn_fuzz::refused(error);
            }
            if let Some(checkpoint) = &found.checkpoint {
                go_on(checkpoint);
            }
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
}

/// Writes the run's folder; sums and lengths are right unless they are left alone.
fn write(place: &Place, name: &str, switches: Switches, all: &[&[u8]; 9]) {
    let [
        config,
        state,
        tokenizer,
        head,
        data,
        head2,
        data2,
        mark,
        log,
    ] = all;
    let fit = !switches.on(1);
    let [model, optimizer] =
        [(head, data), (head2, data2)].map(|(head, data)| files::safetensors(head, data, fit));
    let mut state = state.to_vec();
    if !switches.on(3)
        && let Ok(mut json) = serde_json::from_slice::<serde_json::Value>(&state)
        && json.is_object()
    {
        json["files"] = serde_json::json!({
            TENSORS[0]: model.len(), TENSORS[1]: optimizer.len(),
            PLAIN[0]: config.len(), PLAIN[2]: tokenizer.len(),
        });
        state = json.to_string().into_bytes();
    }
    let contents: [&[u8]; 5] = [config, &model, &optimizer, &state, tokenizer];
    let mut sums = String::new();
    for (file, contents) in SUMMED.iter().zip(contents) {
        place.write(&format!("run/{name}/{file}"), contents);
        sums.push_str(&format!("{}  {file}\n", files::sha256(contents)));
    }
    if switches.on(0) {
        sums.pop();
    }
    if !switches.on(4) {
        place.write(&format!("run/{name}/SHA256SUMS"), sums.as_bytes());
    }
    place.write("run/config.toml", config);
    place.write("run/run.json", mark);
    place.write("run/metrics.jsonl", log);
}

/// What `train --resume` does with a checkpoint that it found.
fn go_on(checkpoint: &Checkpoint) {
    let config = &checkpoint.config;
    if let Err(error) = compare_config(checkpoint, &models::configs()[0], false) {
        simattn_fuzz::refused(&error);
    }
    if let Err(error) = DATA
        .fingerprint()
        .map(|data| compare_data(checkpoint, &data, false))
        .expect("stories in memory")
    {
        simattn_fuzz::refused(&error);
    }
    let data = &models::configs()[0].data;
    if let Err(error) = KeptTokenizer::of(checkpoint, data) {
        simattn_fuzz::refused(&error);
    }
    let decoder = match checkpoint.decoder(config, &Device::flex().autodiff()) {
        Ok(decoder) => decoder,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    let mut optimizer = match checkpoint.optimizer() {
        Ok(optimizer) => optimizer,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    match Trainer::with_decoder(decoder, config, &DATA, Budget::Steps(2)) {
        Ok(mut trainer) => {
            let progress = &checkpoint.state.progress;
            if let Err(error) = trainer.restore(progress, None, Some(&mut optimizer)) {
                return simattn_fuzz::refused(&error);
            }
            // What was restored can be trained.
            if config.model.context <= 32
                && config.train.sequences_per_step() <= 4
                && let Err(error) = trainer.step(&mut ())
            {
                simattn_fuzz::refused(&error);
            }
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
}

simattn_fuzz::target!(seeds, run);
