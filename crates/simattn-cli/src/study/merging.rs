//! Studies that share the runs of one plan, joined.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use simattn_train::{Change, changes};
use thiserror::Error;

use super::error::{StudyError, io_failed};
use super::folder::parse;
use super::plan::Tolerance;
use super::rate_search::RateSearch;
use super::results::{
    CorpusFacts, EvalPoint, Parameters, RunResults, Schedule, StudyResults, TrainPoint,
    VariantResults,
};

/// Why studies cannot be joined. `Display` is one line.
#[derive(Debug, Error)]
pub(crate) enum MergeError {
    /// Results that cannot be read.
    #[error(transparent)]
    Results(#[from] StudyError),
    /// Results of another plan.
    #[error("{} and {}: not of one study: {change}", first.display(), second.display())]
    Differ {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The first difference.
        change: Change,
    },
    /// A run that both have, with other numbers.
    #[error(
        "{} and {}: both have {run}, and {what} differ; leave one of them out",
        first.display(), second.display()
    )]
    TwoResults {
        /// One of them.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The run.
        run: String,
        /// What is not the same.
        what: &'static str,
    },
}

/// The results of one of the studies, and where they were read.
#[derive(Debug)]
pub(crate) struct Part {
    path: PathBuf,
    results: StudyResults,
}

impl Part {
    /// Reads the results in a study's folder, or in a file.
    ///
    /// # Errors
    /// A file that is not there or is not understood.
    pub(crate) fn read(path: &Path) -> Result<Self, MergeError> {
        let file = if path.is_dir() {
            path.join("results.json")
        } else {
            path.to_owned()
        };
        let text = fs::read_to_string(&file).map_err(io_failed(&file, "read"))?;
        Ok(Self {
            results: parse(&text, &file)?,
            path: path.to_owned(),
        })
    }

    /// What it measured.
    pub(crate) fn into_results(self) -> StudyResults {
        self.results
    }

    /// The command that began it.
    pub(crate) fn command(&self) -> &str {
        &self.results.command
    }
}

/// The runs of all parts as one study, and how many of its runs none of them has.
///
/// The first part's machine is the study's. Runs of another machine say so, because their times
/// cannot be compared with the others.
///
/// # Errors
/// [`MergeError`] with the first thing that does not agree.
pub(crate) fn merge(first: &Part, others: &[Part]) -> Result<(StudyResults, usize), MergeError> {
    let parts: Vec<&Part> = std::iter::once(first).chain(others).collect();
    for other in others {
        if let Some(change) = difference(&first.results, &other.results) {
            return Err(MergeError::Differ {
                first: first.path.clone(),
                second: other.path.clone(),
                change,
            });
        }
    }
    let mut study = first.results.clone();
    if let Some(plan) = &mut study.plan {
        plan.share = None;
    }
    study.created = parts
        .iter()
        .map(|part| part.results.created.clone())
        .min()
        .unwrap_or_default();
    let mut missing = 0;
    for (index, variant) in study.variants.iter_mut().enumerate() {
        variant.runs.clear();
        for &seed in &study.schedule.seeds {
            match run_of(&parts, index, seed)? {
                Some(run) => variant.runs.push(run),
                None => missing += 1,
            }
        }
        variant.rate_search = rates_of(&parts, index)?;
        // Those of the study's machine.
        let mut costs = parts
            .iter()
            .filter(|part| part.results.machine.is_as_fast_as(&study.machine))
            .map(|part| &part.results.variants[index].step_seconds);
        let costs = costs.find(|costs| !costs.is_empty());
        variant.step_seconds = costs.cloned().unwrap_or_default();
    }
    Ok((study, missing))
}

/// The first thing in which two studies' plans differ.
fn difference(a: &StudyResults, b: &StudyResults) -> Option<Change> {
    /// What every version's results say of their plan.
    #[derive(Serialize)]
    struct Terms<'a> {
        baseline: &'a str,
        corpus: CorpusFacts,
        schedule: &'a Schedule,
        tool_version: &'a str,
        variants: Vec<&'a str>,
    }
    fn terms(study: &StudyResults) -> Terms<'_> {
        Terms {
            baseline: &study.baseline,
            // Where a text is kept is the machine's affair.
            corpus: CorpusFacts {
                source: String::new(),
                ..study.corpus.clone()
            },
            schedule: &study.schedule,
            tool_version: &study.tool_version,
            variants: study.variants.iter().map(|v| v.name.as_str()).collect(),
        }
    }
    #[derive(Serialize)]
    struct Shape<'a> {
        attention: &'a str,
        parameters: Parameters,
        training_flops_per_token: f64,
    }
    fn shape(variant: &VariantResults) -> Shape<'_> {
        Shape {
            attention: &variant.attention,
            parameters: variant.parameters,
            training_flops_per_token: variant.training_flops_per_token,
        }
    }
    let of_terms = changes(&terms(a), &terms(b));
    let of_plans = match (&a.plan, &b.plan) {
        (Some(a), Some(b)) => a.first_difference(b, Tolerance::Machine),
        _ => None,
    };
    let of_variants = a.variants.iter().zip(&b.variants).flat_map(|(a, b)| {
        let changed = changes(&shape(a), &shape(b)).into_iter();
        changed.map(|change| Change {
            field: format!("{}: {}", a.name, change.field),
            ..change
        })
    });
    of_terms
        .into_iter()
        .chain(of_plans)
        .chain(of_variants)
        .next()
}

/// A run as the first part has it that has it at all.
fn run_of(parts: &[&Part], variant: usize, seed: u64) -> Result<Option<RunResults>, MergeError> {
    let found: Vec<(&Part, &RunResults)> = (parts.iter().copied())
        .filter_map(|part| {
            let mut runs = part.results.variants[variant].runs.iter();
            Some((part, runs.find(|run| run.seed == seed)?))
        })
        .collect();
    let Some(((part, run), others)) = found.split_first() else {
        return Ok(None);
    };
    for (other, again) in others {
        if let Some(what) = contradiction(run, again) {
            return Err(MergeError::TwoResults {
                first: part.path.clone(),
                second: other.path.clone(),
                run: format!("{} with seed {seed}", part.results.variants[variant].name),
                what,
            });
        }
    }
    let machine = run.machine.as_ref().unwrap_or(&part.results.machine);
    let of_study = &parts[0].results.machine;
    let elsewhere = !machine.is_as_fast_as(of_study);
    Ok(Some(RunResults {
        machine: elsewhere.then(|| machine.clone()),
        ..(*run).clone()
    }))
}

/// What two results of one run do not agree on; times and memory are the machine's.
fn contradiction(a: &RunResults, b: &RunResults) -> Option<&'static str> {
    let same = |a: f64, b: f64| a == b || a.is_nan() && b.is_nan();
    let same_step = |(a, b): (&TrainPoint, &TrainPoint)| {
        a.step == b.step
            && same(a.loss, b.loss)
            && same(a.learning_rate, b.learning_rate)
            && same(a.gradient_norm, b.gradient_norm)
    };
    let same_loss = |(a, b): (&EvalPoint, &EvalPoint)| a.step == b.step && same(a.loss, b.loss);
    if a.status != b.status {
        Some("their ends")
    } else if (a.steps, a.tokens) != (b.steps, b.tokens) {
        Some("their steps")
    } else if a.evaluations.len() != b.evaluations.len()
        || !a.evaluations.iter().zip(&b.evaluations).all(same_loss)
    {
        Some("their validation losses")
    } else if a.train.len() != b.train.len() || !a.train.iter().zip(&b.train).all(same_step) {
        Some("their training losses")
    } else {
        None
    }
}

/// How a variant's rate was chosen. Machines may differ in the last digits of a try, and must not
/// in the rate that they chose.
fn rates_of(parts: &[&Part], variant: usize) -> Result<Option<RateSearch>, MergeError> {
    let found: Vec<(&Part, &RateSearch)> = (parts.iter().copied())
        .filter_map(|part| Some((part, part.results.variants[variant].rate_search.as_ref()?)))
        .collect();
    let Some(((part, search), others)) = found.split_first() else {
        return Ok(None);
    };
    let chosen = |search: &RateSearch| search.best().map(|best| best.learning_rate);
    match others
        .iter()
        .find(|(_, other)| chosen(other) != chosen(search))
    {
        None => Ok(Some((*search).clone())),
        Some((other, _)) => Err(MergeError::TwoResults {
            first: part.path.clone(),
            second: other.path.clone(),
            run: format!("tries for {}", part.results.variants[variant].name),
            what: "the rates they chose",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    fn part(path: &str, results: &StudyResults, keep: impl Fn(usize, u64) -> bool) -> Part {
        let mut results = results.clone();
        for (index, variant) in results.variants.iter_mut().enumerate() {
            variant.runs.retain(|run| keep(index, run.seed));
        }
        Part {
            path: path.into(),
            results,
        }
    }

    fn halves() -> (StudyResults, Part, Part) {
        let whole = synthetic::study(2);
        let even = |index: usize, seed: u64| (index as u64 + seed).is_multiple_of(2);
        let a = part("a", &whole, even);
        let b = part("b", &whole, |index, seed| !even(index, seed));
        (whole, a, b)
    }

    #[test]
    fn two_halves_are_the_whole() {
        let (whole, a, b) = halves();
        let (merged, missing) = merge(&a, &[b]).unwrap();
        assert_eq!((&merged, missing), (&whole, 0));
        let (_, a, _) = halves();
        assert_eq!(merge(&a, &[]).unwrap().1, 7);
    }

    #[test]
    fn runs_remember_another_machine() {
        let (_, a, mut b) = halves();
        b.results.machine.cpu = "Another Processor".to_owned();
        b.results.corpus.source = "/elsewhere".to_owned();
        let (merged, _) = merge(&a, &[b]).unwrap();
        let runs = &merged.variants[0].runs;
        let names: Vec<Option<&str>> = runs
            .iter()
            .map(|run| Some(run.machine.as_ref()?.cpu.as_str()))
            .collect();
        assert_eq!(names, [Some("Another Processor"), None]);
        assert_eq!(merged.machine.cpu, synthetic::study(1).machine.cpu);
    }

    #[test]
    fn what_does_not_agree_is_named() {
        let (whole, a, mut b) = halves();
        b.results.schedule.steps = 7;
        let error = merge(&a, &[b]).unwrap_err().to_string();
        assert_eq!(
            error,
            "a and b: not of one study: schedule.steps: 2000 -> 7"
        );
        let (_, a, _) = halves();
        let mut again = part("b", &whole, |_, _| true);
        again.results.variants[0].runs[1].seconds = 1.0;
        assert!(merge(&a, &[again]).is_ok(), "times may differ");
        let (_, a, _) = halves();
        let mut again = part("b", &whole, |_, _| true);
        again.results.variants[0].runs[1].train[3].loss = 1.0;
        let error = merge(&a, &[again]).unwrap_err().to_string();
        assert!(error.contains("both have mha with seed 2"), "{error}");
        assert!(error.contains("their training losses differ"), "{error}");
    }
}
