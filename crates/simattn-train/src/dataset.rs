//! From a data configuration to tokens that are ready to train on.

use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use simattn::ModelConfig;
use simattn_data::shards::{
    INDEX, Index, ShardError, TOKENIZER, TokenShards, foreign_folder, is_foreign_folder,
    is_prepared,
};
use simattn_data::{
    Corpus, DataError, Loader, TextSettings, TokenSource, Tokenizer, TokenizerSpec, Weighted,
};

use crate::config::{DataConfig, RunConfig, SourceConfig, TALES};
use crate::error::TrainError;
use crate::evaluate::Validation;
use crate::fingerprint::{Fingerprint, hexadecimal};
use crate::kept_tokenizer::KeptTokenizer;

/// A corpus as tokens, with the tokenizer that made them.
#[derive(Debug)]
pub struct Dataset {
    /// Where the text came from: "tales", or the path.
    pub name: String,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// What ends the texts of a model trained on it, and its chat templates: empty, unless it
    /// starts from a model that has them, or the tokenizer does not say itself what ends a
    /// document.
    pub text: TextSettings,
    /// Tokens to train on, one source or several.
    pub train: Vec<Weighted>,
    /// Tokens of the documents that were held out.
    pub validation: Arc<dyn TokenSource>,
    /// What the user should know: what was passed over in a folder of text, and what
    /// was left out of training.
    pub notes: Vec<String>,
}

impl Dataset {
    /// Tokens to train on, of all sources.
    pub fn train_tokens(&self) -> u64 {
        self.train.iter().map(|part| part.source.tokens()).sum()
    }

    /// Which tokens these are.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or does not match its checksum.
    pub fn fingerprint(&self) -> Result<Fingerprint, DataError> {
        let mut hasher = Sha256::new();
        for part in &self.train {
            hasher.update(part.source.digest()?);
            hasher.update(part.weight.to_le_bytes());
        }
        hasher.update(self.validation.digest()?);
        Ok(Fingerprint {
            train_tokens: self.train_tokens(),
            validation_tokens: self.validation.tokens(),
            sha256: hexadecimal(hasher),
        })
    }

    /// Reads or generates the text, builds the tokenizer and encodes both parts; or opens folders
    /// of token ids, and checks every file of them.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with the text, the tokenizer or the token files.
    pub fn prepare(config: &DataConfig, seed: u64) -> Result<Self, DataError> {
        Self::prepare_with(config, seed, None)
    }

    /// The same with the tokenizer that a run keeps when it continues from a checkpoint: text is
    /// encoded with that one, and folders of token ids must be by it.
    ///
    /// # Errors
    ///
    /// As [`Self::prepare`]; [`ShardError::Tokenizer`] for a folder by another tokenizer.
    pub fn prepare_with(
        config: &DataConfig,
        seed: u64,
        kept: Option<&KeptTokenizer>,
    ) -> Result<Self, DataError> {
        if !config.sources.is_empty() {
            return Self::open(&config.sources, &config.tokenizer, kept);
        }
        let path = Path::new(&config.source);
        if config.source != TALES && (is_prepared(path) || is_foreign_folder(path)) {
            let only = SourceConfig {
                path: config.source.clone(),
                weight: 1.0,
            };
            return Self::open(&[only], &config.tokenizer, kept);
        }
        let corpus = match config.source.as_str() {
            TALES => Corpus::tales(
                seed,
                config.tales_train_bytes,
                config.tales_validation_bytes,
            )?,
            _ => Corpus::from_path(path, config.validation_fraction, seed)?,
        };
        let tokenizer = match kept {
            Some(kept) => kept.tokenizer.clone(),
            None => config.tokenizer.build(&corpus)?,
        };
        let train = tokenizer.encode_documents(&corpus.train)?;
        let validation = tokenizer.encode_documents(&corpus.validation)?;
        Ok(Self {
            name: corpus.name,
            text: text_of(&tokenizer),
            tokenizer,
            train: vec![Weighted {
                source: Arc::new(train),
                weight: 1.0,
            }],
            validation: Arc::new(validation),
            notes: corpus.notes,
        })
    }

    /// Folders of token ids, all by one tokenizer.
    fn open(
        sources: &[SourceConfig],
        asked: &TokenizerSpec,
        kept: Option<&KeptTokenizer>,
    ) -> Result<Self, DataError> {
        let mut tokenizer: Option<(Tokenizer, String)> = match (kept, asked) {
            (Some(kept), _) => Some((kept.tokenizer.clone(), kept.path.display().to_string())),
            (None, TokenizerSpec::File(path)) => {
                let origin = path.display().to_string();
                Some((Tokenizer::from_file(path)?, origin))
            }
            // The default, which a folder with a tokenizer of its own overrules.
            (None, TokenizerSpec::Bytes | TokenizerSpec::Bpe { .. }) => None,
        };
        // Whether anything says whose ids those are of a folder that does not say so itself.
        let mut said = matches!(asked, TokenizerSpec::File(_));
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for SourceConfig { path, weight } in sources {
            let folder = Path::new(path);
            let parts = if is_prepared(folder) {
                said = true;
                open_prepared(folder, &mut tokenizer)?
            } else if is_foreign_folder(folder) {
                let asked = || DataError::TokenizerSpec {
                    text: asked.to_string(),
                    problem: format!(
                        "{path} holds ids of another tool and does not say whose they are"
                    ),
                };
                let known = tokenizer.as_ref().filter(|_| said);
                let (tokenizer, _) = known.ok_or_else(asked)?;
                let (train, validation) = foreign_folder(folder)?;
                let open = |paths: &[_]| TokenShards::foreign(paths, tokenizer);
                (open(&train)?, open(&validation)?)
            } else {
                return Err(ShardError::NoPart {
                    path: folder.to_owned(),
                    part: "training",
                    hint: "data.sources takes folders that `simattn prepare` made; prepare the text first",
                }
                .into());
            };
            train.push(Weighted {
                source: Arc::new(parts.0),
                weight: *weight,
            });
            validation.push(parts.1);
        }
        let (tokenizer, _) = tokenizer.ok_or(DataError::NoText)?;
        let paths: Vec<&str> = sources.iter().map(|source| source.path.as_str()).collect();
        Ok(Self {
            name: paths.join(", "),
            text: text_of(&tokenizer),
            tokenizer,
            train,
            validation: Arc::new(TokenShards::concatenated(validation)),
            notes: Vec::new(),
        })
    }

    /// Refuses text that a trainer would refuse, without a model: too little of it for one window
    /// to train on in each source and one to validate on.
    ///
    /// # Errors
    ///
    /// [`DataError::TextTooShort`] and what else keeps windows from being cut.
    pub fn check_windows(&self, config: &RunConfig) -> Result<(), DataError> {
        let (batch, context) = (config.train.batch, config.model.context);
        Loader::mixed(self.train.clone(), batch, context, config.seed)?;
        let windows = batch * config.train.evaluation_batches;
        Validation::new(&*self.validation, batch, context, windows).map(drop)
    }

    /// `model` with its vocabulary taken from the tokenizer where it is 0.
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

/// What has to stand beside a tokenizer so that it is the same when it is read back.
fn text_of(tokenizer: &Tokenizer) -> TextSettings {
    if tokenizer.names_end_of_text() {
        TextSettings::default()
    } else {
        TextSettings::ending_with(tokenizer.end_of_text())
    }
}

/// Both parts of a prepared folder, every file checked; its tokenizer must be the one known so far,
/// or becomes it.
fn open_prepared(
    folder: &Path,
    tokenizer: &mut Option<(Tokenizer, String)>,
) -> Result<(TokenShards, TokenShards), DataError> {
    let index = Index::read(folder)?;
    let differs = |expected: &str, from: &str| ShardError::Tokenizer {
        path: folder.join(INDEX),
        found: index.tokenizer.fingerprint.clone(),
        expected: expected.to_owned(),
        expected_from: from.to_owned(),
    };
    match tokenizer {
        Some((known, origin)) => {
            let known = known.fingerprint();
            if known != index.tokenizer.fingerprint {
                return Err(differs(&known, origin).into());
            }
        }
        None => {
            let path = folder.join(TOKENIZER);
            let text = TextSettings::ending_with(index.tokenizer.end_of_text);
            let own = Tokenizer::from_file_with(&path, &text)?;
            let origin = path.display().to_string();
            if own.fingerprint() != index.tokenizer.fingerprint {
                return Err(differs(&own.fingerprint(), &origin).into());
            }
            *tokenizer = Some((own, origin));
        }
    }
    let vocabulary = tokenizer.as_ref().map(|(known, _)| known.vocabulary());
    if let Some(vocabulary) = vocabulary
        && vocabulary != index.tokenizer.vocabulary
    {
        return Err(ShardError::Index {
            path: folder.join(INDEX),
            problem: format!(
                "a vocabulary of {}, its tokenizer has {vocabulary} ids",
                index.tokenizer.vocabulary
            ),
        }
        .into());
    }
    for (part, name) in [
        (&index.train, "training"),
        (&index.validation, "validation"),
    ] {
        if part.shards.is_empty() {
            return Err(ShardError::NoPart {
                path: folder.to_owned(),
                part: name,
                hint: "prepare the text again with --validation, or another --validation-fraction or --seed",
            }
            .into());
        }
    }
    let open = |part| -> Result<TokenShards, DataError> {
        let set = TokenShards::of_part(folder, &index, part)?;
        set.verify()?;
        Ok(set)
    };
    Ok((open(&index.train)?, open(&index.validation)?))
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
