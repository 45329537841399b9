//! Text of any size to shards of token ids.
//!
//! A thread reads documents from the inputs in their order and cuts long ones into pieces; the
//! pieces are encoded in parallel, a few megabytes at a time, and written in the order they came.
//! So memory does not grow with the input, and the shards do not depend on the number of threads.
//! After every finished shard a journal says how far the work is, and the same job continues from
//! there.

mod error;
mod feed;
mod identity;
mod inputs;
mod journal;
mod parts;
mod pieces;
mod pipeline;
mod place;
mod reader;
mod seams;
mod soundness;

pub use error::PrepareError;
pub use pipeline::{Prepared, prepare};
pub use place::check_place;

use crate::reading::PassedOver;
use crate::tokenizer::Tokenizer;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Where `index.json` counts documents that were left out because they are held out.
const HELD_OUT_AGAIN: &str = "documents_held_out_again";

/// What to do with a line or row that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnBadInput {
    /// End with [`PrepareError::BadInput`].
    Fail,
    /// Report it, leave it out and go on.
    Skip,
}

/// What is to be prepared, and how.
#[derive(Debug)]
pub struct Job<'a> {
    /// Files, folders and patterns such as `books/*.txt`.
    pub inputs: &'a [PathBuf],
    /// As `inputs`, held out whole for validation. A file that `inputs` names too, under whatever
    /// name, is held out, and a copy of one of their documents elsewhere in `inputs` is left out
    /// there.
    pub validation: &'a [PathBuf],
    /// Makes the ids.
    pub tokenizer: &'a Tokenizer,
    /// The folder that the shards come to; free, or begun by the same job.
    pub out: &'a Path,
    /// The field of JSON lines, or the column of Parquet files, that holds the text.
    pub field: &'a str,
    /// The share of the documents of `inputs` held out, 0 to 0.5: those whose hash falls below it.
    pub validation_fraction: f64,
    /// The seed of the hash that chooses them.
    pub seed: u64,
    /// Tokens after which a shard ends, at the end of the document that reaches them.
    pub shard_tokens: u64,
    /// What to do with what cannot be read.
    pub on_bad_input: OnBadInput,
}

/// Who watches. Every method may be left out.
pub trait PrepareObserver {
    /// After every few megabytes: bytes of the inputs read so far and in all, as they lie on the
    /// disk, and tokens written so far. `Break` ends the work at once, as a killed process would.
    fn on_progress(&mut self, bytes: u64, of: u64, tokens: u64) -> ControlFlow<()> {
        let _ = (bytes, of, tokens);
        ControlFlow::Continue(())
    }

    /// A shard is finished, and the journal knows it. `Break` as above.
    fn on_shard(&mut self, file: &str, tokens: u64) -> ControlFlow<()> {
        let _ = (file, tokens);
        ControlFlow::Continue(())
    }

    /// A line or row was left out.
    fn on_bad_input(&mut self, place: &str, problem: &str) {
        let _ = (place, problem);
    }

    /// Something in a folder may have been meant and is not read; all of them are named before the
    /// work begins.
    fn on_passed_over(&mut self, what: &PassedOver) {
        let _ = what;
    }

    /// A document to train on is one of those in [`Job::validation`] too, and was left out.
    fn on_held_out(&mut self, place: &str) {
        let _ = place;
    }

    /// Something else that the user should know.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }
}

/// Nobody watches.
impl PrepareObserver for () {}

/// The part that a document belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Train,
    Validation,
}
