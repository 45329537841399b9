//! Several shards as one sequence of tokens.

use super::error::ShardError;
use super::header::Width;
use super::index::{Index, Part};
use super::shard::Shard;
use crate::error::DataError;
use crate::source::{TokenSource, check_range};
use crate::tokenizer::Tokenizer;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Documents' tokens that are decoded at most to learn how many bytes of text a token of other
/// tools' files has.
const SAMPLE: u64 = 1 << 20;

/// Shards one after the other.
#[derive(Debug)]
pub struct TokenShards {
    shards: Vec<Shard>,
    /// Tokens before each shard, and behind the last.
    starts: Vec<u64>,
    bytes: u64,
    documents: u64,
    /// Ids that there are.
    vocabulary: usize,
    /// Known once every shard has been verified.
    digest: OnceLock<[u8; 32]>,
}

impl TokenShards {
    /// The shards that the index of a folder lists for one of its parts; their ids are checked by
    /// [`TokenShards::verify`].
    ///
    /// # Errors
    ///
    /// A shard that cannot be opened, or is not the one that is listed.
    pub fn of_part(folder: &Path, index: &Index, part: &Part) -> Result<Self, ShardError> {
        Ok(Self::join(
            index.open(folder, part)?,
            part.bytes,
            part.documents,
            index.tokenizer.vocabulary,
        ))
    }

    /// Other tools' files; ids without a header are as wide as the tokenizer's vocabulary asks for.
    /// Their text is not known: how many bytes and documents stand behind the tokens is taken from
    /// decoding the first million of them.
    ///
    /// # Errors
    ///
    /// A file that cannot be opened or holds something else, ids that the tokenizer does not have,
    /// or a shard of ours that another tokenizer made.
    pub fn foreign(paths: &[PathBuf], tokenizer: &Tokenizer) -> Result<Self, DataError> {
        let width = Width::for_vocabulary(tokenizer.vocabulary());
        let shards = paths
            .iter()
            .map(|path| Shard::open_bare(path, width))
            .collect::<Result<Vec<_>, _>>()?;
        let fingerprint = tokenizer.fingerprint();
        for shard in &shards {
            if let Some(header) = shard.header()
                && header.tokenizer != fingerprint
            {
                return Err(ShardError::Tokenizer {
                    path: shard.path().to_owned(),
                    found: header.tokenizer.clone(),
                    expected: fingerprint,
                    expected_from: "data.tokenizer".to_owned(),
                }
                .into());
            }
        }
        let all = Self::join(shards, 0, 0, tokenizer.vocabulary());
        all.verify()?;
        let sampled = all.tokens().min(SAMPLE);
        let mut ids = vec![0; sampled as usize];
        all.read(0, &mut ids)?;
        let mut bytes = 0;
        for document in ids.split(|&id| id == tokenizer.end_of_text()) {
            bytes += tokenizer.decode(document)?.len() as u64;
        }
        let ends = ids.iter().filter(|&&id| id == tokenizer.end_of_text());
        let scale = |count: u64| {
            let whole = u128::from(count) * u128::from(all.tokens()) / u128::from(sampled.max(1));
            whole as u64
        };
        let documents = scale(ends.count() as u64).max(1);
        let bytes = scale(bytes);
        Ok(Self {
            bytes,
            documents,
            ..all
        })
    }

    /// Shards of several sets as one.
    pub fn concatenated(sets: Vec<Self>) -> Self {
        let sum = |field: fn(&Self) -> u64| sets.iter().map(field).sum();
        let (bytes, documents) = (sum(|set| set.bytes), sum(|set| set.documents));
        let vocabulary = sets.iter().map(|set| set.vocabulary).max().unwrap_or(0);
        let shards = sets.into_iter().flat_map(|set| set.shards).collect();
        Self::join(shards, bytes, documents, vocabulary)
    }

    fn join(shards: Vec<Shard>, bytes: u64, documents: u64, vocabulary: usize) -> Self {
        let mut starts = vec![0];
        let mut total = 0;
        for shard in &shards {
            total += shard.tokens();
            starts.push(total);
        }
        Self {
            shards,
            starts,
            bytes,
            documents,
            vocabulary,
            digest: OnceLock::new(),
        }
    }

    /// The files.
    pub fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// Reads every file once, several at a time in the current rayon pool: ids against their
    /// checksums and the vocabulary. What has been verified is not read again.
    ///
    /// # Errors
    ///
    /// The first shard, in their order, that [`Shard::verify`] refuses.
    pub fn verify(&self) -> Result<(), ShardError> {
        if self.digest.get().is_some() {
            return Ok(());
        }
        let sums: Vec<Result<[u8; 32], ShardError>> = self
            .shards
            .par_iter()
            .map(|shard| shard.verify(self.vocabulary))
            .collect();
        let mut hasher = Sha256::new();
        for (shard, sum) in self.shards.iter().zip(sums) {
            hasher.update((shard.width().bytes() as u32).to_le_bytes());
            hasher.update(sum?);
        }
        // Whoever was first has come to the same sum.
        let _ = self.digest.set(hasher.finalize().into());
        Ok(())
    }

    /// The ids of each document, without their end of text, in order; one that is not closed comes
    /// last. A document is in memory at a time.
    pub fn read_documents(
        &self,
        end_of_text: u32,
    ) -> impl Iterator<Item = Result<Vec<u32>, DataError>> + '_ {
        let mut at = 0;
        let mut waiting: Vec<u32> = Vec::new();
        std::iter::from_fn(move || {
            loop {
                if let Some(end) = waiting.iter().position(|&id| id == end_of_text) {
                    let rest = waiting.split_off(end + 1);
                    let mut document = std::mem::replace(&mut waiting, rest);
                    document.pop();
                    return Some(Ok(document));
                }
                let count = (self.tokens() - at).min(1 << 16) as usize;
                if count == 0 {
                    let last = std::mem::take(&mut waiting);
                    return (!last.is_empty()).then_some(Ok(last));
                }
                let filled = waiting.len();
                waiting.resize(filled + count, 0);
                if let Err(error) = self.read(at, &mut waiting[filled..]) {
                    return Some(Err(error));
                }
                at += count as u64;
            }
        })
    }
}

impl TokenSource for TokenShards {
    fn tokens(&self) -> u64 {
        self.starts[self.shards.len()]
    }

    fn read(&self, start: u64, ids: &mut [u32]) -> Result<(), DataError> {
        check_range(self.tokens(), start, ids.len())?;
        // The last shard that begins at or before `start`.
        let mut shard = self.starts.partition_point(|&first| first <= start) - 1;
        let (mut at, mut filled) = (start, 0);
        while filled < ids.len() {
            let count = (self.starts[shard + 1] - at).min((ids.len() - filled) as u64) as usize;
            let from = at - self.starts[shard];
            self.shards[shard].read(from, &mut ids[filled..filled + count])?;
            filled += count;
            at += count as u64;
            shard += 1;
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn documents(&self) -> u64 {
        self.documents
    }

    fn digest(&self) -> Result<[u8; 32], DataError> {
        self.verify()?;
        // Set by every `verify` that succeeds.
        Ok(self.digest.get().copied().unwrap_or_default())
    }
}
