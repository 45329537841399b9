//! The two parts that documents go to.

use super::error::PrepareError;
use super::journal::PartState;
use crate::shards::{Entry, Growing, IndexedTokenizer, Part, ShardWriter, Width, shard_name};
use std::path::{Path, PathBuf};

/// The shards of one part, one of them growing at most.
#[derive(Debug)]
pub(super) struct PartWriter {
    folder: PathBuf,
    name: &'static str,
    tokenizer: IndexedTokenizer,
    width: Width,
    finished: Vec<Entry>,
    growing: Option<ShardWriter>,
}

impl PartWriter {
    /// Goes on from a state of the journal, whose shards have been checked.
    pub(super) fn open(
        folder: &Path,
        name: &'static str,
        tokenizer: &IndexedTokenizer,
        width: Width,
        finished: &[Entry],
        growing: Option<Growing>,
    ) -> Result<Self, PrepareError> {
        let resume = |growing| ShardWriter::resume(growing, tokenizer, width);
        Ok(Self {
            folder: folder.to_owned(),
            name,
            tokenizer: tokenizer.clone(),
            width,
            finished: finished.to_vec(),
            growing: growing.map(resume).transpose()?,
        })
    }

    fn next_path(&self) -> PathBuf {
        self.folder.join(shard_name(self.name, self.finished.len()))
    }

    pub(super) fn push(
        &mut self,
        ids: &[u32],
        bytes: u64,
        documents: u64,
    ) -> Result<(), PrepareError> {
        let shard = match &mut self.growing {
            Some(shard) => shard,
            None => {
                let path = self.next_path();
                let shard = ShardWriter::create(path, &self.tokenizer, self.width)?;
                self.growing.insert(shard)
            }
        };
        Ok(shard.push(ids, bytes, documents)?)
    }

    /// Tokens of the growing shard.
    pub(super) fn growing_tokens(&self) -> u64 {
        self.growing.as_ref().map_or(0, ShardWriter::tokens)
    }

    /// Tokens of all shards.
    pub(super) fn tokens(&self) -> u64 {
        let finished: u64 = self.finished.iter().map(|entry| entry.tokens).sum();
        finished + self.growing_tokens()
    }

    /// Finishes the growing shard, if there is one.
    pub(super) fn finish_shard(&mut self) -> Result<Option<&Entry>, PrepareError> {
        let Some(shard) = self.growing.take() else {
            return Ok(None);
        };
        self.finished.push(shard.finish()?);
        Ok(self.finished.last())
    }

    /// Brings everything to the disk and says what there is.
    pub(super) fn state(&mut self) -> Result<PartState, PrepareError> {
        Ok(PartState {
            finished: self.finished.clone(),
            growing: match &mut self.growing {
                Some(shard) => Some(shard.suspend()?),
                None => None,
            },
        })
    }

    /// For the index, once every shard is finished.
    pub(super) fn into_part(self) -> Part {
        Part::of(self.finished).expect("no disk holds 2^64 tokens")
    }
}
