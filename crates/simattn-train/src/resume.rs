//! Where a run starts: at the beginning, or at a checkpoint, and whether it may.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use simattn::Positions;

use crate::checkpoint::{self, Checkpoint, CheckpointError, newest_intact};
use crate::config::{Change, RunConfig, changes};
use crate::fingerprint::Fingerprint;
use crate::folder_error::FolderError;
use crate::reservation::check_free;
use crate::run_folder::{RunFolder, is_run};

/// What a run that finds a folder in its place does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Resume {
    /// Goes on from the newest checkpoint of the folder, where it is a run's.
    #[default]
    Auto,
    /// Refuses: the place must be free.
    Never,
    /// Starts from this checkpoint, or from the newest one of this run.
    From(PathBuf),
}

impl FromStr for Resume {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "auto" => Self::Auto,
            "never" => Self::Never,
            path => Self::From(path.into()),
        })
    }
}

/// Fields of a configuration that change no number of a run, and may differ when it continues.
pub const FREE_FIELDS: [&str; 5] = [
    "train.checkpoint_every",
    "train.keep_checkpoints",
    "train.log_every",
    "train.recompute",
    "train.shard_optimizer",
];

/// Why a run cannot start where it should. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// The folder cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The checkpoint that was named cannot be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A run has checkpoints, and none can be used.
    #[error(
        "{}: none of its {count} checkpoints can be used ({newest}); \
         remove them to start from the beginning, or choose another --out",
        path.display()
    )]
    NoneIntact {
        /// The run.
        path: PathBuf,
        /// How many there are.
        count: usize,
        /// What is wrong with the newest one.
        newest: Box<CheckpointError>,
    },
    /// A run was named that has no checkpoint.
    #[error("{}: no checkpoint there; give a step-… folder or a run that has one", path.display())]
    NoCheckpoint {
        /// The folder that was named.
        path: PathBuf,
    },
    /// The place holds checkpoints that starting there would contradict.
    #[error(
        "{}: has {}, which do not fit a start from {}; choose another --out, or remove them",
        path.display(), checkpoint::folder_name(*step), from.display()
    )]
    Holds {
        /// The place.
        path: PathBuf,
        /// Its newest checkpoint's step.
        step: u64,
        /// Where the run was to start from.
        from: PathBuf,
    },
    /// The configuration names another tokenizer than the one that the weights were trained with.
    #[error(
        "{}: its weights were trained with the tokenizer {kept}, and {asked} is another one \
         ({found}); leave data.tokenizer as it was, or start again with another --out",
        path.display()
    )]
    Tokenizer {
        /// The checkpoint.
        path: PathBuf,
        /// The fingerprint of its tokenizer.
        kept: String,
        /// What the configuration names.
        asked: String,
        /// The fingerprint of that one.
        found: String,
    },
    /// The context changed of a model that has learnt a position for every token of it.
    #[error(
        "{}: its model has learnt {before} positions, one for every token of its context; \
         model.context = {asked} would need others; leave it at {before}",
        path.display()
    )]
    LearnedPositions {
        /// The checkpoint.
        path: PathBuf,
        /// Its context.
        before: usize,
        /// The context that the configuration names.
        asked: usize,
    },
    /// The tokenizer that the configuration names cannot be read.
    #[error(transparent)]
    Data(#[from] simattn_data::DataError),
    /// The checkpoint is further than the run is to come.
    #[error(
        "{}: is of step {step}, beyond the {steps} of train.steps; raise train.steps, or start from an \
         earlier checkpoint with --resume",
        path.display()
    )]
    Beyond {
        /// The checkpoint.
        path: PathBuf,
        /// Its step.
        step: u64,
        /// The steps of the configuration.
        steps: u64,
    },
    /// The configuration or the data is another one than the checkpoint's.
    #[error(
        "{}: changed since: {}; continue with --allow-config-change, \
         or start again with another --out",
        path.display(), list(differences)
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
        /// What differs.
        differences: Vec<Change>,
    },
}

/// Changes on one line.
fn list(differences: &[Change]) -> String {
    let lines: Vec<String> = differences.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// Where a run starts.
#[derive(Debug)]
pub struct Resumption {
    /// The folder, taken, where it is there already.
    pub folder: Option<RunFolder>,
    /// The checkpoint to start from; the beginning where there is none.
    pub checkpoint: Option<Checkpoint>,
    /// Newer checkpoints of the folder that cannot be used.
    pub unusable: Vec<(PathBuf, CheckpointError)>,
}

impl Resumption {
    /// Looks at the place of a run, takes its folder where there is one, and finds the checkpoint
    /// to start from.
    ///
    /// # Errors
    ///
    /// [`ResumeError`] where the place holds something else, another process, or no checkpoint that
    /// can be used.
    pub fn find(place: &Path, resume: &Resume) -> Result<Self, ResumeError> {
        if *resume == Resume::Never {
            check_free(place)?;
        }
        let folder = if is_run(place)? {
            Some(RunFolder::open(place)?)
        } else {
            None
        };
        match resume {
            Resume::Never => Ok(Self::at_the_beginning(folder)),
            Resume::Auto => match folder {
                None => Ok(Self::at_the_beginning(None)),
                Some(folder) => Self::newest(place, Some(folder)),
            },
            Resume::From(path) => Self::from_path(place, folder, path),
        }
    }

    fn at_the_beginning(folder: Option<RunFolder>) -> Self {
        Self {
            folder,
            checkpoint: None,
            unusable: Vec::new(),
        }
    }

    /// The newest checkpoint of `run`; `folder` is the place of the run that starts.
    fn newest(run: &Path, folder: Option<RunFolder>) -> Result<Self, ResumeError> {
        let mut found = newest_intact(run)?;
        if found.checkpoint.is_none() && !found.unusable.is_empty() {
            let count = found.unusable.len();
            let (_, newest) = found.unusable.swap_remove(0);
            return Err(ResumeError::NoneIntact {
                path: run.to_owned(),
                count,
                newest: Box::new(newest),
            });
        }
        Ok(Self {
            folder,
            checkpoint: found.checkpoint,
            unusable: found.unusable,
        })
    }

    fn from_path(
        place: &Path,
        folder: Option<RunFolder>,
        path: &Path,
    ) -> Result<Self, ResumeError> {
        let named = path.file_name().and_then(|name| name.to_str());
        let is_checkpoint = named.is_some_and(|name| checkpoint::step_of(name).is_some())
            || path.join(checkpoint::STATE).exists();
        let found = if is_checkpoint {
            Self {
                checkpoint: Some(Checkpoint::open(path)?),
                ..Self::at_the_beginning(folder)
            }
        } else if path.is_dir() {
            Self::newest(path, folder)?
        } else {
            Self::at_the_beginning(folder)
        };
        let Some(start) = &found.checkpoint else {
            return Err(ResumeError::NoCheckpoint {
                path: path.to_owned(),
            });
        };
        let own = same_folder(start.folder.parent(), place);
        if found.folder.is_some() {
            let there = checkpoint::list(place).unwrap_or_default();
            let newest = there.last().map(|(step, _)| *step);
            let unusable = found.unusable.len();
            let in_the_way = match newest {
                Some(step) if !own => Some(step),
                Some(step) if step > start.state.progress.step && unusable == 0 => Some(step),
                _ => None,
            };
            if let Some(step) = in_the_way {
                return Err(ResumeError::Holds {
                    path: place.to_owned(),
                    step,
                    from: start.folder.clone(),
                });
            }
        }
        // What cannot be used in another run's folder is that run's affair.
        let unusable = if own { found.unusable } else { Vec::new() };
        Ok(Self { unusable, ..found })
    }
}

/// Whether two paths lead to one folder.
fn same_folder(a: Option<&Path>, b: &Path) -> bool {
    let Some(Ok(a)) = a.map(Path::canonicalize) else {
        return false;
    };
    b.canonicalize().is_ok_and(|b| a == b)
}

/// Compares a configuration with a checkpoint's. A vocabulary of 0, which the tokenizer will fill
/// in, counts as equal.
///
/// Gives the differences that were allowed.
///
/// # Errors
///
/// [`ResumeError::Changed`] where they are not; [`ResumeError::LearnedPositions`] for a context
/// that the checkpoint's model cannot have; [`ResumeError::Beyond`] where the checkpoint is of a
/// later step than the configuration's last.
pub fn compare_config(
    checkpoint: &Checkpoint,
    config: &RunConfig,
    allow: bool,
) -> Result<Vec<Change>, ResumeError> {
    let mut now = config.clone();
    if now.model.vocabulary == 0 {
        now.model.vocabulary = checkpoint.config.model.vocabulary;
    }
    let (before, asked) = (checkpoint.config.model.context, now.model.context);
    if checkpoint.config.model.positions == Positions::Learned && before != asked {
        return Err(ResumeError::LearnedPositions {
            path: checkpoint.folder.clone(),
            before,
            asked,
        });
    }
    let mut differences = changes(&checkpoint.config, &now);
    differences.retain(|change| !FREE_FIELDS.contains(&change.field.as_str()));
    let allowed = decide(checkpoint, differences, allow)?;
    let (step, steps) = (checkpoint.state.progress.step, config.train.steps);
    if step > steps {
        Err(ResumeError::Beyond {
            path: checkpoint.folder.clone(),
            step,
            steps,
        })
    } else {
        Ok(allowed)
    }
}

/// Compares the tokens a run would learn from with those of a checkpoint; as [`compare_config`].
///
/// # Errors
///
/// [`ResumeError::Changed`] where they are others and may not be.
pub fn compare_data(
    checkpoint: &Checkpoint,
    now: &Fingerprint,
    allow: bool,
) -> Result<Vec<Change>, ResumeError> {
    let before = &checkpoint.state.data;
    let say = |data: &Fingerprint| {
        let sum: String = data.sha256.chars().take(12).collect();
        format!(
            "{} + {} tokens, SHA-256 {sum}…",
            data.train_tokens, data.validation_tokens
        )
    };
    let differences = if before == now {
        Vec::new()
    } else {
        vec![Change {
            field: "the tokens of the data".to_owned(),
            before: Some(say(before)),
            now: Some(say(now)),
        }]
    };
    decide(checkpoint, differences, allow)
}

fn decide(
    checkpoint: &Checkpoint,
    differences: Vec<Change>,
    allow: bool,
) -> Result<Vec<Change>, ResumeError> {
    if differences.is_empty() || allow {
        return Ok(differences);
    }
    Err(ResumeError::Changed {
        path: checkpoint.folder.clone(),
        differences,
    })
}
