//! How far the inputs have been read.

use serde::{Deserialize, Serialize};

/// A position in the inputs, always between two documents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Place {
    /// Which of the input files.
    pub(crate) file: usize,
    /// Bytes of it, unpacked, or rows, that are behind.
    pub(crate) offset: u64,
    /// Lines that are behind.
    pub(crate) line: u64,
}
