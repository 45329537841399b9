//! What can be wrong with a checkpoint, one line each.

use std::io;
use std::path::{Path, PathBuf};

use simattn_data::DataError;

use crate::config::RunConfigError;
use crate::tensors::TensorError;

/// A checkpoint that could not be written or cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
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
    /// A file is not there.
    #[error("{}: the checkpoint is incomplete: {file} is missing", path.display())]
    Missing {
        /// The checkpoint.
        path: PathBuf,
        /// The file.
        file: &'static str,
    },
    /// A file is not what was written.
    #[error("{}: the checkpoint is damaged: {file} {why}", path.display())]
    Damaged {
        /// The checkpoint.
        path: PathBuf,
        /// The file.
        file: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Written by a newer version.
    #[error(
        "{}: the checkpoint has format {format}, written by {tool}; this version reads up to {}",
        path.display(),
        super::state::FORMAT
    )]
    Newer {
        /// The checkpoint.
        path: PathBuf,
        /// Its format.
        format: u32,
        /// Who wrote it.
        tool: String,
    },
    /// The configuration in it is wrong.
    #[error(transparent)]
    Config(#[from] RunConfigError),
    /// The tokenizer in it, or its position in the data, is wrong.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The weights do not fit.
    #[error(transparent)]
    Weights(#[from] simattn::checkpoint::CheckpointError),
    /// What the optimiser remembers does not fit.
    #[error(transparent)]
    Optimizer(#[from] TensorError),
    /// The thread that was saving broke off.
    #[error("the thread that saved step {step} failed; this is a bug")]
    Lost {
        /// The step.
        step: u64,
    },
}

/// A way to name an [`CheckpointError::Io`].
pub(super) fn failed<'a>(
    path: &'a Path,
    action: &'static str,
) -> impl Fn(io::Error) -> CheckpointError + 'a {
    move |source| CheckpointError::Io {
        path: path.to_owned(),
        action,
        source,
    }
}
