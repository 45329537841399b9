//! `index.json`: what a prepared folder holds.

use super::error::ShardError;
use super::file_names::{INDEX, JOURNAL, PARTS, is_shard_name, shard_name};
use super::header::{Width, hexadecimal};
use super::shard::Shard;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::fs;
use std::path::Path;

/// The layout that this version writes and reads.
const FORMAT: u32 = 1;

/// Whether a folder is one of `prepare`, finished or not.
pub fn is_prepared(folder: &Path) -> bool {
    [INDEX, JOURNAL]
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
    /// Whether a shard is the one that is listed here, in the file `list`, among ids of this
    /// tokenizer and width.
    pub(crate) fn check(
        &self,
        shard: &Shard,
        tokenizer: &IndexedTokenizer,
        width: Width,
        list: &'static str,
    ) -> Result<(), ShardError> {
        let differs = |problem: String| ShardError::NotListed {
            path: shard.path().to_owned(),
            list,
            problem,
        };
        let header = shard
            .header()
            .ok_or_else(|| differs("it is another tool's file".to_owned()))?;
        if header.tokenizer != tokenizer.fingerprint {
            return Err(ShardError::Tokenizer {
                path: shard.path().to_owned(),
                found: header.tokenizer.clone(),
                expected: tokenizer.fingerprint.clone(),
                expected_from: format!("the folder's {list}"),
            });
        }
        if header.width != width {
            return Err(differs(format!("ids of {} bytes", header.width.bytes())));
        }
        if hexadecimal(&header.sha256) != self.sha256 {
            return Err(differs("its checksum is another".to_owned()));
        }
        // The header has a checksum of its own, so that the list is wrong where they differ.
        let vocabulary = tokenizer.vocabulary as u64;
        let end_of_text = tokenizer.end_of_text.into();
        for (what, listed, found) in [
            ("tokens", self.tokens, header.tokens),
            ("documents", self.documents, header.documents),
            ("bytes of text", self.bytes, header.bytes),
            (
                "ids in the vocabulary",
                vocabulary,
                header.vocabulary.into(),
            ),
            (
                "as the end-of-text id",
                end_of_text,
                header.end_of_text.into(),
            ),
        ] {
            if listed != found {
                let problem = format!("{listed} {what} there, {found} in its header");
                return Err(differs(problem));
            }
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
    /// With the sums over its shards; `None` where they are beyond 64 bits, which no disk holds.
    pub(crate) fn of(shards: Vec<Entry>) -> Option<Self> {
        let sum = |field: fn(&Entry) -> u64| {
            (shards.iter()).try_fold(0_u64, |sum, entry| sum.checked_add(field(entry)))
        };
        Some(Self {
            tokens: sum(|entry| entry.tokens)?,
            documents: sum(|entry| entry.documents)?,
            bytes: sum(|entry| entry.bytes)?,
            shards,
        })
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

    /// The parts with the names of their shards.
    fn parts(&self) -> [(&'static str, &Part); 2] {
        let [train, validation] = PARTS;
        [(train, &self.train), (validation, &self.validation)]
    }

    /// Reads the index of a prepared folder. Whether the shards are those that it lists is checked
    /// where they are opened: [`Index::check`],
    /// [`TokenShards::of_part`](super::TokenShards::of_part).
    ///
    /// # Errors
    ///
    /// [`ShardError::Unfinished`] where `prepare` has only begun, [`ShardError::Index`] for an
    /// index that cannot be understood, contradicts itself or leaves out a shard that lies in the
    /// folder, [`ShardError::System`] where there is none.
    pub fn read(folder: &Path) -> Result<Self, ShardError> {
        let path = folder.join(INDEX);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(_) if folder.join(JOURNAL).is_file() => {
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
        index.consistent().map_err(wrong)?;
        for name in shards_in(folder).map_err(|error| ShardError::system(folder, &error))? {
            let listed = |part: &Part| part.shards.iter().any(|entry| entry.file == name);
            if !listed(&index.train) && !listed(&index.validation) {
                return Err(wrong(format!("{name} lies beside it and is not listed")));
            }
        }
        Ok(index)
    }

    /// What is wrong with it by itself.
    fn consistent(&self) -> Result<(), String> {
        for (name, part) in self.parts() {
            for (number, entry) in part.shards.iter().enumerate() {
                // The name says part and place: a shard cannot stand twice, in another order or in
                // the other part.
                let expected = shard_name(name, number);
                if entry.file != expected {
                    return Err(format!(
                        "the shard name {:?} where {expected} belongs",
                        entry.file
                    ));
                }
            }
            if Part::of(part.shards.clone()).as_ref() != Some(part) {
                return Err(format!("its sums over the {name} shards do not add up"));
            }
        }
        let trained: HashSet<&str> = self
            .train
            .shards
            .iter()
            .map(|e| e.sha256.as_str())
            .collect();
        let both = self
            .validation
            .shards
            .iter()
            .find(|e| trained.contains(e.sha256.as_str()));
        match both {
            Some(entry) => Err(format!(
                "{} holds the same ids as a training shard, so that what is held out is trained on",
                entry.file
            )),
            None => Ok(()),
        }
    }

    /// That every shard is there, whole by its length, and as its header says what the index says.
    /// The ids are not read: see [`TokenShards::verify`](super::TokenShards::verify).
    ///
    /// # Errors
    ///
    /// The first shard that is missing, or is not the one that is listed.
    pub fn check(&self, folder: &Path) -> Result<(), ShardError> {
        for (_, part) in self.parts() {
            self.open(folder, part)?;
        }
        Ok(())
    }

    /// The shards of one of its parts, each checked against what the index says of it.
    pub(super) fn open(&self, folder: &Path, part: &Part) -> Result<Vec<Shard>, ShardError> {
        let mut shards = Vec::with_capacity(part.shards.len());
        for entry in &part.shards {
            let shard = Shard::open(folder.join(&entry.file))?;
            entry.check(&shard, &self.tokenizer, self.width, INDEX)?;
            shards.push(shard);
        }
        Ok(shards)
    }
}

/// The names of the shards that lie in a folder, listed or not, sorted.
pub(crate) fn shards_in(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        names.extend(
            name.to_str()
                .filter(|name| is_shard_name(name))
                .map(str::to_owned),
        );
    }
    names.sort_unstable();
    Ok(names)
}
