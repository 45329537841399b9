//! The tokenizer that a run keeps: ids mean to its weights what they meant when it began.

use std::path::PathBuf;

use simattn_data::{DataError, Tokenizer, TokenizerSpec};

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::DataConfig;
use crate::resume::ResumeError;

/// The tokenizer of a checkpoint, for the run that continues from it.
#[derive(Clone, Debug)]
pub struct KeptTokenizer {
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The file that it was read from.
    pub path: PathBuf,
}

impl KeptTokenizer {
    /// Reads the tokenizer of a checkpoint, and refuses a configuration that names another one.
    ///
    /// What has to be learnt (`bpe:N`) is not learnt again: it is the checkpoint's where that was
    /// asked for in the same words, and another one otherwise. A `tokenizer.json` is compared by
    /// what it says, not by its path. Folders of token ids have tokenizers of their own, which
    /// overrule "bytes" and `bpe:N`; [`Dataset::prepare_with`](crate::Dataset::prepare_with)
    /// compares them.
    ///
    /// # Errors
    ///
    /// [`ResumeError::Tokenizer`] for another one, [`ResumeError::Checkpoint`] and
    /// [`ResumeError::Data`] for a file that cannot be read.
    pub fn of(checkpoint: &Checkpoint, data: &DataConfig) -> Result<Self, ResumeError> {
        let path = checkpoint.tokenizer();
        let tokenizer = Tokenizer::from_file(&path).map_err(CheckpointError::from)?;
        let kept = Self { tokenizer, path };
        let before = &checkpoint.config.data.tokenizer;
        let asked = &data.tokenizer;
        let other = match asked {
            TokenizerSpec::File(path) => match Tokenizer::from_file(path) {
                Ok(found) => kept.differs(&found),
                // The run has a copy of its own.
                Err(DataError::Missing { .. }) if asked == before => None,
                Err(error) => return Err(error.into()),
            },
            same if same == before => None,
            _ if data.is_of_ids() => None,
            TokenizerSpec::Bytes => kept.differs(&Tokenizer::bytes()),
            TokenizerSpec::Bpe { .. } => Some("not learnt yet".to_owned()),
        };
        match other {
            None => Ok(kept),
            Some(found) => Err(ResumeError::Tokenizer {
                path: checkpoint.folder.clone(),
                kept: kept.tokenizer.fingerprint(),
                asked: asked.to_string(),
                found,
            }),
        }
    }

    /// What another tokenizer is known by; nothing where it is this one.
    fn differs(&self, other: &Tokenizer) -> Option<String> {
        let found = other.fingerprint();
        (found != self.tokenizer.fingerprint()).then_some(found)
    }
}
