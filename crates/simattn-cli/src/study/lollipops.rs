//! One number a variant as SVG, a row each, with the baseline's marked across all rows.

use std::fmt::Write;

use super::chart::Stroke;
use super::labels::width;
use super::markup::{escaped, one_line, shortened};
use super::results::Estimate;
use super::scale::{Ticks, tick_text};

const WIDTH: f64 = 460.0;
/// Left of the labels.
const MARGIN: f64 = 4.0;
/// Beside the plot, on both sides.
const GAP: f64 = 10.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;
const ROW: f64 = 24.0;
/// Characters that a label may have.
const LABEL: usize = 20;
/// Characters that a row's words may have.
const WORDS: usize = 20;

/// A variant's row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// The variant's label.
    pub label: String,
    /// Its colour.
    pub stroke: Stroke,
    /// The number; None where there is none.
    pub value: Option<Estimate>,
    /// The number, or why there is none, in at most 20 characters.
    pub text: String,
}

/// A chart of multiples of the baseline.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Lollipops {
    /// What it shows, for those who cannot see it.
    pub title: String,
    /// The horizontal axis's name.
    pub horizontal: String,
    /// The baseline's label, at 1.
    pub mark: String,
    /// The variants.
    pub rows: Vec<Row>,
}

impl Lollipops {
    /// The chart as an SVG element; a sentence in its place where there is nothing to draw.
    pub(crate) fn svg(&self) -> String {
        let values = self.rows.iter().filter_map(|row| row.value);
        let most = values.map(|value| value.mean).fold(1.0, f64::max) * 1.05;
        if self.rows.is_empty() || !most.is_finite() {
            return "<p class=\"empty\">Nothing was measured.</p>\n".to_owned();
        }
        let labels = self.rows.iter().map(|row| row.label.chars().count());
        let words = self.rows.iter().map(|row| row.text.chars().count());
        let left = MARGIN + width(labels, LABEL) + GAP;
        let right = WIDTH - width(words, WORDS) - GAP;
        let bottom = TOP + self.rows.len() as f64 * ROW;
        let x = |value: f64| left + (right - left) * (value / most).clamp(0.0, 1.0);
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">",
            bottom + BOTTOM,
            escaped(&self.title)
        );
        let ticks = Ticks::between(0.0, most, 3);
        for &tick in &ticks.at {
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/><text class=\"tick\" text-anchor=\"middle\" x=\"{0:.1}\" y=\"{1:.1}\">{2}</text>",
                x(tick),
                bottom + 16.0,
                tick_text(tick, ticks.decimals)
            );
        }
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"{1}\" y2=\"{bottom:.1}\"/><text class=\"note\" text-anchor=\"middle\" x=\"{0:.1}\" y=\"12\">{2}</text>",
            x(1.0),
            TOP - 6.0,
            escaped(&shortened(&one_line(&self.mark), LABEL))
        );
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{left:.1}\" x2=\"{right:.1}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/><text class=\"name\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            (left + right) / 2.0,
            bottom + 33.0,
            escaped(&self.horizontal)
        );
        for (index, row) in self.rows.iter().enumerate() {
            let y = TOP + (index as f64 + 0.5) * ROW;
            let label = one_line(&row.label);
            let _ = write!(
                svg,
                "<g class=\"series {}\"><title>{}</title><text class=\"label\" x=\"{MARGIN}\" y=\"{:.1}\">{}</text>",
                row.stroke.classes(),
                escaped(&label),
                y + 4.0,
                escaped(&shortened(&label, LABEL))
            );
            if let Some(value) = row.value {
                let end = x(value.mean);
                let _ = write!(
                    svg,
                    "<line class=\"stem\" x1=\"{left:.1}\" x2=\"{end:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><circle cx=\"{end:.1}\" cy=\"{y:.1}\" r=\"4\"/>"
                );
                if let Some(error) = value.standard_error {
                    let _ = write!(
                        svg,
                        "<line class=\"whisker\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>",
                        x(value.mean - error),
                        x(value.mean + error)
                    );
                }
            }
            let _ = writeln!(
                svg,
                "<text class=\"value\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
                right + GAP,
                y + 4.0,
                escaped(&shortened(&row.text, WORDS))
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_number_keep_their_words() {
        let row = |label: &str, mean: Option<f64>, text: &str| Row {
            label: label.to_owned(),
            stroke: Stroke::Other(0),
            value: mean.map(|mean| Estimate {
                mean,
                standard_error: Some(0.1),
                runs: 2,
            }),
            text: text.to_owned(),
        };
        let mut chart = Lollipops {
            title: "Time".to_owned(),
            horizontal: "time".to_owned(),
            mark: "MHA".to_owned(),
            rows: vec![
                row("SAS & all", Some(1.3), "1.30"),
                row("MQA", None, "not reached"),
            ],
        };
        let svg = chart.svg();
        let document = roxmltree::Document::parse(&svg).expect("well-formed");
        let stems = |class: &str| {
            let lines = document.descendants();
            lines
                .filter(|node| node.attribute("class") == Some(class))
                .count()
        };
        assert_eq!((stems("stem"), stems("value")), (1, 2));
        assert!(svg.contains("not reached") && !svg.contains("NaN"));
        chart.rows.clear();
        assert!(chart.svg().contains("Nothing was measured"));
    }
}
