//! Why a study cannot begin or go on.

use std::io;
use std::path::{Path, PathBuf};

use simattn_train::model_folder::FolderError;
use simattn_train::{Change, ResumeError, SessionError, TrainError};
use thiserror::Error;

/// Why a study cannot begin or go on. `Display` is one line.
#[derive(Debug, Error)]
pub(crate) enum StudyError {
    /// Its folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A run of it cannot be continued.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// A run of it broke off, and not because of its numbers.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// A model that cannot be trained at all.
    #[error(transparent)]
    Train(#[from] TrainError),
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
    /// A file of a study that cannot be understood.
    #[error("{}: is not understood ({why})", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A later version began the study.
    #[error("{}: simattn {tool} wrote it, in layout {format}; use that version", path.display())]
    Newer {
        /// The plan.
        path: PathBuf,
        /// Its layout.
        format: u32,
        /// The version.
        tool: String,
    },
    /// The folder holds a study with another plan.
    #[error(
        "{}: holds another study: {change}; repeat the command that began it, or choose another \
         --name or --out",
        path.display()
    )]
    Differs {
        /// The folder.
        path: PathBuf,
        /// The first difference.
        change: Change,
    },
    /// Costs of steps that were measured for another plan, or not at all.
    #[error("--costs {}: {why}", path.display())]
    Costs {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl StudyError {
    /// Whether the user can put it right.
    pub(crate) fn is_input(&self) -> bool {
        match self {
            Self::Folder(error) => !matches!(error, FolderError::Io { .. }),
            Self::Resume(_)
            | Self::Newer { .. }
            | Self::Damaged { .. }
            | Self::Differs { .. }
            | Self::Costs { .. } => true,
            Self::Session(_) | Self::Train(_) | Self::Io { .. } => false,
        }
    }
}

/// What the system said, for `map_err`.
pub(super) fn io_failed(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> StudyError {
    let path = path.to_owned();
    move |source| StudyError::Io {
        path,
        action,
        source,
    }
}
