//! What can be wrong with data, in one line for people: what, where, what to do.

use crate::shards::ShardError;
use std::path::PathBuf;
use thiserror::Error;

/// Everything this crate can refuse.
#[derive(Debug, Error)]
pub enum DataError {
    /// Nothing lies at the path.
    #[error("{path}: no such file or folder; check the path", path = path.display())]
    Missing {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The path exists but the system refused to read or write it.
    #[error("{path}: {problem}", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// What was given is nothing that can be read.
    #[error("{input}: {problem}")]
    NoInput {
        /// What was given.
        input: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A line or row of a file of documents cannot be read.
    #[error(
        "{place}: {problem}; correct it, or `simattn prepare` the text, which can leave such \
         lines out and read another field"
    )]
    BadLine {
        /// The file, and the line or row, from 1.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// The file has no text.
    #[error("{path}: the file has no text in it; give one that has", path = path.display())]
    EmptyFile {
        /// The file.
        path: PathBuf,
    },
    /// The folder has no file that would be taken as text.
    #[error(
        "{path}: no text in this folder or below (hidden, empty and binary files are skipped)",
        path = path.display()
    )]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
    /// The file is not text in UTF-8.
    #[error(
        "{path}: not UTF-8 at byte {offset}; convert the file or take it out of the folder",
        path = path.display()
    )]
    InvalidUtf8 {
        /// The file.
        path: PathBuf,
        /// The first byte that cannot be decoded.
        offset: usize,
    },
    /// A single document cannot be split into training and validation parts.
    #[error(
        "{source_name}: only one document, which cannot be split for validation; \
         separate documents by blank lines or lines of <|endoftext|>, or give a folder of files"
    )]
    OneDocument {
        /// Where the document came from.
        source_name: String,
    },
    /// The validation part is not a sensible share.
    #[error("a validation fraction of {fraction}: choose one above 0 and at most 0.5")]
    ValidationFraction {
        /// What was asked for.
        fraction: f64,
    },
    /// The embedded corpus was asked for an empty part.
    #[error("the {part} part of the tales has 0 bytes; ask for at least 1")]
    NoTales {
        /// "training" or "validation".
        part: &'static str,
    },
    /// A tokenizer specification that cannot be read.
    #[error(
        "tokenizer \"{text}\": {problem}; write bytes, bpe:4096 or the path of a tokenizer.json"
    )]
    TokenizerSpec {
        /// What was given.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The file is not a tokenizer.
    #[error("{origin}: not a usable tokenizer.json: {problem}")]
    TokenizerFile {
        /// The file, or a name for it.
        origin: String,
        /// What the reader says.
        problem: String,
    },
    /// The tokenizer does not say which token closes a document.
    #[error(
        "{origin}: no end of text: none of {tried} is among the added tokens, and no eos_token_id of a \
         generation_config.json or config.json in the same folder names a token; name one there"
    )]
    NoEndOfText {
        /// The file, or a name for it.
        origin: String,
        /// The names that were looked for.
        tried: String,
    },
    /// What a model's folder says about ids or chat templates cannot be.
    #[error("{path}: field `{field}` {problem}", path = path.display())]
    TextSettings {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A byte-level vocabulary needs all bytes and the end of text.
    #[error(
        "a byte-level vocabulary of {asked}: it needs at least {least} (256 bytes and the end of text)"
    )]
    VocabularyTooSmall {
        /// What was asked for.
        asked: usize,
        /// The least possible.
        least: usize,
    },
    /// The text has too few repeated pairs for so many tokens.
    #[error(
        "the text supports a vocabulary of at most {reached}, not {asked}; ask for bpe:{reached} or give more text"
    )]
    VocabularyUnreachable {
        /// What was asked for.
        asked: usize,
        /// What the text gives.
        reached: usize,
    },
    /// An id that the tokenizer does not have.
    #[error(
        "token {id} is not in the vocabulary of {vocabulary}; the tokens belong to another tokenizer"
    )]
    UnknownToken {
        /// The id.
        id: u32,
        /// The size of the vocabulary.
        vocabulary: usize,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {problem}")]
    Tokenizer {
        /// What it says.
        problem: String,
    },
    /// The tokens do not fill a single window.
    #[error(
        "the {part} part has {tokens} tokens, but one window of context {context} needs {needed}; \
         {advice}",
        advice = match *part {
            "validation" => "hold out more of the text, give more text, or choose a shorter context",
            _ => "give more text, or choose a shorter context",
        }
    )]
    TextTooShort {
        /// "training" or "validation".
        part: &'static str,
        /// Tokens there are.
        tokens: u64,
        /// Tokens one window needs.
        needed: usize,
        /// The context that was asked for.
        context: usize,
    },
    /// A batch without rows or columns.
    #[error("a batch of {batch} windows of {context} tokens is empty; both must be at least 1")]
    EmptyShape {
        /// Rows.
        batch: usize,
        /// Columns.
        context: usize,
    },
    /// A loader position from other data or another configuration.
    #[error(
        "window {window} of epoch {epoch}: that epoch has only {windows} windows; \
         the position belongs to other data, another context or another seed"
    )]
    PositionOutside {
        /// The epoch of the position.
        epoch: u64,
        /// The window of the position.
        window: u64,
        /// The windows that epoch has.
        windows: u64,
    },
    /// A loader position of another number of sources.
    #[error(
        "the position is one of {found} sources, but there are {expected}; \
         use the sources that the run began with"
    )]
    SourcesDiffer {
        /// Sources of the position.
        found: usize,
        /// Sources there are.
        expected: usize,
    },
    /// A weight that is no share.
    #[error("a source's weight of {weight}: choose one above 0")]
    Weight {
        /// What was asked for.
        weight: f64,
    },
    /// Tokens that are not there.
    #[error("asked for {count} tokens starting at {start}, but there are only {tokens}")]
    RangeOutside {
        /// The first token.
        start: u64,
        /// How many.
        count: usize,
        /// How many there are.
        tokens: u64,
    },
    /// The thread that prepares batches is gone.
    #[error("the thread that prepares batches: {problem}")]
    LoaderThread {
        /// What happened.
        problem: String,
    },
    /// Something is wrong with files of token ids.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// Bits per byte of nothing.
    #[error("no byte of text was encoded, so there are no bits per byte")]
    NoText,
}
