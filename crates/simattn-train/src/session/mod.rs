//! A run that survives: steps with logs and checkpoints between, until its budget is spent or it is
//! asked to stop.

mod error;
mod following;
mod record;
mod restore;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::checkpoint::{self, Checkpoint, Contents, Outcome, Saver};
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::fingerprint::Fingerprint;
use crate::folder_error::{FolderError, failed};
use crate::log::{Logs, Meters};
use crate::report::{EvaluationReport, Observer};
use crate::run_folder::{RunFolder, Standing};
use crate::trainer::Trainer;
pub use error::SessionError;
use error::last_good;
pub use following::follow;
use record::Record;

/// How a run ended without breaking off.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Its budget is spent; the model is at the top of its folder, if it was wanted.
    Finished(EvaluationReport),
    /// It was asked to stop; it can continue from this checkpoint.
    Stopped {
        /// Updates made.
        step: u64,
        /// The checkpoint.
        checkpoint: PathBuf,
    },
}

/// A trainer in a folder.
#[derive(Debug)]
pub struct Session {
    trainer: Trainer,
    folder: RunFolder,
    record: Record,
    saver: Saver,
    meters: Meters,
    config: Arc<str>,
    tokenizer: Arc<str>,
    text: Option<Arc<str>>,
    data: Fingerprint,
    checkpoint_every: u64,
    stop: Arc<AtomicBool>,
    /// Whether the model is wanted when the run is finished.
    publishes: bool,
    /// The newest checkpoint, and its step.
    kept: Option<(u64, PathBuf)>,
}

/// Where a session writes, and what it continues from.
struct Place<'a> {
    folder: RunFolder,
    data: Fingerprint,
    from: Option<&'a Checkpoint>,
}

impl Session {
    /// Puts a trainer into its folder. `config` has its vocabulary filled in; `from` is the
    /// checkpoint whose weights the trainer's decoder has.
    ///
    /// Where that checkpoint lies in the same folder the logs are cut back to it; otherwise they
    /// begin here. Setting `stop` ends the run after the step under way.
    ///
    /// # Errors
    ///
    /// [`SessionError`] where the folder cannot be written or the checkpoint does not fit.
    pub fn start(
        mut trainer: Trainer,
        folder: RunFolder,
        config: &RunConfig,
        dataset: &Dataset,
        from: Option<&Checkpoint>,
        meters: Meters,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, SessionError> {
        let restored = dataset
            .fingerprint()
            .map_err(|error| TrainError::from(error).into())
            .and_then(|data| {
                if let Some(from) = from {
                    restore::restore(&mut trainer, from, config, dataset, &data)?;
                }
                Ok(data)
            });
        match restored {
            Ok(data) => {
                let place = Place { folder, data, from };
                Self::in_folder(trainer, place, config, dataset, meters, stop)
            }
            Err(error) => {
                folder.remove_if_empty();
                Err(error)
            }
        }
    }

    /// A trainer at the place that it continues from, in its folder.
    fn in_folder(
        trainer: Trainer,
        Place { folder, data, from }: Place<'_>,
        config: &RunConfig,
        dataset: &Dataset,
        meters: Meters,
        stop: Arc<AtomicBool>,
    ) -> Result<Self, SessionError> {
        let mut own = None;
        let mut validation = None;
        if let Some(checkpoint) = from {
            let state = &checkpoint.state;
            let step = state.progress.step;
            validation = state.validation_loss.map(|loss| (step, loss));
            let place = folder.path().join(checkpoint::folder_name(step));
            let canonical = |path: &PathBuf| path.canonicalize().ok();
            if place.is_dir() && canonical(&place) == canonical(&checkpoint.folder) {
                own = Some((state, (step, place)));
            }
        }
        let (metrics, events) = own.as_ref().map_or((0, 0), |(state, _)| {
            (state.metrics_bytes, state.events_bytes)
        });
        let seconds = from.map_or(0.0, |checkpoint| checkpoint.state.progress.seconds);
        let logs = Logs::open(folder.path(), metrics, events, seconds, meters)
            .map_err(failed(folder.path(), "open the logs of"))?;
        let session = Self {
            saver: Saver::new(folder.path(), config.train.keep_checkpoints),
            record: Record::new(logs, validation, &trainer),
            trainer,
            folder,
            meters,
            config: config.to_toml()?.into(),
            tokenizer: dataset.tokenizer.to_json().into(),
            text: (!dataset.text.is_empty()).then(|| dataset.text.to_json().into()),
            data,
            checkpoint_every: config.train.checkpoint_every,
            stop,
            publishes: true,
            kept: own.map(|(_, kept)| kept),
        };
        session.describe()?;
        Ok(session)
    }

    /// The same for a caller that wants to know how the run went and does not need its model: when
    /// the run is finished, nothing more is saved.
    pub fn without_model(mut self) -> Self {
        self.publishes = false;
        self
    }

    /// The trainer in its present state.
    pub fn trainer(&self) -> &Trainer {
        &self.trainer
    }

    /// Writes what is trained into the top of the folder.
    fn describe(&self) -> Result<(), FolderError> {
        self.folder
            .write(checkpoint::CONFIG, self.config.as_bytes())?;
        // A file that says the same already is left as it is, whatever its layout.
        let json = |bytes: &[u8]| serde_json::from_slice::<serde_json::Value>(bytes).ok();
        let there = std::fs::read(self.folder.path().join(checkpoint::TOKENIZER));
        let same = there.is_ok_and(|there| {
            json(&there).is_some_and(|there| Some(there) == json(self.tokenizer.as_bytes()))
        });
        if !same {
            self.folder
                .write(checkpoint::TOKENIZER, self.tokenizer.as_bytes())?;
        }
        match &self.text {
            Some(text) => self.folder.write(checkpoint::TEXT, text.as_bytes()),
            None => Ok(()),
        }
    }

    /// Steps, evaluates, logs and saves until the budget is spent or the run is asked to stop.
    ///
    /// A save that fails is reported and training continues; the next one tries again. A run that
    /// breaks off before its first checkpoint leaves no folder, where it made it.
    ///
    /// # Errors
    ///
    /// [`SessionError`] where a step cannot be made, or the last state cannot be saved.
    pub fn run(mut self, observer: &mut dyn Observer) -> Result<Ending, SessionError> {
        match self.steps(observer) {
            Ok(ending) => {
                self.trainer.end();
                Ok(ending)
            }
            Err(error) => {
                if let Some(outcome) = self.saver.wait() {
                    self.note(outcome, observer);
                }
                if matches!(error, SessionError::Train(_)) {
                    self.folder.remove_if_empty();
                }
                Err(error)
            }
        }
    }

    fn steps(&mut self, observer: &mut dyn Observer) -> Result<Ending, SessionError> {
        let mut last = None;
        if self.kept.is_none() {
            let mut recorder = self.record.recorder(observer);
            last = Some(self.trainer.evaluate_and_tell(&mut recorder)?);
        }
        let mut due = false;
        while !self.trainer.is_done() && !self.stop.load(Ordering::SeqCst) {
            let evaluated = self.steps_until_needed(&mut due, observer)?;
            last = evaluated.or(last);
            if let Some(outcome) = self.saver.poll() {
                self.note(outcome, observer);
            }
            if due && self.saver.is_idle() && !self.trainer.is_done() {
                due = false;
                self.save_behind(observer)?;
            }
        }
        if !self.trainer.is_done() {
            return Ok(Ending::Stopped {
                step: self.trainer.step_count(),
                checkpoint: self.save_now(observer)?,
            });
        }
        let saved = if self.publishes {
            Some(self.save_now(observer)?)
        } else {
            None
        };
        if let Some(outcome) = self.saver.wait() {
            self.note(outcome, observer);
        }
        // A run that had made its last step before it was killed has not evaluated here.
        let last = match last {
            Some(last) if last.step == self.trainer.step_count() => last,
            _ => self.trainer.evaluate(),
        };
        self.trainer.check_evaluation(&last)?;
        if let Some(saved) = saved {
            self.folder.publish(&saved.join(checkpoint::WEIGHTS))?;
        }
        Ok(Ending::Finished(last))
    }

    /// Steps until a checkpoint is due and can be saved, a save has ended, or the run is to stop.
    fn steps_until_needed(
        &mut self,
        due: &mut bool,
        observer: &mut dyn Observer,
    ) -> Result<Option<EvaluationReport>, TrainError> {
        let every = self.checkpoint_every;
        let (saver, stop) = (&self.saver, &self.stop);
        let needed = |trainer: &Trainer| {
            *due |= every > 0 && trainer.step_count().is_multiple_of(every);
            saver.has_ended() || *due && saver.is_idle() || stop.load(Ordering::SeqCst)
        };
        self.trainer
            .run_until(needed, &mut self.record.recorder(observer))
    }

    /// Everything that goes into a checkpoint of this moment; from one with a number that is not
    /// finite no run could go on.
    fn contents(&self) -> Result<Contents, TrainError> {
        let step = self.trainer.step_count();
        let (metrics_bytes, events_bytes) = self.record.logs.lengths();
        let snapshot = self.trainer.snapshot();
        if let Some(tensor) = snapshot.first_non_finite() {
            return Err(TrainError::NonFiniteState { step, tensor });
        }
        Ok(Contents {
            snapshot,
            validation_loss: (self.record.validation)
                .filter(|(at, _)| *at == step)
                .map(|(_, loss)| loss),
            data: self.data.clone(),
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            text: self.text.clone(),
            metrics_bytes,
            events_bytes,
            logs: self.record.logs.files(),
        })
    }

    /// Starts a save that runs while training continues.
    fn save_behind(&mut self, observer: &mut dyn Observer) -> Result<(), TrainError> {
        if self.has_folder(observer)
            && let Some(outcome) = self.saver.start(self.contents()?)
        {
            self.note(outcome, observer);
        }
        Ok(())
    }

    /// Saves this moment, unless it is saved, and gives the checkpoint.
    fn save_now(&mut self, observer: &mut dyn Observer) -> Result<PathBuf, SessionError> {
        let step = self.trainer.step_count();
        if let Some(outcome) = self.saver.wait() {
            self.note(outcome, observer);
        }
        if !self.has_folder(observer) {
            return Err(SessionError::NoFolder {
                step,
                path: self.folder.path().to_owned(),
            });
        }
        if let Some((at, place)) = &self.kept
            && *at == step
        {
            return Ok(place.clone());
        }
        let outcome = self.saver.save_now(&self.contents()?);
        let kept = self.kept.as_ref().map(|(_, place)| place.clone());
        if let Some(error) = &outcome.pruning {
            observer.on_notice(&format!("older checkpoints stay: {error}"));
        }
        outcome.saved.map_err(|source| SessionError::NotSaved {
            step,
            source: Box::new(source),
            kept,
        })
    }

    /// Remembers how a save ended, and says what went wrong.
    fn note(&mut self, outcome: Outcome, observer: &mut dyn Observer) {
        match outcome.saved {
            Ok(place) => self.kept = Some((outcome.step, place)),
            Err(error) => observer.on_notice(&format!(
                "step {} could not be saved: {error}; training continues, {}",
                outcome.step,
                last_good(&self.kept.as_ref().map(|(_, place)| place.clone())),
            )),
        }
        if let Some(error) = outcome.pruning {
            observer.on_notice(&format!("older checkpoints stay: {error}"));
        }
    }

    /// Whether there is a folder to save into; one that was removed is made again.
    fn has_folder(&mut self, observer: &mut dyn Observer) -> bool {
        let path = self.folder.path().to_owned();
        match self.folder.standing() {
            Standing::Ours => return true,
            Standing::Taken => {
                observer.on_notice(&format!(
                    "{}: something else is there now; training continues, but nothing is saved",
                    path.display()
                ));
                return false;
            }
            Standing::Gone => {}
        }
        self.kept = None;
        let again = self
            .folder
            .restore()
            .and_then(|()| self.describe())
            .and_then(|()| {
                let seconds = self.trainer.seconds();
                self.record.logs = Logs::open(&path, 0, 0, seconds, self.meters)
                    .map_err(failed(&path, "open the logs of"))?;
                Ok(())
            });
        match again {
            Ok(()) => {
                observer.on_notice(&format!(
                    "{}: the folder was removed; it is created again, without its contents",
                    path.display()
                ));
                true
            }
            Err(error) => {
                observer.on_notice(&format!(
                    "{}: the folder was removed and cannot be created again ({error}); \
                     training continues, but nothing is saved",
                    path.display()
                ));
                false
            }
        }
    }
}
