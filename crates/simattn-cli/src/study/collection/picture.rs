//! A chart as a picture of its own, which brings its style along.

use crate::study::report::STYLE;
use crate::study::report_price::losses_against_times;
use crate::study::results::StudyResults;

/// What a page's body gives to the charts in it.
const FONT: &str =
    "svg { font-family: system-ui, -apple-system, \"Segoe UI\", Roboto, Arial, sans-serif; }\n";

/// Final losses against training times as an SVG file; None with fewer than two points.
pub(super) fn of(study: &StudyResults) -> Option<String> {
    let chart = losses_against_times(study);
    if chart.points.len() < 2 {
        return None;
    }
    let svg = chart.svg();
    let (head, rest) = svg.split_once('\n')?;
    Some(format!("{head}\n<style>\n{STYLE}{FONT}</style>\n{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::synthetic;

    #[test]
    fn a_picture_is_well_formed_and_has_its_style() {
        let picture = of(&synthetic::study(3)).unwrap();
        let document = roxmltree::Document::parse(&picture).expect("well-formed");
        let root = document.root_element();
        assert!(root.has_tag_name(("http://www.w3.org/2000/svg", "svg")));
        assert!(picture.contains("prefers-color-scheme: dark"));
        let mut one = synthetic::study(3);
        one.variants.truncate(1);
        assert_eq!(of(&one), None);
    }
}
