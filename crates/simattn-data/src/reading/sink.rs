//! Who takes documents.

use super::{Place, ReadError};
use std::path::Path;

/// Why the reading ends early.
#[derive(Debug)]
pub(crate) enum Stop {
    /// To be handed over.
    Error(ReadError),
    /// Nobody listens any more.
    Unheard,
}

impl From<ReadError> for Stop {
    fn from(error: ReadError) -> Self {
        Self::Error(error)
    }
}

/// Takes documents, a piece at a time.
pub(crate) trait Sink {
    /// More of the current document.
    fn text(&mut self, text: &str) -> Result<(), Stop>;

    /// The current document ends here. One of white space alone is none.
    fn end(&mut self, after: Place) -> Result<(), Stop>;

    /// A line or row that cannot be read, `number` counted from 1; an error where it is not to be
    /// passed over.
    fn bad(&mut self, path: &Path, unit: &str, number: u64, problem: String) -> Result<(), Stop>;
}
