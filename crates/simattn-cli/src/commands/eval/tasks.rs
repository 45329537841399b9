//! Multiple-choice and last-word tasks.

use std::path::{Path, PathBuf};

use simattn_eval::{EvalError, Item, Scorer, Settings, Task, TaskRun, read_tasks, run_task, tasks};
use simattn_hub::HubError;

use super::super::open_model::open_model;
use super::arguments::EvalArgs;
use super::outputs::Outputs;
use crate::console::{show, tell, value};
use crate::error::{CliError, failure, input, input_if};
use crate::progress::Tenths;

/// A task that can be run: its items and those to show before them.
struct Ready {
    task: Task,
    items: Vec<Item>,
    examples: Vec<Item>,
}

/// Scores the tasks that were asked for and prints a table.
pub(super) fn run(args: &EvalArgs) -> Result<(), CliError> {
    if args.batch_tokens == 0 {
        return Err(CliError::Input(
            "--batch-tokens 0 scores nothing: give at least 1".to_owned(),
        ));
    }
    if args.limit == Some(0) {
        return Err(CliError::Input(
            "--limit 0 leaves no item to score: give at least 1, or leave it out".to_owned(),
        ));
    }
    // Whatever is wrong with places and data shows before the model is loaded.
    let outputs = Outputs::take(args)?;
    let ready = read(args)?;
    let device = args.device.open()?;
    let model = open_model(&args.model, &device)?;
    let scorer = Scorer::new(
        &model.decoder,
        args.longest(&model.config.model)?,
        args.batch_tokens,
    );
    let settings = Settings {
        limit: args.limit,
        shots: args.num_fewshot,
        seed: args.seed,
        prefix: args.prefix(&model.tokenizer)?,
    };
    let mut runs = Vec::new();
    for Ready {
        task,
        items,
        examples,
    } in ready
    {
        let name = task.name.clone();
        let mut tenths = Tenths::default();
        let progress = |finished: usize, all: usize| {
            if let Some(percent) = tenths.reached(finished as u64, all as u64) {
                tell(format_args!("eval {name} {percent}% of {all} requests"));
            }
        };
        let done = run_task(
            &task,
            items,
            &examples,
            &model.tokenizer,
            &scorer,
            &settings,
            progress,
        );
        match done {
            Ok(run) => runs.push(run),
            Err(error) => {
                // What was scored before it is not lost.
                if !runs.is_empty() {
                    show(table(&runs))?;
                }
                return Err(match error {
                    EvalError::NotFinite { .. } => failure(error),
                    _ => input(error),
                });
            }
        }
    }
    // Hours of work may be in it: it is shown even if the files cannot be written.
    let shown = show(table(&runs));
    outputs.write(args, &runs).map_err(failure)?;
    shown
}

fn read(args: &EvalArgs) -> Result<Vec<Ready>, CliError> {
    let mut known = tasks();
    if let Some(path) = &args.task_file {
        let own = read_tasks(path).map_err(input)?;
        // One's own task of a built-in one's name takes its place.
        known.retain(|task| own.iter().all(|other| other.name != task.name));
        known.extend(own);
    }
    if args.shots_from.is_some() && args.tasks.len() > 1 {
        return Err(CliError::Input(
            "--shots-from has the items of one task, but several were given: run them one by one"
                .to_owned(),
        ));
    }
    let one = |name: &String| -> Result<Ready, CliError> {
        let task = Task::named(name.trim(), &known).map_err(input)?;
        let paths = data(&task, args.tasks_dir.as_deref())?;
        let mut items = Vec::new();
        for path in &paths {
            items.extend(task.items(path).map_err(input)?);
        }
        let path = &paths[0];
        let (from, examples) = match &args.shots_from {
            Some(other) => (other.as_path(), task.items(other).map_err(input)?),
            None if args.num_fewshot > 0 => (path.as_path(), items.clone()),
            None => (path.as_path(), Vec::new()),
        };
        // The question itself may be one of them.
        if args.num_fewshot > 0 && examples.len() <= args.num_fewshot {
            return Err(input(EvalError::FewShots {
                path: from.to_owned(),
                found: examples.len(),
                asked: args.num_fewshot,
            }));
        }
        Ok(Ready {
            task,
            items,
            examples,
        })
    };
    args.tasks.iter().map(one).collect()
}

/// The files with a task's items, at least one: in the folder, or on the Hub.
fn data(task: &Task, folder: Option<&Path>) -> Result<Vec<PathBuf>, CliError> {
    let Some(folder) = folder else {
        let named = task.hub.as_ref().ok_or_else(|| EvalError::NoHub {
            task: task.name.clone(),
        });
        let reference: simattn_hub::DatasetReference =
            named.map_err(input)?.parse().map_err(input)?;
        return simattn_hub::dataset_files(&reference).map_err(input_if(HubError::is_input));
    };
    Ok(vec![task.file_in(folder).map_err(input)?])
}

/// One line a number.
fn table(runs: &[TaskRun]) -> String {
    let mut lines = vec![format!(
        "{:<16}{:>7}{:>7}  {:<11}{:>9}{:>10}",
        "task", "items", "shots", "metric", "value", "± error"
    )];
    for run in runs {
        for (metric, score) in &run.outcome.values {
            let error = if score.standard_error.is_finite() {
                format!("{:.4}", score.standard_error)
            } else {
                "-".to_owned()
            };
            lines.push(format!(
                "{:<16}{:>7}{:>7}  {:<11}{:>9.4}{error:>10}",
                value(&run.task.name),
                run.outcome.items,
                run.shots,
                metric.name(),
                score.value,
            ));
        }
    }
    lines.join("\n") + "\n"
}
