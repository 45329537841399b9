//! A model folder of ours: configuration, tokenizer and weights.
//!
//! reader: crates/simattn/src/checkpoint.rs except save write tensors dtype shape data data_len
//! reader: crates/simattn-train/src/model_folder.rs except save save_with failed start_from load_weights
#![no_main]

use burn::tensor::Device;
use simattn::generate::greedy;
use simattn_fuzz::{Place, Switches, files, models, parts};
use simattn_train::model_folder::{self, Reservation};
use std::collections::BTreeMap;
use std::fs;

const FILES: [&str; 2] = ["config.toml", "tokenizer.json"];
const WEIGHTS: &str = "model.safetensors";

fn seeds() -> Vec<Vec<u8>> {
    let seed = |config: &simattn_train::RunConfig| {
        let place = Place::fresh();
        let folder = place.path("model");
        let decoder = models::decoder(config);
        let tokenizer = simattn_data::Tokenizer::bytes();
        Reservation::new(&folder)
            .and_then(|place| place.save(config, &tokenizer, &decoder, &BTreeMap::new()))
            .expect("a small model");
        let read = |name| fs::read(folder.join(name)).expect("a file of the model");
        let [head, data] = files::safetensors_parts(&read(WEIGHTS));
        let [config, tokenizer] = FILES.map(read);
        parts::join(&[b"00".to_vec(), config, tokenizer, head, data])
    };
    models::configs().iter().map(seed).collect()
}

fn run(data: &[u8]) {
    let (switches, [config, tokenizer, head, data]) = parts::parts(data);
    let place = Place::fresh();
    write(&place, switches, [config, tokenizer], [head, data]);
    let saved = match model_folder::load(&place.path("model"), &Device::flex()) {
        Ok(saved) => saved,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    // A model that was taken can be run.
    let config = saved.decoder.config();
    if config.context <= 64 && config.layers <= 4 {
        let ids = [0, saved.tokenizer.end_of_text()];
        if let Err(error) = greedy(&saved.decoder, &ids, 2, None, |_| {}) {
            simattn_fuzz::refused(&error);
        }
    }
}

fn write(place: &Place, switches: Switches, files: [&[u8]; 2], weights: [&[u8]; 2]) {
    for (number, (name, contents)) in FILES.iter().zip(files).enumerate() {
        if !switches.on(number + 2) {
            place.write(&format!("model/{name}"), contents);
        }
    }
    let [head, data] = weights;
    let mut file = files::safetensors(head, data, !switches.on(0));
    if switches.on(1) {
        file.truncate(data.len());
    }
    if !switches.on(4) {
        place.write(&format!("model/{WEIGHTS}"), &file);
    }
}

simattn_fuzz::target!(seeds, run);
