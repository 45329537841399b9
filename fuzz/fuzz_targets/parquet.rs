//! Parquet: text through `prepare`, and records as the items of a task.
//!
//! reader: crates/simattn-data/src/reading/parquet.rs
//! reader: crates/simattn-eval/src/records.rs except lines parse
#![no_main]

use parquet::basic::{Compression, GzipLevel};
use parquet::file::properties::WriterVersion;
use simattn_data::Tokenizer;
use simattn_data::prepare::OnBadInput;
use simattn_eval::{Task, read_tasks};
use simattn_fuzz::prepared::prepared;
use simattn_fuzz::{Place, parquets, parts};

/// What follows the pages: the metadata, its length, and this.
const MAGIC: &[u8] = b"PAR1";

const TASK: &str = "[[task]]\nname = \"a\"\ncontext = \"{text} {year}\"\n\
    choices = \"choices.text.list.element\"\n\
    gold = { label = \"answerKey\", among = \"choices.label.list.element\" }\n\
    metrics = [\"acc\"]\n";

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (compression, version) in [
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_1_0),
        (Compression::SNAPPY, WriterVersion::PARQUET_1_0),
        (
            Compression::GZIP(GzipLevel::default()),
            WriterVersion::PARQUET_2_0,
        ),
        (Compression::LZ4_RAW, WriterVersion::PARQUET_2_0),
        (Compression::UNCOMPRESSED, WriterVersion::PARQUET_2_0),
    ] {
        for holes in [false, true] {
            let file = parquets::questions(compression, version, holes);
            let end = file.len() - MAGIC.len() - 4;
            let length = u32::from_le_bytes(file[end..][..4].try_into().expect("four bytes"));
            let (pages, metadata) = file[..end].split_at(end - length as usize);
            for field in ["text", "year"] {
                let switches = if holes { "1" } else { "0" };
                seeds.push(parts::join(&[
                    switches.as_bytes(),
                    field.as_bytes(),
                    pages,
                    metadata,
                ]));
            }
        }
    }
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
    prepared(
        &place,
        std::slice::from_ref(&path),
        &parts::text(field),
        &tokenizer,
        bad,
    );
    let tasks = read_tasks(&place.write("tasks.toml", TASK.as_bytes())).expect("a task");
    let task: &Task = &tasks[0];
    if let Err(error) = task.items(&path) {
        simattn_fuzz::refused(&error);
    }
}

simattn_fuzz::target!(seeds, run);
