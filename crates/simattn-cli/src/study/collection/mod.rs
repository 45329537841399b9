//! The results of several studies as one page: `docs/results.md`, from the files in `docs/results/`.
//!
//! `outline` says what is asked and what counts as an answer, `standing` which rows have it,
//! `page` writes them down, and `picture` draws them. No figure on the page is written by hand: all
//! of it, pictures too, is made from the outline and the results of studies, and a test makes it
//! again.

mod outline;
mod page;
mod picture;
mod standing;

use std::io;
use std::path::{Path, PathBuf};

use thiserror::Error;

use self::outline::Outline;
use super::error::StudyError;
use super::merging::{MergeError, Part};
use super::results::StudyResults;

/// The outline's name in a folder of results.
const OUTLINE: &str = "outline.toml";

/// Why a page of results cannot be made. `Display` is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CollectionError {
    /// A file that cannot be read.
    #[error("{}: cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An outline that is not understood.
    #[error("{}: {why}", path.display())]
    Outline {
        /// The outline.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// Results that are not understood.
    #[error("{}: {why}", path.display())]
    Results {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// A file that belongs to the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFile {
    /// Where it goes.
    pub path: PathBuf,
    /// What is in it.
    pub contents: String,
}

/// The page beside `folder` (for `docs/results`, `docs/results.md`) and the pictures in it, made
/// from the folder's outline and results.
///
/// # Errors
/// An outline or results that cannot be read; results that are not there yet are no error.
pub fn files(folder: &Path) -> Result<Vec<MadeFile>, CollectionError> {
    let outline = Outline::read(&folder.join(OUTLINE))?;
    page::of(&outline, folder)
}

/// The results in a file; None if it is not there.
fn results(path: &Path) -> Result<Option<StudyResults>, CollectionError> {
    if !path.exists() {
        return Ok(None);
    }
    Part::read(path)
        .map(|part| Some(part.into_results()))
        .map_err(|error| match error {
            MergeError::Results(StudyError::Io { path, source, .. }) => {
                CollectionError::Io { path, source }
            }
            other => CollectionError::Results {
                path: path.to_owned(),
                why: other.to_string(),
            },
        })
}
