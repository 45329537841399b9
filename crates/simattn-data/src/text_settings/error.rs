//! What is said of a file that does not have its form.

use crate::error::DataError;
use std::path::Path;

/// An error about a field.
pub(super) fn wrong(path: &Path, field: &str, problem: impl Into<String>) -> DataError {
    DataError::TextSettings {
        path: path.to_owned(),
        field: field.to_owned(),
        problem: problem.into(),
    }
}

/// An error about a whole file.
pub(super) fn no_json(path: &Path, error: &serde_json::Error) -> DataError {
    DataError::Unreadable {
        path: path.to_owned(),
        problem: format!("not the JSON that is expected: {error}"),
    }
}
