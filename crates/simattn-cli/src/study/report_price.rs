//! The part of the page that holds the variants against the baseline, and what they cost.

use std::fmt::Write;

use super::figure_data::{details, number};
use super::lollipops::{Lollipops, Row};
use super::markup::{escaped, one_line};
use super::report_table::table_of;
use super::results::{Estimate, StudyResults, VariantResults};
use super::scatter::{Point, Scatter};
use super::series::stroke;
use super::statistics::Comparisons;
use super::table::Table;
use crate::quantity::with_decimals;

/// The differences to the baseline, then loss against cost, and the time to the baseline's loss.
pub(crate) fn against_baseline(page: &mut String, study: &StudyResults) {
    let Some(table) = Table::against_baseline(study) else {
        return;
    };
    let baseline = one_line(study.baseline_label());
    // Writing to a String cannot fail.
    let _ = writeln!(page, "<h2>Against {}</h2>", escaped(&baseline));
    table_of(page, study, &table);
    let has_intervals = Comparisons::of(study).tests().next().is_some();
    let bars = if has_intervals {
        format!(" Bars are 95% intervals of the difference to {baseline}.")
    } else {
        String::new()
    };
    let explained = format!(
        "A variant reaches {baseline}’s loss sooner than {baseline} where the cost of a step × the \
         steps it needs is below 1. The broken line is the frontier: nothing below it costs less.{bars}"
    );
    let _ = write!(
        page,
        "<h2>The price</h2>\n<p>{}</p>\n<div class=\"charts\">\n",
        escaped(&explained)
    );
    loss_against_cost(page, study);
    time_to_loss(page, study, &baseline);
    page.push_str("</div>\n");
}

/// Final losses against training times, the frontier marked.
pub(super) fn losses_against_times(study: &StudyResults) -> Scatter {
    let baseline = one_line(study.baseline_label());
    let comparisons = Comparisons::of(study);
    let point = |variant: &VariantResults| {
        let loss = variant.final_loss()?.mean;
        let test = comparisons.of_variant(&variant.name).and_then(|c| c.test);
        Some(Point {
            label: variant.label.clone(),
            stroke: stroke(study, variant),
            cost: study.price(variant).training?,
            loss,
            // Of the difference, which is what the seeds share: drawn around the variant's loss.
            interval: test.map(|test| test.interval.map(|end| loss + end - test.mean)),
        })
    };
    Scatter {
        id: "cost".to_owned(),
        title: format!("Final validation loss against training time, {baseline}’s being 1"),
        horizontal: format!("training time, {baseline}’s being 1"),
        vertical: "nats per token".to_owned(),
        points: study.variants.iter().filter_map(point).collect(),
    }
}

fn loss_against_cost(page: &mut String, study: &StudyResults) {
    let chart = losses_against_times(study);
    let _ = write!(
        page,
        "<figure><figcaption>Final loss against training time</figcaption>\n{}",
        chart.svg()
    );
    let headings = [
        "variant",
        "training time",
        "final loss",
        "95% interval",
        "frontier",
    ];
    let rows = chart
        .points
        .iter()
        .zip(chart.frontier())
        .map(|(point, on)| {
            vec![
                one_line(&point.label),
                number(point.cost, 4),
                number(point.loss, 5),
                point.interval.map_or("–".to_owned(), |[low, high]| {
                    format!("{} to {}", number(low, 5), number(high, 5))
                }),
                if on { "yes" } else { "no" }.to_owned(),
            ]
        });
    details(page, &headings.map(str::to_owned), rows);
    page.push_str("</figure>\n");
}

fn time_to_loss(page: &mut String, study: &StudyResults, baseline: &str) {
    let row = |variant: &VariantResults| {
        let price = study.price(variant);
        let text = match (price.time, price.step, price.steps) {
            (Some(time), _, _) if variant.name == study.baseline => with_decimals(time.mean, 2),
            (Some(time), Some(step), Some(steps)) => format!(
                "{} = {} × {}",
                with_decimals(time.mean, 2),
                with_decimals(step.mean, 2),
                steps
                    .at
                    .map_or("–".to_owned(), |at| with_decimals(at.mean, 2))
            ),
            (_, _, Some(steps)) if steps.runs > 0 && steps.at.is_none() => match steps.reached {
                0 => "not reached".to_owned(),
                reached => format!("{reached} of {} runs", steps.runs),
            },
            _ => "–".to_owned(),
        };
        Row {
            label: variant.label.clone(),
            stroke: stroke(study, variant),
            value: price.time,
            text,
        }
    };
    let chart = Lollipops {
        title: format!("Time to {baseline}’s loss, {baseline}’s being 1"),
        horizontal: "time = cost of a step × steps".to_owned(),
        mark: baseline.to_owned(),
        rows: study.variants.iter().map(row).collect(),
    };
    let _ = write!(
        page,
        "<figure><figcaption>{}</figcaption>\n{}",
        escaped(&format!("Time to {baseline}’s final loss")),
        chart.svg()
    );
    let headings = [
        "variant",
        "cost of a step",
        "steps",
        "time",
        "standard error of the time",
    ];
    let rows = study.variants.iter().map(|variant| {
        let price = study.price(variant);
        let mean = |estimate: Option<Estimate>| {
            estimate.map_or("–".to_owned(), |estimate| number(estimate.mean, 4))
        };
        vec![
            one_line(&variant.label),
            mean(price.step),
            mean(price.steps.and_then(|steps| steps.at)),
            mean(price.time),
            price
                .time
                .and_then(|time| time.standard_error)
                .map_or("–".to_owned(), |error| number(error, 2)),
        ]
    });
    details(page, &headings.map(str::to_owned), rows);
    page.push_str("</figure>\n");
}
