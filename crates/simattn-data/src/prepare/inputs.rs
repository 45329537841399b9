//! Which files are trained on and which are held out.

use super::error::PrepareError;
use crate::reading::{FileId, Found, PassedOver, find};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// The files to train on and those held out, in the order of `inputs` and then of `validation`,
/// each file once. A file that both name, however they spell it, is held out.
pub(super) fn expand(
    inputs: &[PathBuf],
    validation: &[PathBuf],
    field: &str,
    out: &Path,
) -> Result<Found, PrepareError> {
    let mut held_out = find(validation, field, Some(out))?;
    for file in &mut held_out.files {
        file.held_out = true;
    }
    let known: HashSet<&FileId> = held_out.files.iter().map(|file| &file.id).collect();
    let mut all = find(inputs, field, Some(out))?;
    all.files.retain(|file| !known.contains(&file.id));
    all.files.extend(held_out.files);
    let named: HashSet<PathBuf> = all.passed_over.iter().map(|it| it.path.clone()).collect();
    let new = |it: &PassedOver| !named.contains(&it.path);
    all.passed_over
        .extend(held_out.passed_over.into_iter().filter(new));
    Ok(all)
}
