//! Why a run breaks off.

use std::path::PathBuf;

use crate::checkpoint::CheckpointError;
use crate::config::RunConfigError;
use crate::error::TrainError;
use crate::folder_error::FolderError;

/// Why a run broke off. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// A step could not be made.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// The folder of the run cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The configuration cannot be written.
    #[error(transparent)]
    Config(#[from] RunConfigError),
    /// The trainer does not fit the checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The last state could not be saved.
    #[error("step {step} could not be saved: {source}; {}", last_good(kept))]
    NotSaved {
        /// The step.
        step: u64,
        /// What the system said.
        source: Box<CheckpointError>,
        /// The newest checkpoint that there is.
        kept: Option<PathBuf>,
    },
    /// The folder is gone or another's, so that nothing could be saved.
    #[error(
        "step {step} could not be saved: {}: the folder was removed or taken by another run; \
         start again with another --out",
        path.display()
    )]
    NoFolder {
        /// The step.
        step: u64,
        /// Where it was.
        path: PathBuf,
    },
}

/// Which checkpoint there is to go on from.
pub(super) fn last_good(kept: &Option<PathBuf>) -> String {
    match kept {
        Some(path) => format!("the newest checkpoint is {}", path.display()),
        None => "there is no checkpoint".to_owned(),
    }
}
