//! Parquet: text through `prepare`, and records as the items of a task.
//!
//! reader: crates/simattn-data/src/reading/parquet.rs
//! reader: crates/simattn-data/src/parquet_file/mod.rs
//! reader: crates/simattn-data/src/parquet_file/bits.rs
//! reader: crates/simattn-data/src/parquet_file/deltas.rs
//! reader: crates/simattn-data/src/parquet_file/header.rs
//! reader: crates/simattn-data/src/parquet_file/pages.rs
//! reader: crates/simattn-data/src/parquet_file/records.rs
//! reader: crates/simattn-eval/src/records.rs except lines parse without_bare_words
#![no_main]

use parquet::basic::{Compression, GzipLevel, ZstdLevel};
use parquet::file::properties::WriterVersion;
use simattn_data::Tokenizer;
use simattn_data::prepare::OnBadInput;
use simattn_eval::{Task, read_tasks};
use simattn_fuzz::parquets::{Coding, kinds, questions};
use simattn_fuzz::prepared::{prepared, prepared_in_rounds};
use simattn_fuzz::{Place, parts};

/// What follows the pages: the metadata, its length, and this.
const MAGIC: &[u8] = b"PAR1";

const TASK: &str = "[[task]]\nname = \"a\"\ncontext = \"{text} {year}\"\n\
    choices = \"choices.text\"\n\
    gold = { label = \"answerKey\", among = \"choices.label\" }\n\
    metrics = [\"acc\"]\n";

/// A file's parts: its pages, and what it says about them.
fn seed(switches: &[u8], field: &str, file: &[u8]) -> Vec<u8> {
    let end = file.len() - MAGIC.len() - 4;
    let length = u32::from_le_bytes(file[end..][..4].try_into().expect("four bytes"));
    let (pages, metadata) = file[..end].split_at(end - length as usize);
    parts::join(&[switches, field.as_bytes(), pages, metadata])
}

fn seeds() -> Vec<Vec<u8>> {
    let none = Compression::UNCOMPRESSED;
    let mut seeds = Vec::new();
    for (compression, version) in [
        (none, WriterVersion::PARQUET_1_0),
        (Compression::SNAPPY, WriterVersion::PARQUET_1_0),
        (Compression::LZ4, WriterVersion::PARQUET_1_0),
        (
            Compression::GZIP(GzipLevel::default()),
            WriterVersion::PARQUET_2_0,
        ),
        (
            Compression::ZSTD(ZstdLevel::default()),
            WriterVersion::PARQUET_2_0,
        ),
        (Compression::LZ4_RAW, WriterVersion::PARQUET_2_0),
        (none, WriterVersion::PARQUET_2_0),
    ] {
        for holes in [false, true] {
            let file = questions(compression, version, Coding::Dictionary, holes);
            for field in ["text", "year"] {
                let switches = if holes { "101" } else { "001" };
                seeds.push(seed(switches.as_bytes(), field, &file));
            }
        }
    }
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for coding in Coding::ALL {
            seeds.push(seed(
                b"101",
                "text",
                &questions(none, version, coding, true),
            ));
            for field in ["raw", "group", "fixed"] {
                seeds.push(seed(b"001", field, &kinds(version, coding)));
            }
        }
    }
    // A packing that is not built in, and pages that are damaged.
    let file = questions(
        Compression::SNAPPY,
        WriterVersion::PARQUET_1_0,
        Coding::Plain,
        false,
    );
    let brotli = |file: &[u8]| {
        let mut file = file.to_vec();
        // The list of one name that is the column's path, then its packing.
        let name = b"\x19\x18\x04text\x15";
        for at in 0..file.len() - name.len() {
            if file[at..].starts_with(name) {
                file[at + name.len()] = 8;
            }
        }
        file
    };
    seeds.push(seed(b"101", "text", &brotli(&file)));
    let mut damaged = file.clone();
    damaged[30..60].fill(0xff);
    seeds.push(seed(b"101", "text", &damaged));
    seeds.push(seed(b"001", "nothing", &file));
    seeds
}

fn run(data: &[u8]) {
    let (switches, [field, pages, metadata]) = parts::parts(data);
    let length = (metadata.len() as u32).to_le_bytes();
    let mut file = [pages, metadata, &length, MAGIC].concat();
    if switches.on(1) {
        file.truncate(pages.len());
    }
    let place = Place::fresh();
    let path = place.write("in/a.parquet", &file);
    let bad = if switches.on(0) {
        OnBadInput::Skip
    } else {
        OnBadInput::Fail
    };
    let tokenizer = Tokenizer::bytes();
    let field = parts::text(field);
    let inputs = std::slice::from_ref(&path);
    let whole = prepared(&place, inputs, &field, &tokenizer, bad);
    if switches.on(2) {
        assert_eq!(
            whole,
            prepared_in_rounds(&place, inputs, &field, &tokenizer, bad)
        );
    }
    let tasks = read_tasks(&place.write("tasks.toml", TASK.as_bytes())).expect("a task");
    let task: &Task = &tasks[0];
    if let Err(error) = task.items(&path) {
        simattn_fuzz::refused(&error);
    }
}

simattn_fuzz::target!(seeds, run);
