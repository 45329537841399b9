//! The runs in a folder, and the state of each.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::checkpoint::{self, Checkpoint, WEIGHTS};
use crate::config::RunConfig;
use crate::log::{LastMetrics, last_metrics};
use crate::run_folder::{is_held, is_run};

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// A process trains in it.
    Running,
    /// Its budget is spent and its model is there.
    Finished,
    /// Neither; it continues when it is started again.
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
    /// Its state.
    pub state: RunState,
    /// The steps it is to make, where its configuration can be read.
    pub steps: Option<u64>,
    /// The step of its newest checkpoint.
    pub saved: Option<u64>,
    /// What its log ends with.
    pub last: LastMetrics,
    /// When something in its folder changed last.
    pub changed: Option<SystemTime>,
    /// What is wrong with it, a line each.
    pub troubles: Vec<String>,
}

/// The state of the run in `path`. With `thorough` every byte of its checkpoints is compared with
/// its sum, and the finished model with the checkpoint that it was; otherwise only the newest
/// checkpoint is looked at, and of its tensors the head and the length alone.
pub fn summary(path: &Path, thorough: bool) -> RunSummary {
    let config = RunConfig::from_file(&path.join(checkpoint::CONFIG));
    let mut checkpoints = checkpoint::list(path).unwrap_or_default();
    let newest = checkpoints.pop().map(|(_, folder)| {
        if thorough {
            Checkpoint::open(&folder)
        } else {
            Checkpoint::glance(&folder)
        }
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
    let published = path.join(WEIGHTS);
    let state = match &newest {
        _ if running => RunState::Running,
        Some(Err(_)) => RunState::Damaged,
        _ if diverged => RunState::Diverged,
        Some(Ok(_)) if spent && steps.is_some() && published.is_file() => RunState::Finished,
        _ => RunState::Stopped,
    };
    let mut troubles = Vec::new();
    // What another process writes may be half there.
    if !running {
        troubles.extend(
            newest
                .as_ref()
                .and_then(|newest| Some(newest.as_ref().err()?.to_string())),
        );
        if thorough {
            let older = checkpoints.iter().rev();
            troubles.extend(
                older.filter_map(|(_, folder)| Some(Checkpoint::open(folder).err()?.to_string())),
            );
        }
        if thorough
            && state == RunState::Finished
            && let Some(Ok(newest)) = &newest
        {
            troubles.extend(differs(&published, &newest.weights()));
        }
    }
    RunSummary {
        path: path.to_owned(),
        state,
        steps,
        saved,
        last,
        changed: changed(path),
        troubles,
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

/// What is wrong with a finished model, which is a copy of its last checkpoint's weights.
fn differs(model: &Path, weights: &Path) -> Option<String> {
    let same = checkpoint::same_bytes(model, weights);
    let problem = match same {
        Ok(true) => return None,
        Ok(false) => format!("is not what {} holds", weights.display()),
        Err(error) => format!("cannot be read: {error}"),
    };
    Some(format!("{}: the finished model {problem}", model.display()))
}

/// The newest change of anything that lies directly in a folder.
fn changed(folder: &Path) -> Option<SystemTime> {
    fs::read_dir(folder)
        .ok()?
        .filter_map(|entry| entry.ok()?.metadata().ok()?.modified().ok())
        .max()
}
