//! A study as one page of HTML that needs nothing else: no scripts, no files beside it, no network.
//!
//! The page is well-formed XML too, so that a test can read it back. It names no colour: `report.css`, which it
//! carries, follows the reader's light or dark scheme, fits a phone and prints. Below every figure, its numbers open
//! as a table.

use std::fmt::Write;

use super::chart::{Chart, Line};
use super::curves::{self, CurvePoint};
use super::figure_data::figure;
use super::figures::Progress;
use super::markup::escaped;
use super::report_table::table_of;
use super::results::{StudyResults, VariantResults};
use super::scale::Unit;
use super::series::stroke;
use super::table::Table;
use super::verdict::verdict;
use super::{report_facts, report_price, report_rates};

pub(super) const STYLE: &str = include_str!("report.css");

/// The page for `study`.
///
/// Validation loss is drawn against steps, tokens, training FLOPs and training time; training loss and gradient norm
/// are drawn, smoothed, against steps. With several seeds a line is the runs' mean and its band one standard error to
/// either side.
pub fn html(study: &StudyResults) -> String {
    let mut page = String::new();
    // Writing to a String cannot fail.
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n\
         <p class=\"when\">simattn {} · {}</p>\n",
        escaped(&study.tool_version),
        escaped(&study.created),
        title = escaped(&study.name)
    );
    page.push_str("<div class=\"verdict\">\n");
    for sentence in verdict(study) {
        let _ = writeln!(page, "<p>{}</p>", escaped(&sentence));
    }
    page.push_str("</div>\n");
    results(&mut page, study);
    report_price::against_baseline(&mut page, study);
    validation_charts(&mut page, study);
    training_charts(&mut page, study);
    report_facts::variants(&mut page, study);
    report_facts::seeds(&mut page, study);
    report_rates::rates(&mut page, study);
    report_facts::conditions(&mut page, study);
    page.push_str("</body>\n</html>\n");
    page
}

fn results(page: &mut String, study: &StudyResults) {
    page.push_str("<h2>Results</h2>\n");
    table_of(page, study, &Table::new(study));
}

/// One line a variant; a variant without a finished run says so in its label.
fn lines(study: &StudyResults, curve: impl Fn(&VariantResults) -> Vec<CurvePoint>) -> Vec<Line> {
    let line = |variant: &VariantResults| {
        let label = if variant.final_loss().is_some() {
            variant.label.clone()
        } else {
            format!("{} ✕", variant.label)
        };
        Line {
            label,
            stroke: stroke(study, variant),
            points: curve(variant),
        }
    };
    study.variants.iter().map(line).collect()
}

fn chart(id: &str, caption: &str, progress: Progress, vertical: &str, lines: Vec<Line>) -> Chart {
    let furthest = lines
        .iter()
        .flat_map(|line| &line.points)
        .map(|point| point.x)
        .fold(0.0, f64::max);
    Chart {
        id: id.to_owned(),
        title: caption.to_owned(),
        horizontal: Unit::of(progress, furthest),
        vertical: vertical.to_owned(),
        lines,
        mark: None,
    }
}

fn validation_charts(page: &mut String, study: &StudyResults) {
    let several = study
        .variants
        .iter()
        .any(|variant| variant.finished_runs().count() > 1);
    let _ = write!(
        page,
        "<h2>Validation loss</h2>\n<p>In nats per token.{} The first fall and curves far above the others are cut off where a chart says so.</p>\n<div class=\"charts\">\n",
        if several {
            " Lines are means over seeds, bands one standard error to either side."
        } else {
            ""
        }
    );
    let mark = study
        .baseline_variant()
        .and_then(VariantResults::final_loss);
    for (id, caption, progress) in [
        ("steps", "Against steps", Progress::Steps),
        ("tokens", "Against tokens", Progress::Tokens),
        ("flops", "Against training FLOPs", Progress::Flops),
        ("seconds", "Against training time", Progress::Seconds),
    ] {
        let lines = lines(study, |variant| curves::validation(variant, progress));
        let title = format!(
            "Validation loss {}",
            caption.to_lowercase().replace("flops", "FLOPs")
        );
        let mut chart = chart(id, &title, progress, "nats per token", lines);
        chart.mark = mark.map(|loss| (loss.mean, format!("{} at the end", study.baseline_label())));
        figure(page, caption, &chart);
    }
    page.push_str("</div>\n");
}

fn training_charts(page: &mut String, study: &StudyResults) {
    if study
        .variants
        .iter()
        .flat_map(|variant| &variant.runs)
        .all(|run| run.train.is_empty())
    {
        return;
    }
    let window = curves::smoothing_window(study);
    let smoothing = if window > 1 {
        format!("Every point is the mean of {window} consecutive steps as far as they were logged.")
    } else {
        "As logged, not smoothed.".to_owned()
    };
    let _ = write!(
        page,
        "<h2>Training</h2>\n<p>{smoothing}</p>\n<div class=\"charts\">\n"
    );
    let loss = lines(study, |variant| {
        curves::training(variant, window, |point| point.loss)
    });
    figure(
        page,
        "Training loss",
        &chart(
            "training",
            "Training loss against steps",
            Progress::Steps,
            "nats per token",
            loss,
        ),
    );
    let norm = lines(study, |variant| {
        curves::training(variant, window, |point| point.gradient_norm)
    });
    figure(
        page,
        "Gradient norm before clipping",
        &chart(
            "norm",
            "Gradient norm against steps",
            Progress::Steps,
            "norm",
            norm,
        ),
    );
    page.push_str("</div>\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::RunStatus;
    use crate::study::synthetic::{self, study};

    fn parsed(page: &str) -> roxmltree::Document<'_> {
        let options = roxmltree::ParsingOptions {
            allow_dtd: true,
            ..Default::default()
        };
        roxmltree::Document::parse_with_options(page, options)
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn charts(page: &str) -> usize {
        parsed(page)
            .descendants()
            .filter(|node| node.attribute("role") == Some("img"))
            .count()
    }

    #[test]
    fn the_page_is_whole_and_needs_nothing_else() {
        for seeds in [1, 3] {
            let page = html(&study(seeds));
            assert_eq!(charts(&page), 8);
            let document = parsed(&page);
            for figure in document
                .descendants()
                .filter(|node| node.has_tag_name("figure"))
            {
                let rows = figure.descendants().filter(|node| node.has_tag_name("tr"));
                assert!(
                    rows.count() > study(seeds).variants.len(),
                    "a figure without its data"
                );
            }
            let bands = document
                .descendants()
                .filter(|node| node.attribute("class") == Some("band"))
                .count();
            assert_eq!(bands, if seeds > 1 { 6 * 7 } else { 0 });
            for attribute in ["src", "href"] {
                assert!(
                    document
                        .descendants()
                        .all(|node| node.attribute(attribute).is_none())
                );
            }
            assert!(!page.contains("<script") && !page.contains("@import"));
            assert!(page.len() < 400_000, "{}", page.len());
        }
    }

    #[test]
    fn text_from_outside_stays_text() {
        let evil = "</style><script>alert(\"1\")</script>&'";
        let mut study = synthetic::study(2);
        study.name = evil.to_owned();
        study.created = evil.to_owned();
        study.command = evil.to_owned();
        study.tool_version = evil.to_owned();
        study.machine.cpu = evil.to_owned();
        study.machine.instruction_set = evil.to_owned();
        study.corpus.source = evil.to_owned();
        study.corpus.tokenizer = evil.to_owned();
        study.matching = vec![evil.to_owned()];
        for variant in &mut study.variants {
            variant.label = evil.to_owned();
            variant.attention = evil.to_owned();
        }
        study.variants[6].runs[0].status = RunStatus::Failed {
            reason: evil.to_owned(),
        };
        let page = html(&study);
        let document = parsed(&page);
        assert!(
            !document
                .descendants()
                .any(|node| node.has_tag_name("script"))
        );
        let heading = document
            .descendants()
            .find(|node| node.has_tag_name("h1"))
            .unwrap();
        assert_eq!(heading.text(), Some(evil));
    }

    #[test]
    fn what_failed_never_breaks_the_page() {
        let mut study = synthetic::study(2);
        study.variants[1].runs.clear();
        study.variants[2].runs[0].evaluations.clear();
        for run in &mut study.variants[3].runs {
            run.status = RunStatus::Failed {
                reason: "the loss is not a number".to_owned(),
            };
            run.evaluations
                .iter_mut()
                .skip(5)
                .for_each(|point| point.loss = f64::NAN);
            run.train
                .iter_mut()
                .skip(50)
                .for_each(|point| (point.loss, point.gradient_norm) = (f64::NAN, f64::INFINITY));
        }
        for run in &mut study.variants[4].runs {
            run.evaluations
                .iter_mut()
                .for_each(|point| (point.loss, point.seconds) = (f64::MAX / 4.0, f64::NAN));
            run.tokens_per_second = f64::NAN;
        }
        study.variants[5].forward_flops_per_token = f64::NAN;
        let page = html(&study);
        assert_eq!(charts(&page), 8);
        assert!(
            !page.contains("NaN") && !page.contains(">inf"),
            "a number that is none"
        );
        assert!(page.contains("the loss is not a number"));

        study
            .variants
            .iter_mut()
            .flat_map(|variant| &mut variant.runs)
            .for_each(|run| {
                run.evaluations.clear();
                run.train.clear();
            });
        assert_eq!(charts(&html(&study)), 0);
        study.variants.clear();
        study.matching.clear();
        assert_eq!(charts(&html(&study)), 0);
    }
}
