//! Files from the Hugging Face Hub: `hf://datasets/OWNER/NAME[@REVISION]/PATTERN` and
//! `hf://[models/]OWNER/NAME[@REVISION]`.
//!
//! References parse in every build. Fetching needs the feature `fetch`; without it
//! [`dataset_files`] and [`model_folder`] return [`HubError::NotBuilt`], so that callers need no
//! conditional code.

mod error;
#[cfg(feature = "fetch")]
mod fetch;
mod reference;

use std::path::PathBuf;

pub use error::HubError;
#[cfg(feature = "fetch")]
pub use fetch::Hub;
pub use reference::{DatasetReference, ModelReference, ReferenceError, Repository, is_reference};

/// The files of a data set that match the reference's pattern, sorted by name, as paths in the
/// cache; fetched where they are not there yet.
///
/// # Errors
/// [`HubError`]: whatever is missing, refused or broken off, and any call in a build without
/// `fetch`.
pub fn dataset_files(reference: &DatasetReference) -> Result<Vec<PathBuf>, HubError> {
    #[cfg(feature = "fetch")]
    return Hub::from_env()?.dataset_files(reference);
    #[cfg(not(feature = "fetch"))]
    Err(HubError::NotBuilt(reference.to_string()))
}

/// The cache's folder with a model's configuration, tokenizer and weights; fetched where they are
/// not there yet.
///
/// # Errors
/// [`HubError`]: whatever is missing, refused or broken off, and any call in a build without
/// `fetch`.
pub fn model_folder(reference: &ModelReference) -> Result<PathBuf, HubError> {
    #[cfg(feature = "fetch")]
    return Hub::from_env()?.model_folder(reference);
    #[cfg(not(feature = "fetch"))]
    Err(HubError::NotBuilt(reference.to_string()))
}
