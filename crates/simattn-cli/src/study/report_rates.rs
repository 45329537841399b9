//! The part of the page that says how learning rates were chosen.

use std::fmt::Write;

use super::chart::{Chart, Line};
use super::curves::CurvePoint;
use super::figure_data::{figure, number};
use super::rate_search::{Edge, RateSearch};
use super::results::{StudyResults, VariantResults};
use super::scale::Unit;
use super::series::{row_heading, stroke};

/// The rates that were tried, as curves, and the one that each variant got; nothing where none were.
pub(crate) fn rates(page: &mut String, study: &StudyResults) {
    let searched: Vec<(&VariantResults, &RateSearch)> = study
        .variants
        .iter()
        .filter_map(|variant| Some((variant, variant.rate_search.as_ref()?)))
        .collect();
    if searched.is_empty() {
        return;
    }
    page.push_str(
        "<h2>Learning rates</h2>\n<p>Every variant was tried with the same number of rates, on a \
         seed of its own, and runs with the one that gave the lowest loss.</p>\n\
         <div class=\"charts\">\n",
    );
    figure(
        page,
        "Loss against peak learning rate",
        &curves(study, &searched),
    );
    page.push_str(
        "</div>\n<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">variant</th>\
         <th scope=\"col\">chosen rate</th><th scope=\"col\">its loss</th>\
         <th scope=\"col\">its place</th></tr></thead>\n<tbody>\n",
    );
    for (variant, search) in searched {
        row_heading(page, study, variant);
        let (rate, loss) = match search.best() {
            Some(best) => (best.learning_rate.to_string(), number(best.loss, 5)),
            None => ("–".to_owned(), "all diverged".to_owned()),
        };
        let place = match search.edge() {
            Some(Edge::Lowest) => "the lowest tried",
            Some(Edge::Highest) => "the highest tried",
            None => "–",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(page, "<td>{rate}</td><td>{loss}</td><td>{place}</td></tr>");
    }
    page.push_str("</tbody></table></div>\n");
}

fn curves(study: &StudyResults, searched: &[(&VariantResults, &RateSearch)]) -> Chart {
    let line = |&(variant, search): &(&VariantResults, &RateSearch)| Line {
        label: variant.label.clone(),
        stroke: stroke(study, variant),
        points: search
            .tries
            .iter()
            .filter(|tried| tried.learning_rate.is_finite() && tried.loss.is_finite())
            .map(|tried| CurvePoint {
                x: tried.learning_rate,
                y: tried.loss,
                error: None,
            })
            .collect(),
    };
    Chart {
        id: "rates".to_owned(),
        title: "Last validation loss against peak learning rate".to_owned(),
        horizontal: Unit {
            title: "peak learning rate (× 10⁻³)".to_owned(),
            size: 1e-3,
        },
        vertical: "nats per token".to_owned(),
        lines: searched.iter().map(line).collect(),
        mark: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::results::RateTry;
    use crate::study::synthetic;

    #[test]
    fn rates_are_shown_where_they_were_searched() {
        let mut study = synthetic::study(1);
        let mut page = String::new();
        rates(&mut page, &study);
        assert_eq!(page, "");
        let search = |losses: [f64; 3]| RateSearch {
            seed: 99,
            steps: 100,
            tries: [5e-4, 1e-3, 2e-3]
                .into_iter()
                .zip(losses)
                .map(|(learning_rate, loss)| RateTry {
                    learning_rate,
                    loss,
                })
                .collect(),
        };
        study.variants[0].rate_search = Some(search([5.1, 5.0, f64::NAN]));
        study.variants[6].rate_search = Some(search([5.1, 5.0, 4.9]));
        study.variants[5].rate_search = Some(search([f64::NAN; 3]));
        rates(&mut page, &study);
        assert!(
            page.contains("<td>0.001</td><td>5</td><td>–</td>"),
            "{page}"
        );
        assert!(page.contains("<td>0.002</td><td>4.9000</td><td>the highest tried</td>"));
        assert!(page.contains("<td>all diverged</td>") && !page.contains("NaN"));
        roxmltree::Document::parse(&format!("<div>{page}</div>")).expect("well-formed");
    }
}
