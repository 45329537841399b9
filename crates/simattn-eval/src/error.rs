//! What can be wrong with tasks and their data, in one line for people.

use std::path::PathBuf;
use thiserror::Error;

/// Everything that an evaluation can refuse.
#[derive(Debug, Error)]
pub enum EvalError {
    /// A file cannot be read.
    #[error("{path}: {problem}", path = path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        problem: String,
    },
    /// A line of a data file is no item of the task.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A row of a data file is no item of the task.
    #[error("{path}:row {row}: {problem}", path = path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row, from 1.
        row: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file without items.
    #[error("{path}: no items in it; give one JSON object per line", path = path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A file of tasks cannot be understood.
    #[error("{path}:{line}: {problem}", path = path.display())]
    TaskFile {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// No task of that name.
    #[error("no task \"{name}\"; choose among {known}")]
    UnknownTask {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// The folder has no file of the task.
    #[error(
        "{folder}: no data for {task}; put {wanted} there, JSON lines or Parquet",
        folder = folder.display()
    )]
    NoData {
        /// The folder.
        folder: PathBuf,
        /// The task.
        task: String,
        /// File names that are looked for.
        wanted: String,
    },
    /// The task does not say where its data is on the Hub.
    #[error(
        "task \"{task}\" names no data on the Hub: give --tasks-dir, or hub in the task's file"
    )]
    NoHub {
        /// The task.
        task: String,
    },
    /// Fewer documents to show than asked for.
    #[error("{path}: {found} items, but {asked} are to be shown before each question", path = path.display())]
    FewShots {
        /// The file of examples.
        path: PathBuf,
        /// Items in it.
        found: usize,
        /// How many were asked for.
        asked: usize,
    },
    /// There is nothing to score.
    #[error("{task}: no item to score; leave --limit out, or give at least 1")]
    NoItems {
        /// The task.
        task: String,
    },
    /// A log-likelihood is NaN or infinite: no decision can rest on it.
    #[error(
        "{task}: the log-likelihood of item {item}, request {request}, is {value}, although all \
         weights are finite: the model's activations overflow, and no score can be given"
    )]
    NotFinite {
        /// The task.
        task: String,
        /// The item, from 1, in the order of the data.
        item: usize,
        /// The request of the item, from 1.
        request: usize,
        /// The log-likelihood.
        value: f64,
    },
    /// The tokenizer failed.
    #[error(transparent)]
    Data(#[from] simattn_data::DataError),
}
