//! `index.json`: what a prepared folder holds.

use super::error::ShardError;
use super::header::{Width, hexadecimal};
use super::shard::Shard;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;

/// The index of a prepared folder.
pub const INDEX: &str = "index.json";
/// The tokenizer of its ids.
pub const TOKENIZER: &str = "tokenizer.json";
/// The layout that this version writes and reads.
const FORMAT: u32 = 1;

/// Whether a folder is one of `prepare`, finished or not.
pub fn is_prepared(folder: &Path) -> bool {
    [INDEX, crate::prepare::JOURNAL]
        .iter()
        .any(|name| folder.join(name).is_file())
}

/// The tokenizer that made the ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexedTokenizer {
    /// [`Tokenizer::fingerprint`](crate::Tokenizer::fingerprint).
    pub fingerprint: String,
    /// Every id is below it.
    pub vocabulary: usize,
    /// The id that closes a document.
    pub end_of_text: u32,
}

/// A shard in the index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the folder.
    pub file: String,
    /// Ids.
    pub tokens: u64,
    /// Documents.
    pub documents: u64,
    /// Bytes of text.
    pub bytes: u64,
    /// SHA-256 of the ids as stored, that is of all but the first 128 bytes of the file.
    pub sha256: String,
}

impl Entry {
    /// Whether a shard is the one that is listed here.
    pub(super) fn check(&self, shard: &Shard, index: &Index) -> Result<(), ShardError> {
        let differs = |problem: String| ShardError::NotListed {
            path: shard.path().to_owned(),
            problem,
        };
        let header = shard
            .header()
            .ok_or_else(|| differs("it is another tool's file".to_owned()))?;
        if header.tokenizer != index.tokenizer.fingerprint {
            return Err(ShardError::Tokenizer {
                path: shard.path().to_owned(),
                found: header.tokenizer.clone(),
                expected: index.tokenizer.fingerprint.clone(),
                expected_from: "the folder's index.json".to_owned(),
            });
        }
        if header.width != index.width {
            return Err(differs(format!("ids of {} bytes", header.width.bytes())));
        }
        if hexadecimal(&header.sha256) != self.sha256 || header.tokens != self.tokens {
            return Err(differs("its checksum is another".to_owned()));
        }
        Ok(())
    }
}

/// The training or the validation part.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Ids in all shards.
    pub tokens: u64,
    /// Documents in all shards.
    pub documents: u64,
    /// Bytes of text in all shards.
    pub bytes: u64,
    /// The shards, in the order of the text.
    pub shards: Vec<Entry>,
}

impl Part {
    pub(crate) fn of(shards: Vec<Entry>) -> Self {
        let sum = |field: fn(&Entry) -> u64| shards.iter().map(field).sum();
        Self {
            tokens: sum(|entry| entry.tokens),
            documents: sum(|entry| entry.documents),
            bytes: sum(|entry| entry.bytes),
            shards,
        }
    }
}

/// `index.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// The layout of the folder.
    pub format: u32,
    /// The version that wrote it.
    pub tool: String,
    /// The tokenizer.
    pub tokenizer: IndexedTokenizer,
    /// How ids are stored.
    pub width: Width,
    /// Tokens to train on.
    pub train: Part,
    /// Tokens held out.
    pub validation: Part,
    /// Lines or rows that could not be read and were left out.
    pub bad_inputs: u64,
    /// How the folder was made.
    pub job: serde_json::Value,
}

impl Index {
    pub(crate) fn new(
        tokenizer: IndexedTokenizer,
        width: Width,
        train: Part,
        validation: Part,
        bad_inputs: u64,
        job: serde_json::Value,
    ) -> Self {
        Self {
            format: FORMAT,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            tokenizer,
            width,
            train,
            validation,
            bad_inputs,
            job,
        }
    }

    /// Reads the index of a prepared folder.
    ///
    /// # Errors
    ///
    /// [`ShardError::Unfinished`] where `prepare` has only begun, [`ShardError::Index`] for an index that cannot be
    /// understood, [`ShardError::System`] where there is none.
    pub fn read(folder: &Path) -> Result<Self, ShardError> {
        let path = folder.join(INDEX);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(_) if folder.join(crate::prepare::JOURNAL).is_file() => {
                return Err(ShardError::Unfinished {
                    path: folder.to_owned(),
                });
            }
            Err(error) => return Err(ShardError::system(&path, &error)),
        };
        let wrong = |problem: String| ShardError::Index {
            path: path.clone(),
            problem,
        };
        let index: Self =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if index.format != FORMAT {
            return Err(ShardError::Version {
                path: path.clone(),
                found: index.format.into(),
                expected: FORMAT,
            });
        }
        for part in [&index.train, &index.validation] {
            // A name that leads out of the folder is no name of ours.
            let strange = |entry: &&Entry| {
                Path::new(&entry.file).file_name() != Some(std::ffi::OsStr::new(&entry.file))
            };
            if let Some(entry) = part.shards.iter().find(strange) {
                return Err(wrong(format!("the shard name \"{}\"", entry.file)));
            }
            let whole = Part::of(part.shards.clone());
            if whole != *part {
                return Err(wrong("its sums do not add up".to_owned()));
            }
        }
        Ok(index)
    }
}
