//! The variants against the baseline: how far their losses differ, and what they cost.

use super::markup::{one_line, shortened};
use super::price::CostSource;
use super::rate_search::Edge;
use super::results::{StudyResults, VariantResults};
use super::statistics::{Comparison, Comparisons, Finding};
use super::table::{Better, Cell, Column, Ranked, Table, estimate, failed_or, none, plain, reach};
use crate::quantity::{self, with_decimals};

impl Table {
    /// Lays out `study` as differences and multiples; None where there is nothing to compare.
    pub(crate) fn against_baseline(study: &StudyResults) -> Option<Self> {
        study.baseline_variant()?.final_loss()?;
        if study.variants.len() < 2 {
            return None;
        }
        let comparisons = Comparisons::of(study);
        let columns = columns(study, &comparisons);
        Some(Self::laid_out(study, columns, notes(study, &comparisons)))
    }

    /// Lays out `study` as a published result: sizes and losses, then differences and multiples.
    pub(crate) fn of_results(study: &StudyResults) -> Self {
        let comparisons = Comparisons::of(study);
        let heading = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
        let mut all: Vec<Column<'_>> = vec![
            (
                heading("", "parameters"),
                Better::Neither,
                Box::new(|v| plain(v.parameters.total as f64, quantity::count)),
            ),
            (
                heading("validation", "loss"),
                Better::Lower,
                Box::new(|v| failed_or(v, estimate(v.final_loss(), 5))),
            ),
        ];
        all.extend(columns(study, &comparisons));
        Self::laid_out(study, all, notes(study, &comparisons))
    }
}

/// The columns that hold a variant against the baseline.
fn columns<'a>(study: &'a StudyResults, comparisons: &'a Comparisons<'a>) -> Vec<Column<'a>> {
    let baseline = shortened(&one_line(study.baseline_label()), 8);
    let heading = |first: &str, second: &str| [first.to_owned(), second.to_owned()];
    let compared = move |v: &VariantResults, cell: fn(&Comparison<'_>) -> Option<Ranked>| {
        let comparison = comparisons.of_variant(&v.name);
        comparison.and_then(cell).unwrap_or_else(none)
    };
    let mut columns: Vec<Column<'_>> = vec![(
        heading("loss less", &format!("{baseline}’s")),
        Better::Lower,
        Box::new(move |v| compared(v, |c| Some(plain(c.mean()?, signed)))),
    )];
    if comparisons.tests().next().is_some() {
        let tested: [Column<'_>; 5] = [
            (
                heading("95%", "interval"),
                Better::Neither,
                Box::new(move |v| compared(v, |c| Some(unranked(interval(c.test?.interval))))),
            ),
            (
                heading("", "p"),
                Better::Neither,
                Box::new(move |v| compared(v, |c| Some(unranked(probability(c.test?.p))))),
            ),
            (
                heading("p after", "Holm"),
                Better::Neither,
                Box::new(move |v| compared(v, |c| Some(unranked(probability(c.corrected?))))),
            ),
            (
                heading("what", "remains"),
                Better::Neither,
                Box::new(move |v| compared(v, |c| Some(unranked(remains(c.finding()?))))),
            ),
            (
                heading("", "seeds"),
                Better::Neither,
                Box::new(move |v| compared(v, |c| Some(unranked(c.differences.len().to_string())))),
            ),
        ];
        columns.extend(tested);
    }
    let price: [Column<'_>; 3] = [
        (
            heading("cost of", "a step"),
            Better::Lower,
            Box::new(move |v| estimate(study.price(v).step, 3)),
        ),
        (
            heading("× steps to", &format!("{baseline} loss")),
            Better::Lower,
            Box::new(move |v| reach(study.price(v).steps)),
        ),
        (
            heading("= time to", &format!("{baseline} loss")),
            Better::Lower,
            Box::new(move |v| estimate(study.price(v).time, 3)),
        ),
    ];
    columns.extend(price);
    columns
}

fn unranked(text: String) -> Ranked {
    (
        Cell {
            text,
            ..Cell::default()
        },
        None,
    )
}

/// A difference in nats, with its sign.
pub(super) fn signed(difference: f64) -> String {
    let sign = if difference > 0.0 { "+" } else { "" };
    format!("{sign}{}", with_decimals(difference, 4))
}

pub(super) fn interval([low, high]: [f64; 2]) -> String {
    format!("{} to {}", signed(low), signed(high))
}

/// A probability with two digits that count, but no more than four decimals.
pub(super) fn probability(p: f64) -> String {
    match p {
        p if p < 0.0001 => "< 0.0001".to_owned(),
        p if p < 0.01 => format!("{p:.4}"),
        p if p < 0.1 => format!("{p:.3}"),
        p => format!("{p:.2}"),
    }
}

fn remains(finding: Finding) -> String {
    match finding {
        Finding::Lower => "lower",
        Finding::Higher => "higher",
        Finding::Open => "open",
    }
    .to_owned()
}

fn notes(study: &StudyResults, comparisons: &Comparisons<'_>) -> Vec<String> {
    let baseline = one_line(study.baseline_label());
    let mut notes = Vec::new();
    let tests = comparisons.tests().count();
    if tests > 0 {
        notes.push(format!(
            "Losses in nats per token, each run less {baseline}’s of the same seed; intervals and p by \
             paired t tests, corrected by Holm’s method for {tests} {}.",
            if tests == 1 { "comparison" } else { "comparisons" }
        ));
        notes.push(
            "Lower, higher: what remains at 5% after the correction; open: it may be chance."
                .to_owned(),
        );
    } else {
        notes.push(format!(
            "Losses in nats per token, less {baseline}’s of the same seed. One seed cannot tell a \
             difference from chance."
        ));
    }
    let source = match study.cost_source() {
        CostSource::Rounds(1) => "timed for all variants in turn, in one round".to_owned(),
        CostSource::Rounds(rounds) => {
            format!("timed for all variants in turn, in {rounds} rounds")
        }
        CostSource::Runs => {
            "from the training runs, which other work on the machine may have slowed".to_owned()
        }
    };
    let errors = if tests > 0 {
        "; ± is the standard error"
    } else {
        ""
    };
    notes.push(format!(
        "Cost, steps and time are multiples of {baseline}’s{errors}; cost of a step: {source}."
    ));
    for variant in &study.variants {
        let Some(search) = &variant.rate_search else {
            continue;
        };
        let (end, beyond) = match search.edge() {
            Some(Edge::Lowest) => ("lowest", "lower"),
            Some(Edge::Highest) => ("highest", "higher"),
            None => continue,
        };
        notes.push(format!(
            "{}: the best learning rate is the {end} of those tried; a {beyond} one may be better still.",
            one_line(&variant.label)
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::{RateSearch, RunStatus};
    use crate::study::synthetic;
    use crate::study::table_text::TEXT_WIDTH;

    fn cell<'a>(table: &'a Table, row: &str, second: &str) -> &'a str {
        let column = table.headings.iter().position(|h| h[1] == second);
        let column = column.unwrap_or_else(|| panic!("no column {second}"));
        let row = table.rows.iter().find(|r| r[0].text == row).unwrap();
        &row[column].text
    }

    #[test]
    fn several_seeds_have_intervals_and_a_finding() {
        let table = Table::against_baseline(&synthetic::study(5)).unwrap();
        assert_eq!(cell(&table, "SAS", "remains"), "lower");
        assert_eq!(cell(&table, "SAS", "seeds"), "5");
        assert!(cell(&table, "SAS", "interval").starts_with("-0.0"));
        assert_eq!(cell(&table, "MHA", "MHA’s"), "–");
        assert_eq!(cell(&table, "MHA", "a step"), "1.00");
        assert!(cell(&table, "SAS", "a step").starts_with("1.8"));
        let text = table.to_text();
        assert!(
            text.lines().all(|line| line.chars().count() <= TEXT_WIDTH),
            "{text}"
        );
    }

    #[test]
    fn one_seed_has_a_difference_and_a_price_only() {
        let table = Table::against_baseline(&synthetic::study(1)).unwrap();
        assert!(table.headings.iter().all(|h| h[1] != "interval"));
        assert!(cell(&table, "SAS", "MHA’s").starts_with("-0.0"));
        assert!(table.notes[0].contains("One seed"));
        assert_eq!(cell(&table, "MQA", "MHA loss"), "not reached");
    }

    #[test]
    fn where_costs_come_from_is_said() {
        let mut study = synthetic::study(2);
        let notes = |study: &StudyResults| Table::against_baseline(study).unwrap().notes.join(" ");
        assert!(notes(&study).contains("from the training runs"));
        for variant in &mut study.variants {
            variant.step_seconds = vec![0.1, 0.2, 0.3];
        }
        assert!(notes(&study).contains("in turn, in 3 rounds"));
    }

    #[test]
    fn a_rate_at_the_edge_is_said() {
        let mut study = synthetic::study(2);
        let notes = |study: &StudyResults| Table::against_baseline(study).unwrap().notes.join(" ");
        study.variants[6].rate_search = Some(RateSearch {
            seed: 9,
            steps: 10,
            tries: [(1e-3, 2.0), (2e-3, 1.0)]
                .map(|(learning_rate, loss)| crate::study::results::RateTry {
                    learning_rate,
                    loss,
                })
                .to_vec(),
        });
        assert!(notes(&study).contains("SAS: the best learning rate is the highest"));
    }

    #[test]
    fn nothing_to_compare_is_no_table() {
        let mut study = synthetic::study(2);
        study.variants[0].runs[0].status = RunStatus::Failed {
            reason: "no".to_owned(),
        };
        // A pair is left.
        let table = Table::against_baseline(&study).unwrap();
        assert_eq!(
            cell(&table, "SAS", "MHA loss"),
            cell(&table, "SAS", "MHA loss")
        );
        study.variants[0].runs.clear();
        assert_eq!(Table::against_baseline(&study), None);
    }
}
