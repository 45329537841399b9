//! A study's results as one table: laid out here, then written for a terminal or by the page.

use super::figures::{Progress, Reach};
use super::markup::{one_line, shortened};
use super::results::{Estimate, StudyResults, VariantResults};
use crate::quantity;

/// A table of text, one row a variant.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// The columns' headings, in two lines each.
    pub(crate) headings: Vec<[String; 2]>,
    /// The rows, in the study's order; each has a cell for every heading.
    pub(crate) rows: Vec<Vec<Cell>>,
    /// What a reader has to know besides: what failed and why, what the marks mean.
    pub(crate) notes: Vec<String>,
}

/// One cell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Cell {
    /// The value; `–` where there is none.
    pub text: String,
    /// Its standard error over seeds, where there is one.
    pub error: Option<String>,
    /// Whether no other row shows a better value.
    pub best: bool,
}

/// Which values of a column are better.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Better {
    Neither,
    Lower,
    Higher,
}

/// A cell with the value it is ranked by.
pub(super) type Ranked = (Cell, Option<f64>);

/// A heading in two lines, which values are better, and how a row's cell is made.
pub(super) type Column<'a> = (
    [String; 2],
    Better,
    Box<dyn Fn(&VariantResults) -> Ranked + 'a>,
);

impl Table {
    /// Lays out `study`.
    pub fn new(study: &StudyResults) -> Self {
        let baseline = shortened(&one_line(study.baseline_label()), 8);
        let heading = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
        let columns: Vec<Column<'_>> = vec![
            (
                heading("", "params"),
                Better::Neither,
                Box::new(|v| plain(v.parameters.total as f64, quantity::count)),
            ),
            (
                heading("attention", "params"),
                Better::Neither,
                Box::new(|v| plain(v.parameters.attention as f64, quantity::count)),
            ),
            (
                heading("validation", "perplexity"),
                Better::Lower,
                Box::new(|v| failed_or(v, estimate(v.perplexity(), 4))),
            ),
            (
                heading("bits", "per byte"),
                Better::Lower,
                Box::new(|v| estimate(v.bits_per_byte(&study.corpus), 4)),
            ),
            (
                heading("steps to", &format!("{baseline} loss")),
                Better::Lower,
                Box::new(|v| reach(study.reach_of_baseline(v, Progress::Steps))),
            ),
            (
                heading("seconds to", &format!("{baseline} loss")),
                Better::Lower,
                Box::new(|v| reach(study.reach_of_baseline(v, Progress::Seconds))),
            ),
            (
                heading("tokens", "per s"),
                Better::Higher,
                Box::new(|v| speed(v.tokens_per_second())),
            ),
            (
                heading("peak", "memory"),
                Better::Lower,
                Box::new(|v| {
                    v.peak_memory_bytes()
                        .map_or_else(none, |b| plain(b as f64, quantity::bytes))
                }),
            ),
            (
                heading("MFLOP", "per token"),
                Better::Lower,
                Box::new(|v| plain(v.forward_flops_per_token / 1e6, megaflops)),
            ),
        ];
        Self::laid_out(study, columns, notes(study))
    }

    /// A row for every variant, with its label and a cell of each of `columns`.
    pub(super) fn laid_out(
        study: &StudyResults,
        columns: Vec<Column<'_>>,
        notes: Vec<String>,
    ) -> Self {
        let heading = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
        let mut rows: Vec<Vec<Cell>> = study
            .variants
            .iter()
            .map(|variant| vec![label(variant)])
            .collect();
        let mut headings = vec![heading("", "variant")];
        for (heading, better, cell_of) in columns {
            let mut cells: Vec<Ranked> = study.variants.iter().map(cell_of).collect();
            mark_best(&mut cells, better);
            headings.push(heading);
            rows.iter_mut()
                .zip(cells)
                .for_each(|(row, (cell, _))| row.push(cell));
        }
        Self {
            headings,
            rows,
            notes,
        }
    }
}

fn label(variant: &VariantResults) -> Cell {
    Cell {
        text: one_line(&variant.label),
        ..Cell::default()
    }
}

pub(super) fn none() -> Ranked {
    (
        Cell {
            text: "–".to_owned(),
            ..Cell::default()
        },
        None,
    )
}

pub(super) fn plain(value: f64, written: impl Fn(f64) -> String) -> Ranked {
    if !value.is_finite() {
        return none();
    }
    (
        Cell {
            text: written(value),
            ..Cell::default()
        },
        Some(value),
    )
}

fn megaflops(value: f64) -> String {
    if value < 9_999.5 {
        quantity::significant(value, 4)
    } else {
        quantity::count(value)
    }
}

/// A mean with its standard error, both to the mean's decimals.
pub(super) fn estimate(estimate: Option<Estimate>, digits: usize) -> Ranked {
    let Some(Estimate {
        mean,
        standard_error,
        ..
    }) = estimate
    else {
        return none();
    };
    if mean.abs() >= 99_999.5 {
        return plain(mean, |mean| format!("{mean:.2e}"));
    }
    let decimals = quantity::decimals_for(mean, digits).min(4);
    let error = standard_error.map(|error| {
        if error >= 99_999.5 {
            format!("{error:.0e}")
        } else {
            quantity::with_decimals(error, decimals)
        }
    });
    (
        Cell {
            text: quantity::with_decimals(mean, decimals),
            error,
            best: false,
        },
        Some(mean),
    )
}

fn speed(tokens_per_second: Option<Estimate>) -> Ranked {
    tokens_per_second.map_or_else(none, |estimate| plain(estimate.mean, quantity::count))
}

pub(super) fn failed_or(variant: &VariantResults, cell: Ranked) -> Ranked {
    if cell.1.is_none() && !variant.runs.is_empty() {
        return (
            Cell {
                text: "failed".to_owned(),
                ..Cell::default()
            },
            None,
        );
    }
    cell
}

/// Where a loss was reached, or that it was not.
pub(super) fn reach(reach: Option<Reach>) -> Ranked {
    let text = match reach {
        None => return none(),
        Some(Reach { runs: 0, .. }) => return none(),
        Some(Reach { at: Some(at), .. }) => {
            return estimate(Some(at), if at.mean < 99.95 { 3 } else { 1 });
        }
        Some(Reach { reached: 0, .. }) => "not reached".to_owned(),
        Some(Reach { reached, runs, .. }) => format!("{reached} of {runs} runs"),
    };
    (
        Cell {
            text,
            ..Cell::default()
        },
        None,
    )
}

/// Marks the best cell, and those that read the same; none where all do.
fn mark_best(cells: &mut [Ranked], better: Better) {
    let ranked = cells
        .iter()
        .filter_map(|(cell, value)| value.map(|value| (value, cell.text.clone())));
    let best = match better {
        Better::Neither => None,
        Better::Lower => ranked.min_by(|a, b| a.0.total_cmp(&b.0)),
        Better::Higher => ranked.max_by(|a, b| a.0.total_cmp(&b.0)),
    };
    let Some((_, text)) = best else { return };
    let differ = cells
        .iter()
        .any(|(cell, value)| value.is_some() && cell.text != text);
    for (cell, value) in cells {
        cell.best = differ && value.is_some() && cell.text == text;
    }
}

fn notes(study: &StudyResults) -> Vec<String> {
    let baseline = one_line(study.baseline_label());
    let mut notes = Vec::new();
    for variant in &study.variants {
        for run in &variant.runs {
            if let Some(reason) = run.failure() {
                let label = one_line(&variant.label);
                notes.push(format!(
                    "{label}, seed {}, failed after {} steps: {}",
                    run.seed,
                    run.steps,
                    one_line(&reason)
                ));
            }
        }
    }
    if study.variants.iter().any(|variant| variant.runs.len() > 1) {
        notes.push("± is the standard error of the mean over seeds.".to_owned());
    }
    notes.push(match study.baseline_variant().and_then(VariantResults::final_loss) {
        Some(loss) => format!(
            "{baseline} loss: what {baseline} with the same seed ended with, {:.4} nats per token{}; between evaluations the loss is taken to fall on a straight line.",
            loss.mean,
            if loss.runs > 1 { " on average" } else { "" }
        ),
        None => format!("{baseline} has no final loss, so nothing is measured against it."),
    });
    notes.push("MFLOP per token are those of a forward pass; tokens per s and seconds leave evaluation out.".to_owned());
    let runs = || study.variants.iter().flat_map(|variant| &variant.runs);
    let elsewhere = runs().filter(|run| !run.is_timed_here()).count();
    if elsewhere > 0 {
        notes.push(format!(
            "{elsewhere} of {} runs were made on other machines: their losses count, their seconds, speed and memory do not.",
            runs().count()
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::RunStatus;
    use crate::study::synthetic;

    fn column(table: &Table, second: &str) -> usize {
        table
            .headings
            .iter()
            .position(|heading| heading[1] == second)
            .expect("no such column")
    }

    #[test]
    fn marks_the_best_value_of_a_column() {
        let table = Table::new(&synthetic::study(3));
        let best = |second: &str| -> Vec<&str> {
            let column = column(&table, second);
            table
                .rows
                .iter()
                .filter(|row| row[column].best)
                .map(|row| row[0].text.as_str())
                .collect()
        };
        assert_eq!(best("perplexity"), ["SAS"]);
        assert_eq!(best("per s"), ["MQA"]);
        assert_eq!(best("per token"), ["MQA"]);
        assert!(best("params").is_empty());
    }

    #[test]
    fn equal_values_are_not_marked() {
        let mut study = synthetic::study(1);
        study.variants = vec![study.variants[0].clone(), study.variants[0].clone()];
        assert!(
            Table::new(&study)
                .rows
                .iter()
                .flatten()
                .all(|cell| !cell.best)
        );
    }

    #[test]
    fn failures_are_told_below() {
        let mut study = synthetic::study(2);
        for run in &mut study.variants[6].runs {
            run.status = RunStatus::Failed {
                reason: "loss is not a number".to_owned(),
            };
        }
        study.variants[5].runs[0]
            .evaluations
            .last_mut()
            .unwrap()
            .loss = f64::NAN;
        let table = Table::new(&study);
        let (perplexity, steps) = (column(&table, "perplexity"), column(&table, "MHA loss"));
        assert_eq!(
            (
                table.rows[6][perplexity].text.as_str(),
                table.rows[6][steps].text.as_str()
            ),
            ("failed", "–")
        );
        let text = table.to_text();
        assert!(
            text.contains("SAS, seed 2, failed after 2000 steps: loss is not a number"),
            "{text}"
        );
        assert!(text.contains("TPA, seed 1, failed"), "{text}");
        assert!(!text.contains("NaN"), "{text}");
    }

    #[test]
    fn a_study_that_has_begun_has_a_table_already() {
        let mut study = synthetic::study(2);
        study.variants[0].runs.truncate(1);
        study.variants[0].runs[0].machine = Some(study.machine.clone());
        study.variants[1..].iter_mut().for_each(|v| v.runs.clear());
        let table = Table::new(&study);
        let perplexity = column(&table, "perplexity");
        assert_eq!(table.rows[1][perplexity].text, "–");
        let text = table.to_text();
        let elsewhere = "1 of 1 runs were made on other machines";
        assert!(text.contains(elsewhere), "{text}");
        let speed = column(&table, "per s");
        assert_eq!(table.rows[0][speed].text, "–");
        assert!(crate::study::report::html(&study).contains(elsewhere));
    }

    #[test]
    fn a_slower_learner_does_not_reach_the_baseline() {
        let table = Table::new(&synthetic::study(1));
        let steps = column(&table, "MHA loss");
        assert_eq!(table.rows[0][steps].text, "2,000");
        assert_eq!(table.rows[2][steps].text, "not reached");
    }
}
