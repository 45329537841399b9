//! How far a folder has come, and whose it is.
//!
//! `prepare.json` of format 2 carries a SHA-256 of itself, taken with 64 zeros in the sum's place.
//! Format 1 had none: what it says is held against the shards and the inputs, see
//! [`super::soundness`].

use super::error::PrepareError;
use super::identity::Identity;
use super::place::{self, Found};
use crate::reading::Place;
use crate::shards::{Entry, INDEX, JOURNAL, LOCK, PARTS, Partial, hexadecimal, is_shard_name};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};

const FORMAT: u32 = 2;
/// The format without a sum.
const WITHOUT_SUM: u32 = 1;

/// The shards of a part.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PartState {
    /// The finished ones.
    pub(super) finished: Vec<Entry>,
    /// How much of the next one is on the disk.
    pub(super) growing: Option<Partial>,
}

/// `prepare.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Journal {
    format: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<String>,
    pub(super) identity: Identity,
    pub(super) train: PartState,
    pub(super) validation: PartState,
    /// Everything before it is in the shards.
    pub(super) place: Place,
    /// What was left out before it.
    pub(super) bad_inputs: u64,
    /// Documents before it that were left out because they are held out.
    #[serde(default)]
    pub(super) held_out_again: u64,
}

impl Journal {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            format: FORMAT,
            sha256: None,
            identity,
            train: PartState::default(),
            validation: PartState::default(),
            place: Place::default(),
            bad_inputs: 0,
            held_out_again: 0,
        }
    }

    /// Whether it has no sum, so that nothing in it may be believed.
    pub(super) fn is_without_sum(&self) -> bool {
        self.sha256.is_none()
    }

    /// The parts with the names of their shards.
    pub(super) fn parts(&self) -> [(&'static str, &PartState); 2] {
        let [train, validation] = PARTS;
        [(train, &self.train), (validation, &self.validation)]
    }

    /// As it is stored, with its sum.
    fn to_bytes(&self) -> Vec<u8> {
        let blank = blank();
        let text = json(&Self {
            format: FORMAT,
            sha256: Some(blank.clone()),
            ..self.clone()
        });
        let text = String::from_utf8(text).expect("JSON is UTF-8");
        let sum = hexadecimal(&Sha256::digest(&text).into());
        // The first of its kind is the journal's own: only the format comes before it.
        text.replacen(&blank, &sum, 1).into_bytes()
    }

    /// Reads what [`Journal::to_bytes`] gives, or a journal of format 1.
    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let journal: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match (journal.format, &journal.sha256) {
            (WITHOUT_SUM, None) => Ok(journal),
            (FORMAT, Some(sum)) => {
                let whole = String::from_utf8_lossy(bytes);
                let hexadecimal_digits = sum.len() == blank().len() && sum != &blank();
                let summed = whole.replacen(sum, &blank(), 1);
                let found = hexadecimal(&Sha256::digest(summed).into());
                if hexadecimal_digits && found == *sum {
                    Ok(journal)
                } else {
                    Err("it does not match its own checksum".to_owned())
                }
            }
            (format, _) => Err(format!("format {format}")),
        }
    }
}

/// What takes the sum's place while it is computed.
fn blank() -> String {
    "0".repeat(64)
}

/// The folder that shards come to, held by this process until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// Keeps the lock.
    _lock: File,
    /// How it was found.
    found: Found,
}

impl Folder {
    /// Makes the folder, or takes one that the same job began, with its journal.
    pub(super) fn open(path: &Path, identity: Identity) -> Result<(Self, Journal), PrepareError> {
        let found = place::take(path)?;
        let lock = path.join(LOCK);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .map_err(|error| {
                place::give_back(&found);
                place::unusable(&lock, &error)
            })?;
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
            found,
        };
        let journal = match folder.read()? {
            Some(journal) => {
                journal.identity.check(&identity, path)?;
                journal
            }
            None => {
                folder.holds_nothing()?;
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
        Journal::from_bytes(&text).map(Some).map_err(wrong)
    }

    /// Without a journal there is nothing to continue, and what lies here is not overwritten.
    fn holds_nothing(&self) -> Result<(), PrepareError> {
        let refused = |error: std::io::Error| PrepareError::system(&self.path, &error);
        for entry in fs::read_dir(&self.path).map_err(refused)? {
            let name = entry.map_err(refused)?.file_name();
            let unfinished = format!("{JOURNAL}.partial");
            let nothing = [LOCK, &unfinished, place::OF_THE_SYSTEM];
            if !nothing.iter().any(|known| name == *known) {
                return Err(PrepareError::Journal {
                    path: self.path.join(JOURNAL),
                    problem: format!("it is missing, beside {}", name.to_string_lossy()),
                });
            }
        }
        Ok(())
    }

    /// Writes the journal; what it speaks of is on the disk already.
    pub(super) fn save(&self, journal: &Journal) -> Result<(), PrepareError> {
        self.write(JOURNAL, &journal.to_bytes())
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

    /// Removes an index whose folder is not finished after all.
    pub(super) fn remove_index(&self) -> Result<(), PrepareError> {
        let path = self.path.join(INDEX);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(PrepareError::system(&path, &error))
            }
            _ => Ok(()),
        }
    }

    /// Removes what earlier lives left of shards that there are not: all of ours but those that are
    /// listed.
    pub(super) fn sweep(&self, listed: &[&Entry]) -> Result<(), PrepareError> {
        let refused = |error: std::io::Error| PrepareError::system(&self.path, &error);
        for entry in fs::read_dir(&self.path).map_err(refused)? {
            let entry = entry.map_err(refused)?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let unfinished = name.strip_suffix(".partial");
            let stray = match unfinished {
                Some(name) => is_shard_name(name),
                None => is_shard_name(name) && listed.iter().all(|entry| entry.file != name),
            };
            if stray {
                fs::remove_file(entry.path())
                    .map_err(|error| PrepareError::system(&entry.path(), &error))?;
            }
        }
        Ok(())
    }

    /// Removes what only an unfinished folder has.
    pub(super) fn close(self) -> Result<(), PrepareError> {
        // The journal last: while it is there, the same job takes the folder up again and comes
        // here.
        for name in [LOCK, JOURNAL] {
            let path = self.path.join(name);
            fs::remove_file(&path).map_err(|error| PrepareError::system(&path, &error))?;
        }
        Ok(())
    }

    /// Takes back a folder in which nothing is finished, if this process began it.
    pub(super) fn discard(self, journal: &Journal) {
        let nothing = journal.train.finished.is_empty() && journal.validation.finished.is_empty();
        if !nothing {
            return;
        }
        // It was ours alone; if it cannot be emptied, the same command continues in it.
        match &self.found {
            Found::Begun => {}
            Found::Empty => {
                let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
                for entry in entries.filter(|entry| entry.file_name() != place::OF_THE_SYSTEM) {
                    let _ = fs::remove_file(entry.path());
                }
            }
            made @ Found::Made(_) => {
                let _ = fs::remove_dir_all(&self.path);
                place::give_back(made);
            }
        }
    }
}

/// A value of ours as indented JSON.
pub(super) fn json(value: &impl Serialize) -> Vec<u8> {
    let mut text = serde_json::to_vec_pretty(value).expect("names and numbers are always JSON");
    text.push(b'\n');
    text
}
