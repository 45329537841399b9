//! Why text could not be prepared.

use crate::error::DataError;
use crate::reading::ReadError;
use crate::shards::ShardError;
use std::path::PathBuf;
use thiserror::Error;

/// Everything that preparing can refuse, or that can go wrong on the way. `Display` is one line.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// No input file was found.
    #[error("{input}: {problem}")]
    Input {
        /// What was given.
        input: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A line or row cannot be read, and that is not to be passed over.
    #[error("{place}: {problem}; correct it, or leave such lines out with --on-bad-input skip")]
    BadInput {
        /// The file, and the line or row, from 1.
        place: String,
        /// What is wrong.
        problem: String,
    },
    /// A setting out of its range.
    #[error("{name} of {value}: choose {range}")]
    OutOfRange {
        /// Which.
        name: &'static str,
        /// What was asked for.
        value: String,
        /// What may be.
        range: &'static str,
    },
    /// The folder is not free, and not one of ours.
    #[error("{path}: already exists and was not begun by prepare; choose another folder", path = path.display())]
    Taken {
        /// The folder.
        path: PathBuf,
    },
    /// The folder cannot be made or written to.
    #[error(
        "{path}: cannot be used for shards: {problem}; choose another folder",
        path = path.display()
    )]
    Place {
        /// The folder, or what is in its way.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// The folder is finished.
    #[error("{path}: already prepared; remove it to prepare it again", path = path.display())]
    Finished {
        /// The folder.
        path: PathBuf,
    },
    /// The folder was begun by a different job.
    #[error(
        "{path}: begun with {field} {before}, not {now}; repeat the command as it was, or remove the folder",
        path = path.display()
    )]
    OtherJob {
        /// The folder.
        path: PathBuf,
        /// What differs.
        field: &'static str,
        /// As it was.
        before: String,
        /// As it is asked for.
        now: String,
    },
    /// Another process works there.
    #[error(
        "{path}: another process is preparing this folder; wait for it, or choose another folder",
        path = path.display()
    )]
    Held {
        /// The folder.
        path: PathBuf,
    },
    /// The journal cannot be understood, or is not as it was written.
    #[error(
        "{path}: cannot be continued ({problem}); remove the folder and start again",
        path = path.display()
    )]
    Journal {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// No document in any input.
    #[error("no document was found in {files} files; give files with text in them")]
    NoDocuments {
        /// Files that were read.
        files: usize,
    },
    /// The observer ended the work.
    #[error("stopped; the same command continues after the last finished shard")]
    Stopped,
    /// The system refused to read or write.
    #[error("{path}: {problem}", path = path.display())]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        problem: String,
    },
    /// A shard of an unfinished folder is not as it was written.
    #[error("{source}; to start again, remove {path}", path = path.display())]
    Unsound {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        source: ShardError,
    },
    /// A shard cannot be written.
    #[error(transparent)]
    Shard(#[from] ShardError),
    /// The tokenizer failed on a text.
    #[error("{place}: {problem}; remove the text, or use another tokenizer")]
    Tokenizer {
        /// The file, and the line or row of the document, or the one behind it.
        place: String,
        /// What it says.
        problem: String,
    },
    /// Something else is wrong with the data.
    #[error(transparent)]
    Data(#[from] DataError),
}

impl PrepareError {
    /// Whether the user can correct it; everything else failed on the way.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Shard(error) | Self::Unsound { source: error, .. } => error.is_input(),
            Self::Stopped | Self::System { .. } => false,
            _ => true,
        }
    }

    pub(super) fn system(path: &std::path::Path, error: &std::io::Error) -> Self {
        Self::System {
            path: path.to_owned(),
            problem: error.to_string(),
        }
    }
}

impl From<ReadError> for PrepareError {
    fn from(error: ReadError) -> Self {
        let input = |path: PathBuf, problem: &str| Self::Input {
            input: path.display().to_string(),
            problem: problem.to_owned(),
        };
        match error {
            ReadError::Missing(path) => input(path, "no such file or folder; check the path"),
            ReadError::Nothing(path) => input(
                path,
                "no text, JSON lines or Parquet file there; check the path",
            ),
            ReadError::Input { input, problem } => Self::Input { input, problem },
            ReadError::Bad { place, problem } => Self::BadInput { place, problem },
            ReadError::System { path, problem } => Self::System { path, problem },
        }
    }
}
