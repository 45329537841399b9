//! Which rows of a study have the steps and seeds that were asked for.

use super::outline::{PlannedRow, PlannedStudy};
use crate::study::results::{StudyResults, VariantResults};

/// A planned study beside what there is of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Standing {
    /// The complete rows as a study of their own; None where there is none, or where the baseline
    /// is not among them, so that nothing can be compared.
    pub(super) complete: Option<StudyResults>,
    /// The other rows.
    pub(super) open: Vec<OpenRow>,
}

/// A row that has not its steps or seeds yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OpenRow {
    /// What readers see.
    pub(super) label: String,
    /// Runs that are missing.
    pub(super) runs: usize,
    /// Hours that they take.
    pub(super) hours: f64,
}

impl Standing {
    /// Sorts the rows of `planned` into those that `results` answer and the others.
    pub(super) fn of(planned: &PlannedStudy, results: Option<&StudyResults>) -> Self {
        let mut variants = Vec::new();
        let mut open = Vec::new();
        for row in &planned.row {
            let found = results.and_then(|study| counted(study, row, planned.steps));
            let runs = found.as_ref().map_or(0, |variant| variant.runs.len());
            match found {
                Some(variant) if runs >= planned.seeds => variants.push(variant),
                _ => open.push(OpenRow {
                    label: row.label.clone(),
                    runs: planned.seeds - runs,
                    hours: row.hours * (planned.seeds - runs) as f64,
                }),
            }
        }
        let has_baseline = |study: &StudyResults| study.baseline_variant().is_some();
        let complete = results
            .map(|study| StudyResults {
                variants,
                ..study.clone()
            })
            .filter(has_baseline);
        Self { complete, open }
    }
}

/// The variant of a row with the runs that count: finished, and as long as they should be. Runs
/// that broke off with a loss that is not a number are a result too, and are kept.
fn counted(study: &StudyResults, row: &PlannedRow, steps: u64) -> Option<VariantResults> {
    let variant = study.variants.iter().find(|v| v.name == row.variant)?;
    let counts = |run: &&_| is_whole(run, steps);
    Some(VariantResults {
        label: row.label.clone(),
        runs: variant.runs.iter().filter(counts).cloned().collect(),
        ..variant.clone()
    })
}

fn is_whole(run: &crate::study::results::RunResults, steps: u64) -> bool {
    run.steps >= steps || run.failure().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    fn planned(seeds: usize, variants: &[&str]) -> PlannedStudy {
        let row = |variant: &&str| PlannedRow {
            variant: (*variant).to_owned(),
            label: format!("form {variant}"),
            hours: 0.5,
        };
        PlannedStudy {
            title: "a study".to_owned(),
            results: "a.json".to_owned(),
            commit: None,
            steps: 2_000,
            seeds,
            row: variants.iter().map(row).collect(),
        }
    }

    #[test]
    fn rows_below_their_steps_or_seeds_are_open() {
        let mut study = synthetic::study(3);
        study.variants[1].runs.truncate(1);
        study.variants[2].runs[0].steps = 1_999;
        let planned = planned(3, &["mha", "gqa", "mqa", "sas", "nobody"]);
        let standing = Standing::of(&planned, Some(&study));
        let complete = standing.complete.unwrap();
        let labels: Vec<&str> = complete.variants.iter().map(|v| v.label.as_str()).collect();
        assert_eq!(labels, ["form mha", "form sas"]);
        let open: Vec<(&str, usize, f64)> = (standing.open.iter())
            .map(|row| (row.label.as_str(), row.runs, row.hours))
            .collect();
        assert_eq!(
            open,
            [
                ("form gqa", 2, 1.0),
                ("form mqa", 1, 0.5),
                ("form nobody", 3, 1.5)
            ]
        );
    }

    #[test]
    fn without_the_baseline_nothing_is_compared() {
        let mut study = synthetic::study(3);
        study.variants[0].runs.truncate(2);
        let standing = Standing::of(&planned(3, &["mha", "sas"]), Some(&study));
        assert_eq!(standing.complete, None);
        assert_eq!(Standing::of(&planned(3, &["mha"]), None).open[0].hours, 1.5);
    }
}
