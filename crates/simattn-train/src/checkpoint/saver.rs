//! Saving while training continues: one thread, one checkpoint at a time.

use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use super::error::CheckpointError;
use super::{Contents, prune};

/// How a save ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The step that was saved, or should have been.
    pub(crate) step: u64,
    /// Its folder, or why there is none.
    pub(crate) saved: Result<PathBuf, CheckpointError>,
    /// Why older ones could not be removed.
    pub(crate) pruning: Option<CheckpointError>,
}

/// Writes checkpoints into one run's folder.
#[derive(Debug)]
pub(crate) struct Saver {
    run: PathBuf,
    keep: u64,
    flight: Option<(u64, JoinHandle<Outcome>)>,
}

impl Saver {
    /// For the run in this folder, of whose checkpoints the `keep` newest stay.
    pub(crate) fn new(run: &Path, keep: u64) -> Self {
        Self {
            run: run.to_owned(),
            keep,
            flight: None,
        }
    }

    /// Whether nothing is being saved.
    pub(crate) fn is_idle(&self) -> bool {
        self.flight.is_none()
    }

    /// Whether a save has ended whose outcome was not asked for yet.
    pub(crate) fn has_ended(&self) -> bool {
        (self.flight.as_ref()).is_some_and(|(_, handle)| handle.is_finished())
    }

    /// Starts to save in the background. To be called when idle; a save under way is waited for
    /// and its outcome given back.
    pub(crate) fn start(&mut self, contents: Contents) -> Option<Outcome> {
        let before = self.wait();
        let step = contents.snapshot.progress.step;
        let (run, keep) = (self.run.clone(), self.keep);
        let spawned = thread::Builder::new()
            .name("save".to_owned())
            .spawn(move || save(&run, keep, &contents));
        match spawned {
            Ok(handle) => self.flight = Some((step, handle)),
            Err(source) => {
                return Some(Outcome {
                    step,
                    saved: Err(CheckpointError::Io {
                        path: self.run.clone(),
                        action: "start a thread to save in",
                        source,
                    }),
                    pruning: None,
                });
            }
        }
        before
    }

    /// The outcome of a save that has ended since the last question.
    pub(crate) fn poll(&mut self) -> Option<Outcome> {
        if self.has_ended() { self.wait() } else { None }
    }

    /// Waits for the save under way.
    pub(crate) fn wait(&mut self) -> Option<Outcome> {
        let (step, handle) = self.flight.take()?;
        Some(handle.join().unwrap_or(Outcome {
            step,
            saved: Err(CheckpointError::Lost { step }),
            pruning: None,
        }))
    }

    /// Saves here and now. To be called when idle.
    pub(crate) fn save_now(&self, contents: &Contents) -> Outcome {
        save(&self.run, self.keep, contents)
    }
}

fn save(run: &Path, keep: u64, contents: &Contents) -> Outcome {
    let saved = contents.write(run);
    let pruning = match saved {
        Ok(_) => prune(run, keep).err(),
        Err(_) => None,
    };
    Outcome {
        step: contents.snapshot.progress.step,
        saved,
        pruning,
    }
}
