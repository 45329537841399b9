//! The folder of a study.
//!
//! | entry | what |
//! |---|---|
//! | `study.json` | the plan, and who began it, where and when; written first, never changed |
//! | `study.lock` | locked by the process that works here |
//! | `config.toml` | the configuration without the variants |
//! | `costs.json` | the measured costs of steps |
//! | `runs/NAME.json` | the results of a run that is finished, or failed |
//! | `runs/NAME/` | the folder of a run that is under way, as `simattn train` has it |
//! | `results.json`, `report.html` | the results of all finished runs, replaced after each |
//!
//! Every file is written under another name and renamed, so that a process may be killed at any
//! moment. A run's results are on the disk before its folder is removed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use simattn_train::folder_lock::FolderLock;
use simattn_train::model_folder::{Reservation, replace};
use simattn_train::{exact_json, fault};

use super::error::{StudyError, io_failed};
use super::plan::{Plan, Tolerance};
use super::results::{CorpusFacts, RunResults};
use super::step_cost::StepCosts;
use crate::machine::Machine;

const STUDY: &str = "study.json";
const LOCK: &str = "study.lock";
const CONFIG: &str = "config.toml";
const COSTS: &str = "costs.json";
const RUNS: &str = "runs";

/// The newest layout that this version writes and reads.
pub(crate) const FORMAT: u32 = 1;

/// `study.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// The layout of the folder: [`FORMAT`].
    pub(crate) format: u32,
    /// The study's title.
    pub(crate) name: String,
    /// When it began, as an RFC 3339 time.
    pub(crate) created: String,
    /// The command line that began it.
    pub(crate) command: String,
    /// Where it began.
    pub(crate) machine: Machine,
    /// What the models are trained and scored on.
    pub(crate) corpus: CorpusFacts,
    /// How the variants' sizes were matched, one statement a line.
    pub(crate) matching: Vec<String>,
    /// What it is to do.
    pub(crate) plan: Plan,
}

/// What is in the place of a study.
#[derive(Debug)]
pub(crate) enum Found {
    /// A study.
    Study(Box<StudyFolder>),
    /// Nothing, or an empty folder.
    Free(Reservation),
}

impl Found {
    /// The study, if there is one.
    pub(crate) fn study(&self) -> Option<&StudyFolder> {
        match self {
            Self::Study(folder) => Some(folder),
            Self::Free(_) => None,
        }
    }
}

/// A study's folder, held by this process.
#[derive(Debug)]
pub(crate) struct StudyFolder {
    path: PathBuf,
    /// How it began.
    pub(crate) beginning: Beginning,
    _lock: FolderLock,
}

impl StudyFolder {
    /// Takes the study that is at `path`, or the place for one.
    ///
    /// # Errors
    /// Something else at that place, another process that works there, or a plan that cannot be
    /// read.
    pub(crate) fn find(path: &Path) -> Result<Found, StudyError> {
        if !path.join(STUDY).is_file() {
            return Ok(Found::Free(Reservation::new(path)?));
        }
        let lock = FolderLock::take(path, LOCK)?;
        let beginning = read_beginning(path)?;
        remove_unfinished(&path.join(RUNS))?;
        Ok(Found::Study(Box::new(Self {
            path: path.to_owned(),
            beginning,
            _lock: lock,
        })))
    }

    /// Begins a study at a place that was reserved.
    ///
    /// # Errors
    /// A folder that cannot be written, or was taken meanwhile.
    pub(crate) fn begin(
        reservation: Reservation,
        beginning: Beginning,
    ) -> Result<Self, StudyError> {
        let path = reservation.place().to_owned();
        // One file, so that an empty folder too is a study's or is not.
        reservation.write(STUDY, &json(&beginning, &path)?)?;
        reservation.publish()?;
        Ok(Self {
            _lock: FolderLock::take(&path, LOCK)?,
            path,
            beginning,
        })
    }

    /// Refuses a plan that is not the study's.
    ///
    /// # Errors
    /// [`StudyError::Differs`] with the first difference.
    pub(crate) fn check(&self, plan: &Plan) -> Result<(), StudyError> {
        let before = &self.beginning.plan;
        match before.first_difference(plan, Tolerance::None) {
            None => Ok(()),
            Some(change) => Err(StudyError::Differs {
                path: self.path.clone(),
                change,
            }),
        }
    }

    /// Whether a variant of this name is in the study.
    pub(crate) fn has(&self, name: &str) -> bool {
        let variants = &self.beginning.plan.variants;
        variants.iter().any(|variant| variant.name == name)
    }

    /// Writes the configuration without the variants.
    ///
    /// # Errors
    /// A disk that does not take it.
    pub(crate) fn describe(&self, config: &str) -> Result<(), StudyError> {
        self.write(CONFIG, config.as_bytes())
    }

    /// Writes a file at the top, whole, in place of an older one.
    ///
    /// # Errors
    /// A disk that does not take it; the older file is unchanged.
    pub(crate) fn write(&self, name: &str, contents: &[u8]) -> Result<(), StudyError> {
        let path = self.path.join(name);
        replace(&path, contents)?;
        fault::pass("study.written").map_err(io_failed(&path, "write"))
    }

    /// Where the folder of a run under way is.
    pub(crate) fn place_of(&self, run: &str) -> PathBuf {
        self.path.join(RUNS).join(run)
    }

    /// The results of a run, if it is finished.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn finished(&self, run: &str) -> Result<Option<RunResults>, StudyError> {
        read_if_there(&self.results_of(run))
    }

    fn results_of(&self, run: &str) -> PathBuf {
        self.path.join(RUNS).join(format!("{run}.json"))
    }

    /// Keeps the results of a run and removes its folder.
    ///
    /// # Errors
    /// A disk that does not take them; the run's folder is still there then.
    pub(crate) fn finish(&self, run: &str, results: &RunResults) -> Result<(), StudyError> {
        let path = self.results_of(run);
        // A run that fails before its first checkpoint takes its folder away, and this one with it.
        let runs = self.path.join(RUNS);
        fs::create_dir_all(&runs).map_err(io_failed(&runs, "make the folder"))?;
        replace(&path, &json(results, &path)?)?;
        fault::pass("study.finished").map_err(io_failed(&path, "write"))?;
        self.clear(run)
    }

    /// Removes the folder of a run whose results are kept.
    ///
    /// # Errors
    /// A folder that the system does not let go.
    pub(crate) fn clear(&self, run: &str) -> Result<(), StudyError> {
        let place = self.place_of(run);
        match fs::remove_dir_all(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_failed(&place, "remove")(error))
            }
            _ => Ok(()),
        }
    }

    /// The measured costs of steps, if there are any.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub(crate) fn costs(&self) -> Result<Option<StepCosts>, StudyError> {
        read_costs(&self.path, &self.beginning.plan)
    }

    /// Keeps measured costs.
    ///
    /// # Errors
    /// A disk that does not take them.
    pub(crate) fn keep_costs(&self, costs: &StepCosts) -> Result<(), StudyError> {
        self.write(COSTS, &json(costs, &self.path.join(COSTS))?)
    }
}

/// The plan of the study in `path`, even while a process works there, and the costs of steps that
/// it measured.
///
/// # Errors
/// [`StudyError::Costs`] if there is no study or no measurement.
pub(crate) fn costs_of_another(path: &Path) -> Result<(Plan, StepCosts), StudyError> {
    let missing = |why: &str| StudyError::Costs {
        path: path.to_owned(),
        why: why.to_owned(),
    };
    if !path.join(STUDY).is_file() {
        return Err(missing(
            "no study there; give a folder that holds study.json",
        ));
    }
    let plan = read_beginning(path)?.plan;
    let costs = read_costs(path, &plan)?;
    let costs = costs.ok_or_else(|| missing("has not measured the costs of steps"))?;
    Ok((plan, costs))
}

fn read_beginning(path: &Path) -> Result<Beginning, StudyError> {
    /// What every layout will have.
    #[derive(Deserialize)]
    struct Layout {
        format: u32,
        plan: Author,
    }
    #[derive(Deserialize)]
    struct Author {
        tool_version: String,
    }
    let path = path.join(STUDY);
    let text = fs::read_to_string(&path).map_err(io_failed(&path, "read"))?;
    let layout: Layout = parse(&text, &path)?;
    if layout.format > FORMAT {
        return Err(StudyError::Newer {
            path,
            format: layout.format,
            tool: layout.plan.tool_version,
        });
    }
    parse(&text, &path)
}

fn read_costs(path: &Path, plan: &Plan) -> Result<Option<StepCosts>, StudyError> {
    let path = path.join(COSTS);
    let Some(costs) = read_if_there::<StepCosts>(&path)? else {
        return Ok(None);
    };
    let without = plan
        .variants
        .iter()
        .find(|v| costs.median(&v.name).is_none());
    match without {
        None => Ok(Some(costs)),
        Some(variant) => Err(StudyError::Damaged {
            path,
            why: format!("no costs of {}", variant.name),
        }),
    }
}

fn read_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, StudyError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(io_failed(path, "read")(error)),
        Ok(text) => parse(&text, path).map(Some),
    }
}

/// A file of a study, or its results, every number read as it was written.
pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, StudyError> {
    exact_json::from_str(text).map_err(|error| StudyError::Damaged {
        path: path.to_owned(),
        why: error.to_string(),
    })
}

fn json(value: &impl Serialize, path: &Path) -> Result<Vec<u8>, StudyError> {
    serde_json::to_vec_pretty(value)
        .map_err(io::Error::from)
        .map_err(io_failed(path, "write"))
}

/// Removes what a killed process had begun to make among the runs. Only for a holder of the lock.
fn remove_unfinished(runs: &Path) -> Result<(), StudyError> {
    let entries = match fs::read_dir(runs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(io_failed(runs, "read"))?,
    };
    for entry in entries {
        let path = entry.map_err(io_failed(runs, "read"))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !name.starts_with('.') {
            continue;
        }
        let removed = if path.is_dir() {
            fs::remove_dir_all(&path)
        } else {
            fs::remove_file(&path)
        };
        removed.map_err(io_failed(&path, "remove"))?;
    }
    Ok(())
}
