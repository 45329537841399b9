//! A file to read, with what is known of it beforehand.

use super::file_id::FileId;
use super::format::{Format, Packing};
use std::path::PathBuf;

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InputFile {
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
    pub(crate) packing: Packing,
    /// On the disk.
    pub(crate) bytes: u64,
    /// Whether all its documents are for validation.
    pub(crate) held_out: bool,
    /// The same for all names of one file.
    pub(crate) id: FileId,
}
