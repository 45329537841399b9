//! What can be wrong with a configuration, one line each.

use std::path::{Path, PathBuf};

/// A configuration that cannot be used. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum RunConfigError {
    /// The file could not be read.
    #[error("{}: cannot read the configuration: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not the TOML that is expected.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// What is wrong there, and the nearest known name where one is unknown.
        message: String,
    },
    /// A `--set` that cannot be used.
    #[error("--set {text}: {message}")]
    Override {
        /// The override as it was given.
        text: String,
        /// What is wrong with it, and the nearest known name where one is unknown.
        message: String,
    },
    /// A field has a value that it cannot have.
    #[error("{field} is {value}, but must be {allowed}")]
    OutOfRange {
        /// The field with its sections: `train.steps`.
        field: &'static str,
        /// Its value.
        value: String,
        /// The values it may have.
        allowed: &'static str,
    },
    /// The model's description contradicts itself.
    #[error("{0}")]
    Model(simattn::ModelConfigError),
    /// One of the above, found in a file.
    #[error("{}: {error}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        error: Box<RunConfigError>,
    },
    /// A value has no TOML form.
    #[error("the configuration cannot be written as TOML: {message}")]
    Unwritable {
        /// What the writer said.
        message: String,
    },
}

impl RunConfigError {
    /// The same error with the file it was found in; errors that name a file stay as they are.
    pub(crate) fn in_file(self, path: &Path) -> Self {
        match self {
            Self::OutOfRange { .. } | Self::Model(_) | Self::Unwritable { .. } => Self::InFile {
                path: path.to_owned(),
                error: Box::new(self),
            },
            named => named,
        }
    }
}
