//! Folder → checkpoint, every byte compared with its sum first.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use simattn::Decoder;

use super::error::{CheckpointError, failed};
use super::state::{FORMAT, State};
use super::{CONFIG, OPTIMIZER, STATE, SUMMED, TEXT, TOKENIZER, WEIGHTS, agreement, list, sums};
use crate::config::{RunConfig, parse_document};
use crate::tensors::TensorFile;

/// A checkpoint whose bytes are those that were written.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Where it lies.
    pub folder: PathBuf,
    /// What it knows besides tensors.
    pub state: State,
    /// The configuration of the run, its vocabulary filled in.
    pub config: RunConfig,
}

/// What [`newest_intact`] found on its way.
#[derive(Debug)]
pub struct Found {
    /// The newest checkpoint that can be used.
    pub checkpoint: Option<Checkpoint>,
    /// Newer ones that cannot, newest first.
    pub unusable: Vec<(PathBuf, CheckpointError)>,
}

impl Checkpoint {
    /// Reads a checkpoint, compares all its files with their sums, and what they say with each
    /// other.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] with the first file that is missing, changed, not understood or at odds
    /// with the others.
    pub fn open(folder: &Path) -> Result<Self, CheckpointError> {
        sums::verify(folder, &SUMMED)?;
        Self::read(folder)
    }

    /// As [`Self::open`], but of the tensors it looks at the head and the length alone, so that it
    /// costs nothing however large they are.
    ///
    /// # Errors
    ///
    /// As [`Self::open`].
    pub fn glance(folder: &Path) -> Result<Self, CheckpointError> {
        sums::verify(folder, &[CONFIG, STATE, TOKENIZER])?;
        Self::read(folder)
    }

    fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let text = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(failed(&path, "read"))
        };
        let state: State =
            serde_json::from_str(&text(STATE)?).map_err(|error| CheckpointError::Damaged {
                path: folder.to_owned(),
                file: STATE,
                why: format!("is not understood ({error})"),
            })?;
        if state.format > FORMAT {
            return Err(CheckpointError::Newer {
                path: folder.to_owned(),
                format: state.format,
                tool: state.tool,
            });
        }
        let path = folder.join(CONFIG);
        let config: RunConfig = parse_document(&text(CONFIG)?, &path)?;
        config.validate().map_err(|error| error.in_file(&path))?;
        agreement::check(folder, &state, &config)?;
        Ok(Self {
            folder: folder.to_owned(),
            state,
            config,
        })
    }

    /// The model with the checkpoint's weights on `device`, as `config` describes it.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Weights`] where `config` describes another model.
    pub fn decoder(&self, config: &RunConfig, device: &Device) -> Result<Decoder, CheckpointError> {
        let path = self.folder.join(WEIGHTS);
        Ok(simattn::checkpoint::load(&config.model, &path, device)?)
    }

    /// What the optimiser remembered.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Optimizer`] where the file cannot be read.
    pub fn optimizer(&self) -> Result<TensorFile, CheckpointError> {
        Ok(TensorFile::read(&self.folder.join(OPTIMIZER))?)
    }

    /// One of its small files, as text.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] where it cannot be read.
    pub fn text(&self, name: &str) -> Result<String, CheckpointError> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(failed(&path, "read"))
    }

    /// Its `text.json`; nothing where it has none.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`] where it cannot be read.
    pub fn text_settings(&self) -> Result<String, CheckpointError> {
        match self.folder.join(TEXT).exists() {
            true => self.text(TEXT),
            false => Ok(String::new()),
        }
    }

    /// The file of its weights.
    pub fn weights(&self) -> PathBuf {
        self.folder.join(WEIGHTS)
    }

    /// The file of its tokenizer.
    pub fn tokenizer(&self) -> PathBuf {
        self.folder.join(TOKENIZER)
    }
}

/// The newest checkpoint of a run that can be used, and the newer ones that cannot.
///
/// # Errors
///
/// [`CheckpointError::Io`] where the folder cannot be listed.
pub fn newest_intact(run: &Path) -> Result<Found, CheckpointError> {
    let mut unusable = Vec::new();
    let all = list(run).map_err(failed(run, "read the folder"))?;
    for (_, folder) in all.into_iter().rev() {
        match Checkpoint::open(&folder) {
            Ok(checkpoint) => {
                return Ok(Found {
                    checkpoint: Some(checkpoint),
                    unusable,
                });
            }
            Err(error) => unusable.push((folder, error)),
        }
    }
    Ok(Found {
        checkpoint: None,
        unusable,
    })
}
