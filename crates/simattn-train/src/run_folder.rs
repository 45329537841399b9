//! The folder of a run: made whole, held by one process at a time.
//!
//! | entry | what |
//! |---|---|
//! | `run.json` | says that this is a run's folder, and who made it |
//! | `run.lock` | locked by the process that trains here; the lock ends with the process |
//! | `config.toml`, `tokenizer.json` | what is trained |
//! | `metrics.jsonl`, `events.out.tfevents.*` | the logs |
//! | `step-0001000/` | a checkpoint, see [`crate::checkpoint`] |
//! | `model.safetensors` | the finished model |

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::checkpoint;
use crate::folder_error::{FolderError, failed};
use crate::folder_lock::FolderLock;
use crate::reservation::{Before, Reservation, check_free, replace};

const MARKER: &str = "run.json";
const LOCK: &str = "run.lock";

/// `run.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Marker {
    /// The layout of the folder.
    format: u32,
    /// The version that made it.
    tool: String,
}

/// A run's folder, held by this process until it is dropped.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    lock: FolderLock,
    /// What was there before, where this process made it.
    made: Option<Before>,
}

/// Whose a run's folder is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// As it was opened.
    Ours,
    /// Nothing is there any more.
    Gone,
    /// Something else is there.
    Taken,
}

/// Whether a run's folder is at `path`; false if nothing is.
///
/// # Errors
///
/// [`FolderError::Exists`] if something else is there.
pub fn is_run(path: &Path) -> Result<bool, FolderError> {
    if path.join(MARKER).is_file() {
        return Ok(true);
    }
    check_free(path)?;
    Ok(false)
}

/// Whether a process trains in the folder.
pub(crate) fn is_held(path: &Path) -> bool {
    // A shared lock, so that two who only look do not see each other.
    File::open(path.join(LOCK))
        .is_ok_and(|file| matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)))
}

impl RunFolder {
    /// Makes the folder at a free place, whole with its marker, and takes it; or takes an empty
    /// folder and puts the marker there.
    ///
    /// # Errors
    ///
    /// [`FolderError`] if something is there or it cannot be made.
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        Self::create_at(Reservation::new(path)?)
    }

    /// As [`Self::create`], at a place that was taken before.
    ///
    /// # Errors
    ///
    /// As [`Self::create`].
    pub fn create_at(reservation: Reservation) -> Result<Self, FolderError> {
        let path = reservation.place().to_owned();
        let marker = Marker {
            format: 1,
            tool: concat!("simattn ", env!("CARGO_PKG_VERSION")).to_owned(),
        };
        let text = serde_json::to_vec(&marker)
            .map_err(io::Error::other)
            .map_err(failed(&path, "write"))?;
        // One file, so that an empty folder too is a run's or is not.
        reservation.write(MARKER, &text)?;
        let before = reservation.publish_over()?;
        Ok(Self {
            lock: FolderLock::take(&path, LOCK)?,
            path,
            made: Some(before),
        })
    }

    /// Takes a run's folder that is there, and clears what a killed process left half-written.
    ///
    /// # Errors
    ///
    /// [`FolderError::InUse`] where another process has it.
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let lock = FolderLock::take(path, LOCK)?;
        checkpoint::remove_leftovers(path)
            .map_err(failed(path, "remove what an earlier save left"))?;
        Ok(Self {
            path: path.to_owned(),
            lock,
            made: None,
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file of the folder under another name and moves it to its own.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`]; the older file, if there is one, is unchanged.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<(), FolderError> {
        replace(&self.path.join(name), contents)
    }

    /// Puts a checkpoint's weights at the top of the folder as the finished model: the same file
    /// under a second name where the file system can, else a copy.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`]; an older model is unchanged.
    pub fn publish(&self, weights: &Path) -> Result<(), FolderError> {
        let place = self.path.join(checkpoint::WEIGHTS);
        let partial = self.path.join(format!(".{}.partial", checkpoint::WEIGHTS));
        match fs::remove_file(&partial) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed(&partial, "remove")(error));
            }
            _ => {}
        }
        if fs::hard_link(weights, &partial).is_err() {
            fs::copy(weights, &partial)
                .and_then(|_| File::open(&partial)?.sync_all())
                .map_err(failed(&partial, "write"))?;
        }
        fs::rename(&partial, &place)
            .and_then(|()| File::open(&self.path)?.sync_all())
            .map_err(failed(&place, "put the model"))
    }

    /// Gives a checkpoint that cannot be used another name, `damaged-step-…`, and tells it.
    ///
    /// # Errors
    ///
    /// [`FolderError::Io`].
    pub fn set_aside(&self, folder: &Path) -> Result<PathBuf, FolderError> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let mut place = self.path.join(format!("damaged-{name}"));
        let mut number = 1;
        while place.exists() {
            number += 1;
            place = self.path.join(format!("damaged-{name}-{number}"));
        }
        fs::rename(folder, &place).map_err(failed(folder, "set it aside"))?;
        Ok(place)
    }

    /// Whose the folder at this place is now.
    pub(crate) fn standing(&self) -> Standing {
        if self.lock.is_in(&self.path) {
            Standing::Ours
        } else if fs::symlink_metadata(&self.path).is_err() {
            Standing::Gone
        } else {
            Standing::Taken
        }
    }

    /// Makes the folder again where it was removed.
    pub(crate) fn restore(&mut self) -> Result<(), FolderError> {
        let again = Self::create(&self.path)?;
        self.lock = again.lock;
        Ok(())
    }

    /// Removes the folder where this process made it and no checkpoint is in it: a run that never
    /// came to one leaves nothing.
    pub(crate) fn remove_if_empty(self) {
        let Some(before) = &self.made else {
            return;
        };
        let empty = checkpoint::list(&self.path).is_ok_and(|found| found.is_empty());
        if !empty || self.standing() != Standing::Ours {
            return;
        }
        // Whatever cannot be removed is a run without checkpoints, which the next start takes.
        if before.empty_folder {
            let _ = self.remove_files();
            return;
        }
        let _ = fs::remove_dir_all(&self.path);
        before.made.remove();
    }

    /// Removes what a run without checkpoints has written, from a folder that is to stay.
    fn remove_files(&self) -> io::Result<()> {
        checkpoint::remove_leftovers(&self.path)?;
        let mut last = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name == MARKER || name == LOCK {
                last.push(entry.path());
            } else if [checkpoint::CONFIG, checkpoint::TOKENIZER, checkpoint::TEXT]
                .contains(&&*name)
                || crate::log::is_log(&name)
            {
                fs::remove_file(entry.path())?;
            }
        }
        last.iter().try_for_each(fs::remove_file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(folder: &tempfile::TempDir) -> PathBuf {
        folder.path().join("runs/one")
    }

    #[test]
    fn one_process_holds_a_folder_until_it_lets_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = place(&folder);
        assert!(!is_run(&path).expect("a free place"));
        let held = RunFolder::create(&path).expect("a free place");
        assert!(is_run(&path).expect("a run") && is_held(&path));
        let error = RunFolder::open(&path).expect_err("it is held");
        assert!(matches!(&error, FolderError::InUse { .. }), "{error}");
        let process = std::process::id();
        assert!(
            error.to_string().contains(&format!("process {process}")),
            "{error}"
        );
        drop(held);
        assert!(!is_held(&path));
        drop(RunFolder::open(&path).expect("it is free"));
        let error = RunFolder::create(&path).expect_err("it exists");
        assert!(matches!(error, FolderError::Exists { .. }));
    }

    #[test]
    fn a_run_without_checkpoints_leaves_nothing_and_one_with_stays() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = place(&folder);
        RunFolder::create(&path)
            .expect("a free place")
            .remove_if_empty();
        assert!(!folder.path().join("runs").exists());
        let run = RunFolder::create(&path).expect("a free place");
        fs::create_dir(path.join("step-0000001")).expect("a folder");
        run.remove_if_empty();
        assert!(path.exists());
        fs::remove_dir(path.join("step-0000001")).expect("a folder");
        RunFolder::open(&path).expect("a run").remove_if_empty();
        assert!(
            path.exists(),
            "a folder that was there before is not removed"
        );
    }

    #[test]
    fn a_run_in_an_empty_folder_leaves_the_folder_where_it_fails() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path();
        fs::create_dir(path.join("lost+found")).expect("a folder");
        let run = RunFolder::create(path).expect("an empty folder");
        assert!(is_run(path).expect("a run"));
        run.write(checkpoint::CONFIG, b"").expect("a small file");
        run.write(checkpoint::TEXT, b"").expect("a small file");
        fs::write(path.join("notes"), "mine").expect("a small file");
        run.remove_if_empty();
        let mut left: Vec<_> = fs::read_dir(path)
            .expect("the folder stays")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["lost+found", "notes"]);
    }

    #[test]
    fn a_folder_that_is_removed_or_taken_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = place(&folder);
        let mut run = RunFolder::create(&path).expect("a free place");
        assert_eq!(run.standing(), Standing::Ours);
        fs::remove_dir_all(&path).expect("a folder");
        assert_eq!(run.standing(), Standing::Gone);
        run.restore().expect("a free place");
        assert_eq!(run.standing(), Standing::Ours);
        fs::rename(&path, folder.path().join("moved")).expect("a folder");
        let other = RunFolder::create(&path).expect("a free place");
        assert_eq!(run.standing(), Standing::Taken);
        drop(other);
        assert_eq!(run.standing(), Standing::Taken);
    }

    #[test]
    fn what_holds_something_else_is_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        assert!(!is_run(folder.path()).expect("an empty folder"));
        let file = folder.path().join("file");
        fs::write(&file, "x").expect("a small file");
        assert!(matches!(
            is_run(folder.path()),
            Err(FolderError::Exists { .. })
        ));
        assert!(is_run(&file).is_err());
        assert!(is_run(&file.join("below")).is_err());
    }
}
