//! What keeps a file from being read, before it is known who asked for it.

use crate::error::DataError;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// Why an input cannot be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// Nothing lies at the path.
    Missing(PathBuf),
    /// A folder or pattern without a file that is read.
    Nothing(PathBuf),
    /// What was given is nothing that can be read.
    Input { input: String, problem: String },
    /// A line or row cannot be read.
    Bad { place: String, problem: String },
    /// The system refused in the middle.
    System { path: PathBuf, problem: String },
}

impl ReadError {
    pub(crate) fn input(path: &Path, problem: impl Into<String>) -> Self {
        Self::Input {
            input: path.display().to_string(),
            problem: problem.into(),
        }
    }

    /// The system would not say what lies at a path, or would not open it: the one who asked can
    /// put that right.
    pub(crate) fn opening(path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound => Self::Missing(path.to_owned()),
            _ => Self::input(path, error.to_string()),
        }
    }

    pub(crate) fn system(path: &Path, error: &io::Error) -> Self {
        Self::System {
            path: path.to_owned(),
            problem: error.to_string(),
        }
    }
}

impl From<ReadError> for DataError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Missing(path) => Self::Missing { path },
            ReadError::Nothing(path) if path.is_dir() => Self::EmptyFolder { path },
            ReadError::Nothing(path) => Self::NoInput {
                input: path.display().to_string(),
                problem: "no file of a supported kind matches; check the path".to_owned(),
            },
            ReadError::Input { input, problem } => Self::NoInput { input, problem },
            ReadError::Bad { place, problem } => Self::BadLine { place, problem },
            ReadError::System { path, problem } => Self::Unreadable { path, problem },
        }
    }
}
