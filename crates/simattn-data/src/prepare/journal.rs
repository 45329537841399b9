//! How far a folder has come, and whose it is.

use super::Place;
use super::error::PrepareError;
use super::identity::Identity;
use crate::shards::{Entry, INDEX, Index, Partial};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

/// The journal of an unfinished folder.
pub(crate) const JOURNAL: &str = "prepare.json";
/// Locked by the process that works in the folder.
const LOCK: &str = "prepare.lock";
const FORMAT: u32 = 1;

/// The shards of a part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct PartState {
    /// The finished ones.
    pub(super) finished: Vec<Entry>,
    /// How much of the next one is on the disk.
    pub(super) growing: Option<Partial>,
}

/// `prepare.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    format: u32,
    pub(super) identity: Identity,
    pub(super) train: PartState,
    pub(super) validation: PartState,
    /// Everything before it is in the shards.
    pub(super) place: Place,
    /// What was left out before it.
    pub(super) bad_inputs: u64,
}

impl Journal {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            format: FORMAT,
            identity,
            train: PartState::default(),
            validation: PartState::default(),
            place: Place::default(),
            bad_inputs: 0,
        }
    }
}

/// The folder that shards come to, held by this process until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Keeps the lock.
    _lock: File,
    /// Whether this process made it.
    made: bool,
}

impl Folder {
    /// Makes the folder, or takes one that the same job began, with its journal.
    pub(super) fn open(path: &Path, identity: Identity) -> Result<(Self, Journal), PrepareError> {
        let made = !path.exists();
        if !made {
            // With the journal still there, all that is left to do is to remove it.
            if path.join(INDEX).exists() && !path.join(JOURNAL).is_file() {
                return Err(PrepareError::Finished {
                    path: path.to_owned(),
                });
            }
            let begun = path.join(JOURNAL).is_file() || path.join(LOCK).is_file();
            let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
            if !path.is_dir() || !(begun || empty) {
                return Err(PrepareError::Taken {
                    path: path.to_owned(),
                });
            }
        }
        fs::create_dir_all(path).map_err(|error| PrepareError::system(path, &error))?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|error| PrepareError::system(&lock, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(PrepareError::Held {
                    path: path.to_owned(),
                });
            }
            Err(TryLockError::Error(error)) => return Err(PrepareError::system(&lock, &error)),
        }
        let folder = Self {
            path: path.to_owned(),
            _lock: file,
            made,
        };
        let journal = match folder.read()? {
            Some(journal) => {
                journal.identity.check(&identity, path)?;
                journal
            }
            None => {
                let journal = Journal::new(identity);
                folder.save(&journal)?;
                journal
            }
        };
        Ok((folder, journal))
    }

    fn read(&self) -> Result<Option<Journal>, PrepareError> {
        let path = self.path.join(JOURNAL);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(PrepareError::system(&path, &error)),
        };
        let wrong = |problem: String| PrepareError::Journal {
            path: path.clone(),
            problem,
        };
        let journal: Journal =
            serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if journal.format != FORMAT {
            return Err(wrong(format!("format {}", journal.format)));
        }
        Ok(Some(journal))
    }

    /// Writes the journal; what it speaks of is on the disk already.
    pub(super) fn save(&self, journal: &Journal) -> Result<(), PrepareError> {
        self.write(JOURNAL, &json(journal))
    }

    /// Writes a file whole: under another name, brought to the disk, renamed.
    pub(super) fn write(&self, name: &str, contents: &[u8]) -> Result<(), PrepareError> {
        let path = self.path.join(name);
        let unfinished = self.path.join(format!("{name}.partial"));
        let write = || {
            let mut file = File::create(&unfinished)?;
            file.write_all(contents)?;
            file.sync_all()?;
            fs::rename(&unfinished, &path)?;
            // Brings the new name to the disk; not every system opens a folder.
            match File::open(&self.path) {
                Ok(folder) => folder.sync_all(),
                Err(_) => Ok(()),
            }
        };
        write().map_err(|error: std::io::Error| PrepareError::system(&path, &error))
    }

    /// The index, where a process came so far and no further.
    pub(super) fn finished(&self) -> Result<Option<Index>, PrepareError> {
        match self.path.join(INDEX).exists() {
            true => Ok(Some(Index::read(&self.path)?)),
            false => Ok(None),
        }
    }

    /// Removes what only an unfinished folder has.
    pub(super) fn close(self) -> Result<(), PrepareError> {
        // The journal last: while it is there, the same job takes the folder up again and comes here.
        for name in [LOCK, JOURNAL] {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(|error| PrepareError::system(&path, &error))?;
        }
        Ok(())
    }

    /// Takes back a folder in which nothing is finished, if this process made it.
    pub(super) fn discard(self, journal: &Journal) {
        let nothing = journal.train.finished.is_empty() && journal.validation.finished.is_empty();
        if self.made && nothing {
            // It was ours alone; if it cannot be removed, the same command goes on in it.
            let _ = fs::remove_dir_all(&self.path);
        }
    }
}

/// A value of ours as indented JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("names and numbers are always JSON");
    text.push(b'\n');
    text
}
