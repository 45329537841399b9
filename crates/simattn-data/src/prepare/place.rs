//! The folder that shards come to, before there is anything in it.

use super::error::PrepareError;
use crate::made_folders::MadeFolders;
use crate::shards::{INDEX, JOURNAL, LOCK};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// What `mkfs` puts into an empty file system.
pub(super) const OF_THE_SYSTEM: &str = "lost+found";

/// How a place was found.
#[derive(Debug)]
pub(super) enum Found {
    /// Begun by a job before.
    Begun,
    /// An empty folder.
    Empty,
    /// Free; these folders were made, the last of them the place itself.
    Made(MadeFolders),
}

/// Whether shards can be written to a folder, tried without leaving anything there: for callers
/// that have much to do before [`prepare`](super::prepare) begins.
///
/// # Errors
///
/// What [`prepare`](super::prepare) would say.
pub fn check_place(path: &Path) -> Result<(), PrepareError> {
    let found = take(path)?;
    let probe = path.join(format!(".unfinished-{}", std::process::id()));
    let tried = File::create(&probe).and_then(|_| fs::remove_file(&probe));
    give_back(&found);
    tried.map_err(|error| unusable(&probe, &error))
}

/// Looks at a place, and makes the folder if nothing is there.
pub(super) fn take(path: &Path) -> Result<Found, PrepareError> {
    let taken = || PrepareError::Taken {
        path: path.to_owned(),
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let made = MadeFolders::make(path);
            return made
                .map(Found::Made)
                .map_err(|error| unusable(&error.folder, &error.source));
        }
        Err(error) => return Err(unusable(path, &error)),
        Ok(_) => {}
    }
    // Of a link, what it leads to.
    if !fs::metadata(path)
        .map_err(|error| unusable(path, &error))?
        .is_dir()
    {
        return Err(taken());
    }
    // With the journal still there, all that is left to do is to remove it.
    if path.join(INDEX).exists() && !path.join(JOURNAL).is_file() {
        return Err(PrepareError::Finished {
            path: path.to_owned(),
        });
    }
    if path.join(JOURNAL).is_file() || path.join(LOCK).is_file() {
        return Ok(Found::Begun);
    }
    for entry in fs::read_dir(path).map_err(|error| unusable(path, &error))? {
        let entry = entry.map_err(|error| unusable(path, &error))?;
        if entry.file_name() != OF_THE_SYSTEM {
            return Err(taken());
        }
    }
    Ok(Found::Empty)
}

/// Removes the folders that were made, as far as nothing is in them.
pub(super) fn give_back(found: &Found) {
    if let Found::Made(folders) = found {
        folders.remove();
    }
}

/// A place that cannot be used.
pub(super) fn unusable(path: &Path, error: &io::Error) -> PrepareError {
    PrepareError::Place {
        path: path.to_owned(),
        problem: error.to_string(),
    }
}
