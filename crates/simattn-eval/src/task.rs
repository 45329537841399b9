//! What a task is: data, in TOML.

use crate::error::EvalError;
use crate::metric::Metric;
use crate::prepare::Preparation;
use crate::template::Template;
use serde::Deserialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// How an item's fields become requests.
#[derive(Debug, Clone, PartialEq)]
pub enum Choices {
    /// One context, a list of continuations in a field.
    Listed(Template, String),
    /// One context, a continuation from each template.
    Written(Template, Vec<Template>),
    /// A context from each template, one continuation: what follows is scored, what differs comes
    /// before it.
    Contexts(Vec<Template>, Template),
    /// One context, one continuation, no choice.
    Single(Template, Template),
}

/// Where the right answer is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "gold must be { index = \"field\" }, { label = \"field\", among = \"field\" } or { always = 0 }"
)]
pub enum Gold {
    /// The place of a field's value in a list.
    Among {
        /// The field with the value.
        label: String,
        /// The field with the list.
        among: String,
    },
    /// A number in a field.
    Index {
        /// The field.
        index: String,
        /// The number of the first choice.
        #[serde(default)]
        first: i64,
    },
    /// The same for every item.
    Always {
        /// From 0.
        always: usize,
    },
}

/// A task.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its name, that of lm-evaluation-harness where it is one of its tasks.
    pub name: String,
    /// Names of its data file, without extension, the first that is there being taken.
    pub files: Vec<String>,
    /// Its data on the Hugging Face Hub, as `hf://datasets/OWNER/NAME[@REVISION]/PATTERN`.
    pub hub: Option<String>,
    /// What is done to the fields first.
    pub(crate) preparation: Option<Preparation>,
    /// The requests.
    pub choices: Choices,
    /// The right one; none for a task without choices.
    pub gold: Option<Gold>,
    /// What is reported.
    pub metrics: Vec<Metric>,
}

/// As written in TOML.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    #[serde(default)]
    files: Vec<String>,
    hub: Option<String>,
    prepare: Option<Preparation>,
    context: Option<String>,
    contexts: Option<Vec<String>>,
    continuation: Option<String>,
    choices: Option<WrittenChoices>,
    gold: Option<Gold>,
    metrics: Vec<Metric>,
}

#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "choices must be the name of a list field or a list of templates"
)]
enum WrittenChoices {
    Field(String),
    Templates(Vec<String>),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(rename = "task")]
    tasks: Vec<toml::Spanned<Written>>,
}

/// The tasks that are built in: ARC, HellaSwag, LAMBADA, PIQA, SciQ, SocialIQA and WinoGrande.
pub fn tasks() -> Vec<Task> {
    parse(include_str!("tasks.toml"), Path::new("tasks.toml"))
        .expect("a test reads the built-in tasks")
}

/// Tasks from a TOML file; docs/evaluation.md tells its form.
///
/// # Errors
///
/// [`EvalError::TaskFile`] with the line of the first thing that is wrong.
pub fn read_tasks(path: &Path) -> Result<Vec<Task>, EvalError> {
    let unreadable = |problem: String| EvalError::Unreadable {
        path: path.to_owned(),
        problem,
    };
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_string(&mut text))
        .map_err(|error| unreadable(error.to_string()))?;
    if text.len() as u64 > LONGEST_FILE {
        return Err(unreadable(
            "longer than 16 MiB, which no task file is".to_owned(),
        ));
    }
    parse(&text, path)
}

/// No task file is longer. A device that never ends is read no further.
const LONGEST_FILE: u64 = 16 << 20;

fn parse(text: &str, path: &Path) -> Result<Vec<Task>, EvalError> {
    let wrong = |at: usize, problem: String| EvalError::TaskFile {
        path: path.to_owned(),
        line: 1 + text[..at.min(text.len())].matches('\n').count(),
        problem,
    };
    let document: Document = toml::from_str(text).map_err(|error| {
        let problem = error.message().lines().collect::<Vec<_>>().join(", ");
        wrong(error.span().map_or(0, |span| span.start), problem)
    })?;
    let mut tasks: Vec<Task> = Vec::new();
    for written in document.tasks {
        let at = written.span().start;
        let task = Task::of(written.into_inner()).map_err(|problem| wrong(at, problem))?;
        if tasks.iter().any(|other| other.name == task.name) {
            return Err(wrong(at, format!("a second task \"{}\"", task.name)));
        }
        tasks.push(task);
    }
    Ok(tasks)
}

impl Task {
    /// The task of a name.
    ///
    /// # Errors
    ///
    /// [`EvalError::UnknownTask`].
    pub fn named(name: &str, tasks: &[Self]) -> Result<Self, EvalError> {
        let found = tasks.iter().find(|task| task.name == name);
        found.cloned().ok_or_else(|| EvalError::UnknownTask {
            name: name.to_owned(),
            known: tasks
                .iter()
                .map(|task| task.name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })
    }

    fn of(written: Written) -> Result<Self, String> {
        let Written {
            name,
            files,
            hub,
            prepare,
            context,
            contexts,
            continuation,
            choices,
            gold,
            metrics,
        } = written;
        let one = |text: &Option<String>| text.as_deref().map(Template::parse).transpose();
        let many = |texts: &[String]| -> Result<Vec<Template>, String> {
            texts.iter().map(|text| Template::parse(text)).collect()
        };
        let choices = match (one(&context)?, contexts, one(&continuation)?, choices) {
            (Some(context), None, None, Some(WrittenChoices::Field(field))) => {
                Choices::Listed(context, field)
            }
            (Some(context), None, None, Some(WrittenChoices::Templates(texts))) => {
                Choices::Written(context, many(&texts)?)
            }
            (None, Some(contexts), Some(continuation), None) => {
                Choices::Contexts(many(&contexts)?, continuation)
            }
            (Some(context), None, Some(continuation), None) => {
                Choices::Single(context, continuation)
            }
            _ => {
                return Err(format!(
                    "task \"{name}\": give context and choices, contexts and continuation, or context and continuation"
                ));
            }
        };
        let single = matches!(choices, Choices::Single(..));
        if single == gold.is_some() {
            return Err(if single {
                format!("task \"{name}\": gold has no meaning without choices")
            } else {
                format!("task \"{name}\": gold is missing")
            });
        }
        if metrics.is_empty() {
            return Err(format!("task \"{name}\": metrics is empty"));
        }
        if let Some(metric) = metrics.iter().find(|metric| !metric.fits(single)) {
            return Err(format!(
                "task \"{name}\": {} does not fit such a task",
                metric.name()
            ));
        }
        let fixed = match &choices {
            Choices::Written(_, all) | Choices::Contexts(all, _) => Some(all.len()),
            Choices::Listed(..) | Choices::Single(..) => None,
        };
        if fixed.is_some_and(|count| count < 2) {
            return Err(format!("task \"{name}\": fewer than two choices"));
        }
        Ok(Self {
            files: if files.is_empty() {
                vec![name.clone()]
            } else {
                files
            },
            name,
            hub,
            preparation: prepare,
            choices,
            gold,
            metrics,
        })
    }

    /// The task's file in a folder.
    ///
    /// # Errors
    ///
    /// [`EvalError::NoData`] where none of its names is there as .jsonl or .parquet.
    pub fn file_in(&self, folder: &Path) -> Result<PathBuf, EvalError> {
        let endings = ["jsonl", "parquet"];
        let names: Vec<String> = self
            .files
            .iter()
            .flat_map(|name| endings.map(|ending| format!("{name}.{ending}")))
            .collect();
        let found = names
            .iter()
            .map(|name| folder.join(name))
            .find(|path| path.is_file());
        found.ok_or_else(|| EvalError::NoData {
            folder: folder.to_owned(),
            task: self.name.clone(),
            wanted: names.join(" or "),
        })
    }
}
