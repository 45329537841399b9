//! How a variant is told from the others wherever the page shows it.

use std::fmt::Write;

use super::chart::Stroke;
use super::markup::{escaped, one_line};
use super::results::{StudyResults, VariantResults};

/// The line of `variant` in every chart.
pub(super) fn stroke(study: &StudyResults, variant: &VariantResults) -> Stroke {
    if variant.name == study.baseline {
        return Stroke::Baseline;
    }
    let others = study
        .variants
        .iter()
        .filter(|other| other.name != study.baseline);
    Stroke::Other(
        others
            .take_while(|other| other.name != variant.name)
            .count(),
    )
}

/// A row's opening and its heading: the variant's line and label.
pub(super) fn row_heading(page: &mut String, study: &StudyResults, variant: &VariantResults) {
    let _ = write!(
        page,
        "<tr{}><th scope=\"row\"><svg class=\"swatch\" viewBox=\"0 0 26 10\" aria-hidden=\"true\"><g class=\"series {}\"><line class=\"key\" x1=\"0\" x2=\"26\" y1=\"5\" y2=\"5\"/></g></svg>{}</th>",
        if variant.name == study.baseline {
            " class=\"baseline\""
        } else {
            ""
        },
        stroke(study, variant).classes(),
        escaped(&one_line(&variant.label))
    );
}
