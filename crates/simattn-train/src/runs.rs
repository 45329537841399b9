//! The runs in a folder, and how each of them stands.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checkpoint::{self, Checkpoint, WEIGHTS};
use crate::config::RunConfig;
use crate::log::{LastMetrics, last_metrics};
use crate::run_folder::{is_held, is_run};

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// A process trains in it.
    Running,
    /// Its budget is spent and its model is there.
    Finished,
    /// Neither; it goes on when it is started again.
    Stopped,
    /// Its newest loss is no number.
    Diverged,
    /// It has checkpoints, and the newest cannot be used.
    Damaged,
}

impl fmt::Display for RunState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Running => "running",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
            Self::Diverged => "diverged",
            Self::Damaged => "damaged",
        })
    }
}

/// One run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunSummary {
    /// Its folder.
    pub path: PathBuf,
    /// How it stands.
    pub state: RunState,
    /// The steps it is to make, where its configuration can be read.
    pub steps: Option<u64>,
    /// The step of its newest checkpoint.
    pub saved: Option<u64>,
    /// What its log ends with.
    pub last: LastMetrics,
    /// When something in its folder changed last.
    pub changed: Option<SystemTime>,
    /// What is wrong with it, in one line.
    pub trouble: Option<String>,
}

/// How the run in `path` stands. With `thorough` every byte of its newest checkpoint is compared
/// with its sum; otherwise of the tensors only the length is looked at.
pub fn summary(path: &Path, thorough: bool) -> RunSummary {
    let config = RunConfig::from_file(&path.join(checkpoint::CONFIG));
    let checkpoints = checkpoint::list(path).unwrap_or_default();
    let newest = checkpoints.last().map(|(_, folder)| match thorough {
        true => Checkpoint::open(folder),
        false => Checkpoint::glance(folder),
    });
    let last = last_metrics(path).unwrap_or_default();
    let steps = config.ok().map(|config| config.train.steps);
    let saved = match &newest {
        Some(Ok(checkpoint)) => Some(checkpoint.state.progress.step),
        _ => None,
    };
    let spent = saved.is_some() && saved >= steps;
    let no_number = |loss: Option<f64>| loss.is_some_and(|loss| !loss.is_finite());
    let diverged = no_number(last.loss) || no_number(last.validation_loss);
    let running = is_held(path);
    let (state, trouble) = match newest {
        _ if running => (RunState::Running, None),
        Some(Err(error)) => (RunState::Damaged, Some(error.to_string())),
        _ if diverged => (RunState::Diverged, None),
        Some(Ok(_)) if spent && steps.is_some() && path.join(WEIGHTS).is_file() => {
            (RunState::Finished, None)
        }
        _ => (RunState::Stopped, None),
    };
    RunSummary {
        path: path.to_owned(),
        state,
        steps,
        saved,
        last,
        changed: changed(path),
        trouble,
    }
}

/// The runs that lie in `folder`, sorted by name; other folders are passed over.
///
/// # Errors
///
/// Whatever the system says when the folder cannot be listed.
pub fn in_folder(folder: &Path, thorough: bool) -> io::Result<Vec<RunSummary>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_run(&path).unwrap_or(false) {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths.iter().map(|path| summary(path, thorough)).collect())
}

/// The newest change of anything that lies directly in a folder.
fn changed(folder: &Path) -> Option<SystemTime> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok())
        .max()
}
