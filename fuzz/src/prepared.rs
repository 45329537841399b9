//! Text through `prepare`, and what must hold of the folder that comes out.

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

use simattn_data::prepare::{Job, OnBadInput, PrepareError, PrepareObserver, Prepared, prepare};
use simattn_data::shards::TokenShards;
use simattn_data::{TokenSource, Tokenizer};

use crate::place::Place;

/// What one file gives.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// The ids of its documents, in order.
    pub documents: Vec<Vec<u32>>,
    /// Lines or rows that were left out.
    pub bad: u64,
}

/// Prepares files that lie in `place` into the folder `out` there, bad lines left out or not.
/// `None` where they are refused, with one line.
///
/// # Panics
/// Where the folder contradicts itself: a find.
pub fn prepared(
    place: &Place,
    inputs: &[PathBuf],
    field: &str,
    tokenizer: &Tokenizer,
    on_bad_input: OnBadInput,
) -> Option<Outcome> {
    let out = place.path("out");
    let _ = fs::remove_dir_all(&out);
    let job = Job {
        inputs,
        validation: &[],
        tokenizer,
        out: &out,
        field,
        validation_fraction: 0.0,
        seed: 1,
        shard_tokens: 1 << 30,
        on_bad_input,
    };
    match prepare(&job, &mut ()) {
        Ok(prepared) => Some(read(&out, &prepared, tokenizer)),
        Err(error) => {
            crate::refused(&error);
            assert!(!out.exists(), "something is left after: {error}");
            None
        }
    }
}

/// Breaks off after each shard.
struct Break;

impl PrepareObserver for Break {
    fn on_shard(&mut self, _: &str, _: u64) -> ControlFlow<()> {
        ControlFlow::Break(())
    }
}

/// The same in small shards, broken off after each and continued.
///
/// # Panics
/// As above.
pub fn prepared_in_rounds(
    place: &Place,
    inputs: &[PathBuf],
    field: &str,
    tokenizer: &Tokenizer,
    on_bad_input: OnBadInput,
) -> Option<Outcome> {
    let out = place.path("rounds");
    let _ = fs::remove_dir_all(&out);
    let job = Job {
        inputs,
        validation: &[],
        tokenizer,
        out: &out,
        field,
        validation_fraction: 0.0,
        seed: 1,
        shard_tokens: 40,
        on_bad_input,
    };
    for _ in 0..32 {
        match prepare(&job, &mut Break) {
            Ok(prepared) => return Some(read(&out, &prepared, tokenizer)),
            Err(PrepareError::Stopped) => {}
            Err(error) => {
                crate::refused(&error);
                return None;
            }
        }
    }
    // Enough of it.
    let prepared = prepare(&job, &mut ()).ok()?;
    Some(read(&out, &prepared, tokenizer))
}

/// Reads a finished folder back, every file against its sum.
fn read(out: &std::path::Path, prepared: &Prepared, tokenizer: &Tokenizer) -> Outcome {
    let part = &prepared.index.train;
    let set = TokenShards::of_part(out, &prepared.index, part).expect("what was just written");
    set.verify().expect("sums that were just worked out");
    let documents: Vec<Vec<u32>> = set
        .read_documents(tokenizer.end_of_text())
        .collect::<Result<_, _>>()
        .expect("shards that can be read");
    assert_eq!(documents.len() as u64, part.documents);
    assert_eq!(set.tokens(), part.tokens);
    Outcome {
        documents,
        bad: prepared.index.bad_inputs,
    }
}
