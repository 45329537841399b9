//! Snapshot → folder, whole or not at all.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::agreement::POSITION;
use super::error::{CheckpointError, failed};
use super::state::{FORMAT, Snapshot, State};
use super::{
    CONFIG, OPTIMIZER, STATE, SUMS, TEXT, TOKENIZER, WEIGHTS, folder_name, remove_leftovers, sums,
};
use crate::fault;
use crate::fingerprint::Fingerprint;

/// All that goes into one checkpoint.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) snapshot: Snapshot,
    pub(crate) validation_loss: Option<f64>,
    pub(crate) data: Fingerprint,
    /// `config.toml`.
    pub(crate) config: Arc<str>,
    /// `tokenizer.json`.
    pub(crate) tokenizer: Arc<str>,
    /// `text.json`, where the model has one.
    pub(crate) text: Option<Arc<str>>,
    pub(crate) metrics_bytes: u64,
    pub(crate) events_bytes: u64,
    /// The logs, whose bytes up to those lengths must be on the disk before the checkpoint is.
    pub(crate) logs: Vec<File>,
}

impl Contents {
    /// Writes the checkpoint into the folder of a run; gives the folder it is in.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Io`]; nothing of it is left then, as far as the system lets us remove it.
    pub(crate) fn write(&self, run: &Path) -> Result<PathBuf, CheckpointError> {
        let name = folder_name(self.snapshot.progress.step);
        let partial = run.join(format!(".{name}.partial"));
        let result = self.write_partial(run, &partial, &run.join(name));
        if result.is_err() {
            // The error says what went wrong; that this did too could not be helped.
            let _ = fs::remove_dir_all(&partial);
        }
        result
    }

    fn write_partial(
        &self,
        run: &Path,
        partial: &Path,
        place: &Path,
    ) -> Result<PathBuf, CheckpointError> {
        remove_leftovers(run).map_err(failed(run, "remove what an earlier save left"))?;
        fs::create_dir(partial).map_err(failed(partial, "make the folder"))?;
        pass("checkpoint.begin", partial)?;
        let progress = &self.snapshot.progress;
        let mut metadata = BTreeMap::from([
            ("step".to_owned(), progress.step.to_string()),
            ("tokens".to_owned(), progress.tokens.to_string()),
        ]);
        if let Some(loss) = self.validation_loss {
            metadata.insert("validation_loss".to_owned(), loss.to_string());
        }
        let weights = partial.join(WEIGHTS);
        simattn::checkpoint::write(&weights, &self.snapshot.weights, &metadata)
            .map_err(failed(&weights, "write"))?;
        pass("checkpoint.model", &weights)?;
        let optimizer = partial.join(OPTIMIZER);
        let position = serde_json::to_string(&progress.position)
            .map_err(std::io::Error::other)
            .map_err(failed(&optimizer, "write"))?;
        let metadata = BTreeMap::from([
            ("updates".to_owned(), progress.optimizer_updates.to_string()),
            (POSITION.to_owned(), position),
        ]);
        simattn::checkpoint::write(&optimizer, &self.snapshot.optimizer, &metadata)
            .map_err(failed(&optimizer, "write"))?;
        pass("checkpoint.optimizer", &optimizer)?;
        let write = |name: &str, contents: &[u8]| {
            let path = partial.join(name);
            fs::write(&path, contents).map_err(failed(&path, "write"))
        };
        write(CONFIG, self.config.as_bytes())?;
        write(TOKENIZER, self.tokenizer.as_bytes())?;
        if let Some(text) = &self.text {
            write(TEXT, text.as_bytes())?;
        }
        write(STATE, &self.state(partial)?)?;
        pass("checkpoint.state", partial)?;
        let text = sums::compose(partial)?;
        write(SUMS, text.as_bytes())?;
        pass("checkpoint.sums", partial)?;
        for entry in fs::read_dir(partial).map_err(failed(partial, "read"))? {
            flush(&entry.map_err(failed(partial, "read"))?.path())?;
        }
        flush(partial)?;
        for log in &self.logs {
            log.sync_data().map_err(failed(run, "flush the logs of"))?;
        }
        pass("checkpoint.rename", partial)?;
        // Fails if there is a checkpoint of this step; a run sets damaged ones aside before.
        fs::rename(partial, place).map_err(failed(place, "put the checkpoint"))?;
        flush(run)?;
        pass("checkpoint.renamed", place)?;
        Ok(place.to_owned())
    }

    /// The contents of `state.json`, with the lengths of the files that lie in `partial`.
    fn state(&self, partial: &Path) -> Result<Vec<u8>, CheckpointError> {
        let mut files = BTreeMap::new();
        for name in [WEIGHTS, OPTIMIZER, CONFIG, TOKENIZER] {
            let path = partial.join(name);
            let length = fs::metadata(&path).map_err(failed(&path, "read"))?.len();
            files.insert(name.to_owned(), length);
        }
        let state = State {
            format: FORMAT,
            tool: concat!("simattn ", env!("CARGO_PKG_VERSION")).to_owned(),
            progress: self.snapshot.progress.clone(),
            validation_loss: self.validation_loss,
            data: self.data.clone(),
            metrics_bytes: self.metrics_bytes,
            events_bytes: self.events_bytes,
            files,
        };
        let mut text = serde_json::to_vec_pretty(&state)
            .map_err(std::io::Error::other)
            .map_err(failed(&partial.join(STATE), "write"))?;
        text.push(b'\n');
        Ok(text)
    }
}

/// A fault point that speaks as the system would.
fn pass(point: &str, path: &Path) -> Result<(), CheckpointError> {
    fault::pass(point).map_err(failed(path, "write"))
}

/// Forces a file or folder to the disk.
fn flush(path: &Path) -> Result<(), CheckpointError> {
    File::open(path)
        .and_then(|file| file.sync_all())
        .map_err(failed(path, "flush to the disk"))
}
