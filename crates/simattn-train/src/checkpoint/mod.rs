//! Checkpoints: everything that a run needs to continue as though it had never stopped.
//!
//! A checkpoint is a folder `step-0001000` inside the run's folder:
//!
//! | file | what |
//! |---|---|
//! | `model.safetensors` | the weights |
//! | `optimizer.safetensors` | what the optimiser remembers: AdamW's moments, Muon's momentum |
//! | `state.json` | a [`State`]: step, tokens, seconds, loader position, lengths of the logs |
//! | `config.toml`, `tokenizer.json` | as in a model folder, which a checkpoint therefore is |
//! | `text.json` | likewise, where the model has one |
//! | `SHA256SUMS` | a SHA-256 for each of them, as `sha256sum -c SHA256SUMS` reads it |
//!
//! No generator has a state to save: every random stream is derived from the seed and a name, and
//! the loader's position says how far the run has come in it.
//!
//! A checkpoint is written under a hidden name, flushed, and renamed, so that a folder called
//! `step-…` was whole when it appeared. [`Checkpoint::open`] compares every byte with its sum
//! before anything is used, and what one file says with what the others and the folder's name say.

mod agreement;
mod error;
mod header;
mod keep;
mod read;
mod saver;
mod state;
mod sums;
mod write;

pub use error::CheckpointError;
pub(crate) use keep::prune;
pub use read::{Checkpoint, Found, newest_intact};
pub(crate) use saver::{Outcome, Saver};
pub use state::{Progress, Snapshot, State};
pub(crate) use sums::same_bytes;
pub(crate) use write::Contents;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub(crate) const WEIGHTS: &str = "model.safetensors";
pub(crate) const OPTIMIZER: &str = "optimizer.safetensors";
pub(crate) const STATE: &str = "state.json";
pub(crate) const CONFIG: &str = "config.toml";
pub(crate) const TOKENIZER: &str = "tokenizer.json";
pub(crate) const TEXT: &str = simattn_data::TEXT_SETTINGS;
pub(crate) const SUMS: &str = "SHA256SUMS";

/// The files that have a sum, in the order of their names; [`TEXT`] comes after them where it is
/// there.
pub(crate) const SUMMED: [&str; 5] = [CONFIG, WEIGHTS, OPTIMIZER, STATE, TOKENIZER];

/// The name of the checkpoint after `step` updates.
pub fn folder_name(step: u64) -> String {
    format!("step-{step:07}")
}

/// The step of a checkpoint's folder; `None` for any other name.
pub(crate) fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (folder_name(step) == name).then_some(step)
}

/// The checkpoints of a run, damaged ones too, oldest first.
///
/// # Errors
///
/// Whatever the system says when the folder cannot be listed.
pub fn list(run: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        if let Some(step) = entry.file_name().to_str().and_then(step_of) {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Hidden folders that a killed process left behind begin with this.
const HIDDEN: &str = ".step-";

/// Removes what a killed process left half-written or half-removed. Only for a holder of the
/// run's lock.
pub(crate) fn remove_leftovers(run: &Path) -> io::Result<()> {
    for entry in fs::read_dir(run)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(HIDDEN)) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_steps_are_one_to_one() {
        for step in [0, 1, 9_999_999, 10_000_000, u64::MAX] {
            assert_eq!(step_of(&folder_name(step)), Some(step));
        }
        assert_eq!(folder_name(1000), "step-0001000");
        for other in ["step-", "step-1", "step-00000001", "step-+000001", "model"] {
            assert_eq!(step_of(other), None, "{other}");
        }
    }
}
