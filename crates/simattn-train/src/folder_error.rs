//! What can be wrong with the folder of a model or a run.

use std::io;
use std::path::{Path, PathBuf};

use simattn::checkpoint::CheckpointError;
use simattn_data::DataError;

use crate::config::RunConfigError;

/// Why a model folder could not be written or read. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Something is where the folder should go.
    #[error("{}: already exists; choose another place or remove it", path.display())]
    Exists {
        /// The place.
        path: PathBuf,
    },
    /// A link to nothing is where the folder should go.
    #[error("{}: a link that leads nowhere; choose another place or remove it", path.display())]
    Dangling {
        /// The place.
        path: PathBuf,
    },
    /// The path cannot name a file.
    #[error("{}: not the name of a file; give one such as results.json", path.display())]
    NamelessFile {
        /// The path.
        path: PathBuf,
    },
    /// The path cannot name a folder.
    #[error("{}: not the name of a folder; give one such as runs/first", path.display())]
    Nameless {
        /// The path.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Another process trains in the folder.
    #[error(
        "{}: another run is in this folder{holder}; wait until it ends, or choose another place",
        path.display()
    )]
    InUse {
        /// The folder.
        path: PathBuf,
        /// Who holds it, as far as that is known: " (process 123)".
        holder: String,
    },
    /// There is no model.
    #[error(
        "{}: no saved model there ({missing} is missing); give the folder that `train` wrote",
        path.display()
    )]
    Missing {
        /// The folder.
        path: PathBuf,
        /// The first file that is not there.
        missing: &'static str,
    },
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] RunConfigError),
    /// The tokenizer is wrong.
    #[error(transparent)]
    Tokenizer(#[from] DataError),
    /// A run that starts from a model was asked to give it another tokenizer.
    #[error(
        "{}: its weights were trained with the tokenizer {own}, and {asked} is another one; \
         leave data.tokenizer out",
        path.display()
    )]
    OtherTokenizer {
        /// The folder.
        path: PathBuf,
        /// The fingerprint of its tokenizer.
        own: String,
        /// What was asked for.
        asked: String,
    },
    /// The weights are wrong.
    #[error(transparent)]
    Weights(#[from] CheckpointError),
    /// A checkpoint in the folder of a run that has not finished is wrong.
    #[error(transparent)]
    Checkpoint(#[from] Box<crate::checkpoint::CheckpointError>),
    /// Configuration and tokenizer do not belong together.
    #[error(
        "{}: the tokenizer has {needed} ids, the model {vocabulary}; they do not belong together",
        path.display()
    )]
    Mismatch {
        /// The folder.
        path: PathBuf,
        /// The model's ids.
        vocabulary: usize,
        /// The tokenizer's ids.
        needed: usize,
    },
}

/// What a failed `action` on `path` is.
pub(crate) fn failed<'a>(
    path: &'a Path,
    action: &'static str,
) -> impl Fn(io::Error) -> FolderError + 'a {
    move |source| FolderError::Io {
        path: path.to_owned(),
        action,
        source,
    }
}
