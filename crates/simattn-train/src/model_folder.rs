//! A saved model: a folder with `model.safetensors`, `config.toml` and `tokenizer.json`.
//!
//! The folder appears whole or not at all: it is written under another name beside its place,
//! flushed to the disk, and renamed. The folder of a run is one too, with more in it: its model is
//! the finished one, or that of its newest checkpoint while there is none.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use simattn::{Decoder, ModelConfig};
use simattn_data::{TEXT_SETTINGS, TextSettings, Tokenizer, TokenizerSpec};

use crate::checkpoint::{self, CONFIG, Checkpoint, TOKENIZER, WEIGHTS, newest_intact};
use crate::config::{Override, RunConfig};
pub use crate::folder_error::FolderError;
pub use crate::reservation::{FileReservation, Reservation, replace};

/// What a model folder holds.
#[derive(Debug)]
pub struct SavedModel {
    /// The configuration it was trained with, its vocabulary filled in.
    pub config: RunConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// What ends its texts, and its chat templates, as far as it was imported with any.
    pub text: TextSettings,
    /// Its weights.
    pub decoder: Decoder,
}

impl Reservation {
    /// Writes the model and moves it to its place.
    ///
    /// `metadata` goes into the head of the weights' file.
    ///
    /// # Errors
    ///
    /// [`FolderError`] where something cannot be written, or where the place was taken meanwhile.
    pub fn save(
        self,
        config: &RunConfig,
        tokenizer: &Tokenizer,
        decoder: &Decoder,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), FolderError> {
        self.save_with(config, tokenizer.to_json().as_bytes(), decoder, metadata)
    }

    /// The same with a `tokenizer.json` as it is, byte for byte.
    ///
    /// # Errors
    ///
    /// As [`Reservation::save`].
    pub fn save_with(
        self,
        config: &RunConfig,
        tokenizer_json: &[u8],
        decoder: &Decoder,
        metadata: &BTreeMap<String, String>,
    ) -> Result<(), FolderError> {
        self.write(CONFIG, config.to_toml()?.as_bytes())?;
        self.write(TOKENIZER, tokenizer_json)?;
        simattn::checkpoint::save(decoder, &self.unfinished.join(WEIGHTS), metadata)?;
        self.publish()
    }

    /// Writes what a model's texts end with and its chat templates, where anything is known.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`] where it cannot be written.
    pub fn write_text(&self, text: &TextSettings) -> Result<(), FolderError> {
        if text.is_empty() {
            Ok(())
        } else {
            self.write(TEXT_SETTINGS, text.to_json().as_bytes())
        }
    }
}

/// Reads a model folder onto `device`: one that `train` wrote, a checkpoint (whose sums are
/// compared first), or the newest usable checkpoint of a run that has not finished.
///
/// # Errors
///
/// The first defect: a missing file, a configuration, tokenizer or weights that cannot be read or
/// do not belong together, a weight that is not finite.
pub fn load(folder: &Path, device: &Device) -> Result<SavedModel, FolderError> {
    if folder.join(checkpoint::SUMS).exists() || folder.join(checkpoint::STATE).exists() {
        Checkpoint::open(folder).map_err(Box::new)?;
    } else if !folder.join(WEIGHTS).exists() && folder.is_dir() {
        let found = newest_intact(folder).map_err(Box::new)?;
        match (found.checkpoint, found.unusable.into_iter().next()) {
            (Some(checkpoint), _) => return load_files(&checkpoint.folder, device),
            (None, Some((_, error))) => return Err(Box::new(error).into()),
            (None, None) => {}
        }
    }
    load_files(folder, device)
}

fn load_files(folder: &Path, device: &Device) -> Result<SavedModel, FolderError> {
    check_whole(folder)?;
    let config = RunConfig::from_file(&folder.join(CONFIG))?;
    let text = TextSettings::from_folder(folder, config.model.vocabulary)?;
    let tokenizer = Tokenizer::from_file_with(folder.join(TOKENIZER), &text)?;
    let (vocabulary, needed) = (config.model.vocabulary, tokenizer.vocabulary());
    if vocabulary < needed {
        return Err(FolderError::Mismatch {
            path: folder.to_owned(),
            vocabulary,
            needed,
        });
    }
    let weights = folder.join(WEIGHTS);
    let decoder = simattn::checkpoint::load_finite(&config.model, &weights, device)?;
    Ok(SavedModel {
        config,
        tokenizer,
        text,
        decoder,
    })
}

/// The configuration of a run that starts from a saved model: `file` with `overrides`, but the form
/// and the tokenizer are the model's. Of the file's `[model]`, which may be left out, only the
/// context counts.
///
/// # Errors
///
/// A missing file, or a configuration that cannot be read.
pub fn start_from(
    folder: &Path,
    file: &Path,
    overrides: &[Override],
) -> Result<RunConfig, FolderError> {
    check_whole(folder)?;
    let saved = RunConfig::from_file(&folder.join(CONFIG))?.model;
    let mut config = RunConfig::from_file_over(file, &saved, overrides)?;
    let context = config.model.context;
    config.model = ModelConfig { context, ..saved };
    let own = folder.join(TOKENIZER);
    let asked = std::mem::replace(&mut config.data.tokenizer, TokenizerSpec::File(own.clone()));
    // A configuration may be written for other models too; what is asked for here is meant.
    if overrides
        .iter()
        .any(|replaced| replaced.replaces("data.tokenizer"))
    {
        let same = match &asked {
            TokenizerSpec::Bytes => Some(Tokenizer::bytes()),
            TokenizerSpec::File(path) => Some(Tokenizer::from_file(path)?),
            TokenizerSpec::Bpe { .. } => None,
        };
        let own = Tokenizer::from_file(&own)?.fingerprint();
        if same.is_none_or(|same| same.fingerprint() != own) {
            return Err(FolderError::OtherTokenizer {
                path: folder.to_owned(),
                own,
                asked: asked.to_string(),
            });
        }
    }
    Ok(config)
}

/// A saved model's weights as a model of `config`, which [`start_from`] made.
///
/// # Errors
///
/// Weights that are damaged, not finite, or belong to another configuration.
pub fn load_weights(
    folder: &Path,
    config: &ModelConfig,
    device: &Device,
) -> Result<Decoder, FolderError> {
    let weights = folder.join(WEIGHTS);
    Ok(simattn::checkpoint::load_finite(config, &weights, device)?)
}

/// Whether a model folder has all of its files.
fn check_whole(folder: &Path) -> Result<(), FolderError> {
    for missing in [CONFIG, TOKENIZER, WEIGHTS] {
        if !folder.join(missing).is_file() {
            return Err(FolderError::Missing {
                path: folder.to_owned(),
                missing,
            });
        }
    }
    Ok(())
}
