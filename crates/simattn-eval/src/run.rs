//! A task from its items to its numbers.

use crate::error::EvalError;
use crate::items::Item;
use crate::metrics::Outcome;
use crate::pair::Pair;
use crate::score::{Score, Scorer};
use crate::task::Task;
use rayon::prelude::*;
use simattn_data::Tokenizer;
use simattn_random::{Stream, stream};

/// What may be chosen for a run.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Items at most, from the first.
    pub limit: Option<usize>,
    /// Items that are shown, answered, before each question; see [`run_task`].
    pub shots: usize,
    /// Draws the items that are shown, anew for each question; the first ones where there is none.
    pub seed: Option<u64>,
    /// The token used for an empty context.
    pub prefix: u32,
}

/// An item with its scores.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemScore {
    /// The item, its contexts as they were given to the model.
    pub item: Item,
    /// One a request.
    pub scores: Vec<Score>,
    /// The item's part of each metric, in the task's order.
    pub parts: Vec<f64>,
}

/// A task that was run.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskRun {
    /// The task.
    pub task: Task,
    /// Every item that was scored.
    pub items: Vec<ItemScore>,
    /// Items of the file.
    pub available: usize,
    /// Items shown before each question.
    pub shots: usize,
    /// The numbers.
    pub outcome: Outcome,
}

/// Scores a task's items. `examples` are the items to show: the first of them that are not the
/// question itself (the `first_n` sampler of lm-evaluation-harness), or drawn where a seed is
/// given; each with its right answer, an empty line between. `progress` hears finished and all
/// requests.
///
/// # Errors
///
/// A tokenizer that fails on a text, [`EvalError::NoItems`], [`EvalError::NotFinite`]. Whoever
/// calls sees to it that there are examples enough.
pub fn run_task(
    task: &Task,
    items: Vec<Item>,
    examples: &[Item],
    tokenizer: &Tokenizer,
    scorer: &Scorer,
    settings: &Settings,
    mut progress: impl FnMut(usize, usize),
) -> Result<TaskRun, EvalError> {
    let available = items.len();
    let mut items = items;
    items.truncate(settings.limit.unwrap_or(available));
    if items.is_empty() {
        return Err(EvalError::NoItems {
            task: task.name.clone(),
        });
    }
    for (index, item) in items.iter_mut().enumerate() {
        let chance = settings
            .seed
            .map(|seed| stream(seed, &format!("eval.shots.{}.{index}", task.name)));
        let shown = shots(item, examples, settings.shots, chance);
        for request in &mut item.requests {
            request.context.insert_str(0, &shown);
        }
    }
    let pairs: Vec<Pair> = items
        .par_iter()
        .flat_map_iter(|item| item.requests.iter())
        .map(|request| {
            Pair::encode(
                tokenizer,
                &request.context,
                &request.continuation,
                settings.prefix,
            )
        })
        .collect::<Result<_, _>>()?;
    let all = pairs.len();
    let scores = scorer.score(&pairs, |finished| progress(finished, all));
    check_finite(task, &items, &scores)?;
    let mut scores = scores.into_iter();
    let scored: Vec<ItemScore> = items
        .into_iter()
        .map(|item| {
            let scores: Vec<Score> = scores.by_ref().take(item.requests.len()).collect();
            let parts = task
                .metrics
                .iter()
                .map(|metric| metric.of(&item, &scores))
                .collect();
            ItemScore {
                item,
                scores,
                parts,
            }
        })
        .collect();
    let values = task.metrics.iter().enumerate().map(|(index, &metric)| {
        let parts: Vec<f64> = scored.iter().map(|item| item.parts[index]).collect();
        (metric, metric.mean(&parts))
    });
    Ok(TaskRun {
        outcome: Outcome {
            values: values.collect(),
            items: scored.len(),
        },
        task: task.clone(),
        items: scored,
        available,
        shots: settings.shots,
    })
}

/// Finds the first request whose log-likelihood is no number. One of −∞ is none either: float32
/// gives it only where the difference of two logits overflows.
fn check_finite(task: &Task, items: &[Item], scores: &[Score]) -> Result<(), EvalError> {
    let mut scores = scores.iter();
    for (index, item) in items.iter().enumerate() {
        let of_item = scores.by_ref().take(item.requests.len());
        for (request, score) in of_item.enumerate() {
            if !score.log_likelihood.is_finite() {
                return Err(EvalError::NotFinite {
                    task: task.name.clone(),
                    item: index + 1,
                    request: request + 1,
                    value: score.log_likelihood,
                });
            }
        }
    }
    Ok(())
}

/// Answered examples, to be put before a question.
fn shots(question: &Item, examples: &[Item], count: usize, chance: Option<Stream>) -> String {
    if count == 0 {
        return String::new();
    }
    let mut others: Vec<&Item> = examples
        .iter()
        .filter(|example| example.document != question.document)
        .collect();
    if let Some(mut chance) = chance {
        chance.shuffle(&mut others);
    }
    let answered = others.into_iter().take(count).map(|example| {
        let request = &example.requests[example.gold.unwrap_or(0)];
        format!("{}{}\n\n", request.context, request.continuation)
    });
    answered.collect()
}
