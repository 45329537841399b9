//! Token files of llm.c and nanoGPT.
//!
//! reader: crates/simattn-data/src/shards/foreign.rs
//! reader: crates/simattn-data/src/shards/marks.rs
//! reader: crates/simattn-data/src/shards/naming.rs
//! reader: crates/simattn-data/src/shards/pattern.rs
//! reader: crates/simattn-data/src/shards/shard.rs
//! reader: crates/simattn-data/src/shards/set.rs except of_part read_documents
#![no_main]

use simattn_data::{Tokenizer, TokenizerSpec};
use simattn_fuzz::{Place, Switches, parts, tokenizers};
use simattn_train::{DataConfig, Dataset};

/// Bytes of llm.c's header: magic, version, number of tokens.
const HEADER: usize = 1024;
/// Names of files as those tools and others choose them.
const NAMES: [[&str; 2]; 4] = [
    ["train.bin", "val.bin"],
    ["fineweb_train_000001.bin", "fineweb_val_000000.bin"],
    ["medieval_train_1.bin", "medieval_val_1.bin"],
    ["train.bin", "validation.bin"],
];

fn seeds() -> Vec<Vec<u8>> {
    let ids: Vec<u8> = b"one two\n"
        .repeat(40)
        .iter()
        .flat_map(|&id| [id, 0])
        .collect();
    let wide: Vec<u8> = b"one two\n"
        .repeat(40)
        .iter()
        .flat_map(|&id| [id, 0, 0, 0])
        .collect();
    let llm_c = |magic: u32, version: u32, count: usize, ids: &[u8]| {
        let mut file = vec![0; HEADER];
        file[..4].copy_from_slice(&magic.to_le_bytes());
        file[4..8].copy_from_slice(&version.to_le_bytes());
        file[8..12].copy_from_slice(&(count as u32).to_le_bytes());
        [file, ids.to_vec()].concat()
    };
    let narrow_file = llm_c(20_240_520, 1, 320, &ids);
    let wide_file = llm_c(20_240_801, 7, 320, &wide);
    let mut seeds = Vec::new();
    for (switches, files) in [
        ("000", [&ids, &ids]),
        ("010", [&narrow_file, &narrow_file]),
        ("012", [&wide_file, &narrow_file]),
        ("020", [&wide, &wide]),
        ("031", [&narrow_file, &ids]),
        ("100", [&narrow_file, &ids]),
    ] {
        seeds.push(parts::join(&[switches.as_bytes(), files[0], files[1]]));
    }
    let strangers: [&[u8]; 7] = [
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"PAR1",
        b"\x93NUMPY",
        b"PK\x03\x04",
        b"{",
        b"GGUF",
    ];
    for stranger in strangers {
        let stranger = [stranger, &ids].concat();
        seeds.push(parts::join(&[b"000".as_slice(), &stranger, &ids]));
    }
    seeds
}

fn run(data: &[u8]) {
    let (switches, [train, validation, more]) = parts::parts(data);
    let place = Place::fresh();
    let names = NAMES[switches.choose(1, NAMES.len())];
    place.write(&format!("data/{}", names[0]), &repaired(train, switches));
    place.write(
        &format!("data/{}", names[1]),
        &repaired(validation, switches),
    );
    if !more.is_empty() {
        place.write("data/train_2.bin", &repaired(more, switches));
    }
    let tokenizer = match switches.choose(2, 3) {
        0 => Tokenizer::bytes(),
        1 => tokenizers::learnt(),
        _ => tokenizers::wide(),
    };
    let file = place.path("tokenizer.json");
    tokenizer.save(&file).expect("a small file");
    let config = DataConfig {
        source: place.path("data").display().to_string(),
        tokenizer: TokenizerSpec::File(file),
        ..DataConfig::default()
    };
    match Dataset::prepare(&config, 1) {
        Ok(data) => {
            let mut ids = vec![0; data.train_tokens() as usize];
            data.train[0]
                .source
                .read(0, &mut ids)
                .expect("tokens that there are");
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
            data.fingerprint().expect("what was just verified");
            if let Ok(bits) = data.validation.bits_per_byte(1.0) {
                assert!(bits.is_finite());
            }
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
}

/// A file of llm.c with as many tokens as it says, unless that is left alone.
fn repaired(file: &[u8], switches: Switches) -> Vec<u8> {
    let mut file = file.to_vec();
    if switches.on(0) || file.len() < HEADER {
        return file;
    }
    let width = match u32::from_le_bytes([file[0], file[1], file[2], file[3]]) {
        20_240_520 => 2,
        20_240_801 => 4,
        _ => return file,
    };
    let tokens = (file.len() - HEADER) / width;
    file.truncate(HEADER + tokens * width);
    file[8..12].copy_from_slice(&(tokens as u32).to_le_bytes());
    file
}

simattn_fuzz::target!(seeds, run);
