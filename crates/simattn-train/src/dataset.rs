//! From a data configuration to tokens that are ready to train on.

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use simattn::ModelConfig;
use simattn_data::{Corpus, DataError, TokenSet, Tokenizer};

use crate::checkpoint::hexadecimal;
use crate::config::{DataConfig, RunConfig};
use crate::error::TrainError;

/// A corpus as tokens, with the tokeniser that made them.
#[derive(Debug)]
pub struct Dataset {
    /// Where the text came from: "tales", or the path.
    pub name: String,
    /// The tokeniser.
    pub tokenizer: Tokenizer,
    /// Tokens to train on.
    pub train: Arc<TokenSet>,
    /// Tokens of the documents that were held out.
    pub validation: Arc<TokenSet>,
}

/// Which tokens a run learns from, so that one that goes on can tell whether they are still those.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Tokens to train on.
    pub train_tokens: u64,
    /// Tokens held out.
    pub validation_tokens: u64,
    /// The SHA-256 of their ids, the training part first, each as four bytes, little-endian.
    pub sha256: String,
}

impl Dataset {
    /// Which tokens these are.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hasher = Sha256::new();
        for part in [&self.train, &self.validation] {
            for piece in part.ids.chunks(1 << 14) {
                let bytes: Vec<u8> = piece.iter().flat_map(|id| id.to_le_bytes()).collect();
                hasher.update(bytes);
            }
        }
        Fingerprint {
            train_tokens: self.train.ids.len() as u64,
            validation_tokens: self.validation.ids.len() as u64,
            sha256: hexadecimal(hasher),
        }
    }

    /// Reads or generates the text, builds the tokeniser and encodes both parts.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the text or the tokeniser.
    pub fn prepare(config: &DataConfig, seed: u64) -> Result<Self, DataError> {
        let corpus = match config.source.as_str() {
            "tales" => Corpus::tales(
                seed,
                config.tales_train_bytes,
                config.tales_validation_bytes,
            )?,
            path => Corpus::from_path(Path::new(path), config.validation_fraction, seed)?,
        };
        let tokenizer = config.tokenizer.build(&corpus)?;
        let train = Arc::new(tokenizer.encode_documents(&corpus.train)?);
        let validation = Arc::new(tokenizer.encode_documents(&corpus.validation)?);
        Ok(Self {
            name: corpus.name,
            tokenizer,
            train,
            validation,
        })
    }

    /// `model` with its vocabulary taken from the tokeniser where it is 0.
    ///
    /// # Errors
    ///
    /// [`TrainError::SmallVocabulary`] where it is given and too small.
    pub fn fit_vocabulary(&self, model: &ModelConfig) -> Result<ModelConfig, TrainError> {
        fit_vocabulary(model, self.tokenizer.vocabulary())
    }

    /// `config` as a model trained on this data carries it: with its vocabulary filled in.
    ///
    /// # Errors
    ///
    /// As [`Self::fit_vocabulary`].
    pub fn complete(&self, config: &RunConfig) -> Result<RunConfig, TrainError> {
        Ok(RunConfig {
            model: self.fit_vocabulary(&config.model)?,
            ..config.clone()
        })
    }
}

/// `model` with a vocabulary of at least `needed` ids.
fn fit_vocabulary(model: &ModelConfig, needed: usize) -> Result<ModelConfig, TrainError> {
    let vocabulary = match model.vocabulary {
        0 => needed,
        given if given < needed => {
            return Err(TrainError::SmallVocabulary {
                vocabulary: given,
                needed,
            });
        }
        given => given,
    };
    Ok(ModelConfig {
        vocabulary,
        ..model.clone()
    })
}
