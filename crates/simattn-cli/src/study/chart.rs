//! Line charts as SVG.
//!
//! The charts are written here and not with `plotters`: its SVG has fixed colours and sizes in
//! every element, and a page that follows the reader's light or dark scheme needs classes for its
//! style sheet (`report.css`), dashes beside colours, bands, and labels at the ends of the lines
//! that keep out of each other's way.

use std::fmt::Write;

use super::curves::CurvePoint;
use super::labels::{spread, width};
use super::markup::{escaped, one_line, shortened};
use super::scale::{Heights, Ticks, Unit, tick_text};

/// Colours that the style sheet has besides the baseline's (classes `c0` to `c7`).
const COLOURS: usize = 7;
/// Dashes that the style sheet has (classes `d0` to `d7`): one more than colours, so that pairs
/// repeat late.
const DASHES: usize = 8;

const WIDTH: f64 = 460.0;
const LEFT: f64 = 44.0;
/// Right of the plot: what lies between it and a label.
const LEADER: f64 = 34.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;
/// The plot's height, unless more labels ask for more.
const PLOT: f64 = 226.0;
/// The distance between labels.
const SPACING: f64 = 15.0;
/// Characters that a label may have; the rest is cut off.
const LABEL: usize = 16;
/// What follows the label of a line that ends above the plot.
pub(super) const ABOVE: &str = " ↑";

/// How a line is told from the others: the baseline's class, or the n-th of the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stroke {
    /// The baseline: solid, in the colour of text.
    Baseline,
    /// One of the others, counted from 0.
    Other(usize),
}

impl Stroke {
    /// The line's classes in the style sheet.
    pub(crate) fn classes(self) -> String {
        match self {
            Self::Baseline => "c0 d0".to_owned(),
            Self::Other(index) => format!("c{} d{}", 1 + index % COLOURS, (index + 1) % DASHES),
        }
    }
}

/// A line and its label.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    /// What it shows.
    pub label: String,
    /// How it looks.
    pub stroke: Stroke,
    /// Its points, from left to right; none of them NaN.
    pub points: Vec<CurvePoint>,
}

/// A chart of lines over training.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chart {
    /// A name that no other chart of the page has, of ASCII letters.
    pub id: String,
    /// What it shows, for those who cannot see it.
    pub title: String,
    /// The horizontal unit.
    pub horizontal: Unit,
    /// What the heights are.
    pub vertical: String,
    /// The lines.
    pub lines: Vec<Line>,
    /// A height marked by a thin line across, and its label.
    pub mark: Option<(f64, String)>,
}

impl Chart {
    /// The chart as an SVG element; a sentence in its place where there is nothing to draw.
    pub(crate) fn svg(&self) -> String {
        let lines: Vec<&Line> = self
            .lines
            .iter()
            .filter(|line| !line.points.is_empty())
            .collect();
        let heights: Vec<Vec<(f64, f64)>> = lines
            .iter()
            .map(|line| line.points.iter().map(|point| (point.x, point.y)).collect())
            .collect();
        let Some(range) =
            Heights::worth_seeing(&heights.iter().map(Vec::as_slice).collect::<Vec<_>>())
        else {
            return "<p class=\"empty\">Nothing was measured.</p>\n".to_owned();
        };
        let range = self.mark.as_ref().map_or(range, |mark| range.with(mark.0));
        let furthest = heights
            .iter()
            .flatten()
            .map(|point| point.0)
            .fold(0.0, f64::max);
        let labels = lines.iter().map(|line| {
            let above = line.points.last().is_some_and(|end| end.y > range.high);
            line.label.chars().count() + if above { ABOVE.chars().count() } else { 0 }
        });
        let plot = Plot {
            right: WIDTH - LEADER - width(labels, LABEL),
            height: PLOT.max(lines.len() as f64 * SPACING),
            range,
            furthest: if furthest > 0.0 { furthest } else { 1.0 },
        };

        let mut svg = String::new();
        let total = TOP + plot.height + BOTTOM;
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {total}\" role=\"img\" aria-label=\"{}\">",
            escaped(&self.title)
        );
        let _ = writeln!(
            svg,
            "<clipPath id=\"{}\"><rect x=\"{LEFT}\" y=\"{TOP}\" width=\"{:.1}\" height=\"{:.1}\"/></clipPath>",
            escaped(&self.id),
            plot.right - LEFT,
            plot.height
        );
        self.axes(&mut svg, &plot);
        self.marked(&mut svg, &plot);
        let ends: Vec<f64> = lines.iter().map(|line| plot.y(plot.end(line).1)).collect();
        let places = spread(&ends, SPACING, TOP + 5.0, TOP + plot.height - 5.0);
        for (line, place) in lines.into_iter().zip(places) {
            self.line(&mut svg, &plot, line, place);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, plot: &Plot) {
        let (right, bottom) = (plot.right, TOP + plot.height);
        let ticks = Ticks::between(plot.range.low, plot.range.high, 5);
        for &tick in &ticks.at {
            let y = plot.y(tick);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                y + 3.5,
                tick_text(tick, ticks.decimals)
            );
        }
        let ticks = Ticks::between(0.0, plot.furthest / self.horizontal.size, 4);
        for &tick in &ticks.at {
            let x = plot.x(tick * self.horizontal.size);
            let _ = writeln!(
                svg,
                "<line class=\"axis\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{bottom:.1}\" y2=\"{:.1}\"/><text class=\"tick\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 4.0,
                bottom + 16.0,
                tick_text(tick, ticks.decimals)
            );
        }
        let _ = writeln!(
            svg,
            "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/><text class=\"name\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{}</text><text class=\"name\" x=\"4\" y=\"12\">{}</text>",
            (LEFT + right) / 2.0,
            bottom + 33.0,
            escaped(&self.horizontal.title),
            escaped(&self.vertical)
        );
        if plot.range.cut {
            let decimals = if plot.range.high < 10.0 { 2 } else { 1 };
            let _ = writeln!(
                svg,
                "<text class=\"note\" text-anchor=\"end\" x=\"{right}\" y=\"12\">cut off above {}</text>",
                tick_text(plot.range.high, decimals)
            );
        }
    }

    fn marked(&self, svg: &mut String, plot: &Plot) {
        let Some((height, label)) = self.mark.as_ref().filter(|mark| mark.0.is_finite()) else {
            return;
        };
        let (y, bottom) = (plot.y(*height), TOP + plot.height);
        // Under the line, where falling curves do not come before the end; over it where there is
        // no room.
        let text = if bottom - y > 15.0 { y + 11.0 } else { y - 4.0 };
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"note\" x=\"{}\" y=\"{text:.1}\">{}</text>",
            plot.right,
            LEFT + 5.0,
            escaped(&shortened(&one_line(label), 34))
        );
    }

    /// One line, its band, and its label at height `place` with a leader from the line's end.
    fn line(&self, svg: &mut String, plot: &Plot, line: &Line, place: f64) {
        let classes = line.stroke.classes();
        let label = one_line(&line.label);
        let at = |x: f64, y: f64| format!("{:.1},{:.1}", plot.x(x), plot.y(y));
        let _ = write!(
            svg,
            "<g class=\"series {classes}\"><title>{}</title>",
            escaped(&label)
        );

        let band: Vec<(f64, f64, f64)> = line
            .points
            .iter()
            .filter_map(|point| point.error.map(|error| (point.x, point.y, error)))
            .collect();
        if band.len() > 1 {
            let upper = band.iter().map(|&(x, y, error)| at(x, y + error));
            let lower = band.iter().rev().map(|&(x, y, error)| at(x, y - error));
            let outline = upper.chain(lower).collect::<Vec<_>>().join(" ");
            let _ = write!(
                svg,
                "<polygon class=\"band\" clip-path=\"url(#{})\" points=\"{outline}\"/>",
                escaped(&self.id)
            );
        }
        if line.points.len() > 1 {
            let points = line
                .points
                .iter()
                .map(|point| at(point.x, point.y))
                .collect::<Vec<_>>()
                .join(" ");
            let _ = write!(
                svg,
                "<polyline clip-path=\"url(#{})\" points=\"{points}\"/>",
                escaped(&self.id)
            );
        }

        let (x, y) = plot.end(line);
        let (x, y) = (plot.x(x), plot.y(y));
        let above = y < TOP;
        let y = y.clamp(TOP, TOP + plot.height);
        let text = plot.right + LEADER;
        // Leaders from lines that end early would lie across the others; their dashes and colour
        // tell them.
        let leader = if x > plot.right - 15.0 {
            let (from, to) = (x.max(plot.right) + 1.0, plot.right + 11.0);
            format!(
                "<polyline class=\"leader\" points=\"{x:.1},{y:.1} {from:.1},{y:.1} {to:.1},{place:.1}\"/>"
            )
        } else {
            String::new()
        };
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>{leader}<line class=\"key\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{place:.1}\" y2=\"{place:.1}\"/><text class=\"label\" x=\"{text:.1}\" y=\"{:.1}\">{}{}</text></g>",
            plot.right + 11.0,
            text - 4.0,
            place + 4.0,
            escaped(&shortened(&label, if above { LABEL - 2 } else { LABEL })),
            if above { ABOVE } else { "" }
        );
    }
}

/// Where numbers lie on the drawing.
struct Plot {
    right: f64,
    height: f64,
    range: Heights,
    furthest: f64,
}

impl Plot {
    fn x(&self, x: f64) -> f64 {
        LEFT + (self.right - LEFT) * x / self.furthest
    }

    /// Heights far outside stay near, so that no coordinate is too large to draw.
    fn y(&self, y: f64) -> f64 {
        let part = (y - self.range.low) / (self.range.high - self.range.low);
        TOP + self.height * (1.0 - part.clamp(-50.0, 50.0))
    }

    fn end(&self, line: &Line) -> (f64, f64) {
        line.points
            .last()
            .map_or((0.0, self.range.low), |point| (point.x, point.y))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::study::figures::Progress;
    use proptest::prelude::*;

    fn chart(ends: &[f64]) -> Chart {
        let line = |(index, &end): (usize, &f64)| Line {
            label: format!("<variant> & {index}"),
            stroke: if index == 0 {
                Stroke::Baseline
            } else {
                Stroke::Other(index - 1)
            },
            points: (0..=4)
                .map(|x| CurvePoint {
                    x: x as f64 * 100.0,
                    y: end + 4.0 - x as f64,
                    error: Some(0.1),
                })
                .collect(),
        };
        Chart {
            id: "loss".to_owned(),
            title: "a \"title\"".to_owned(),
            horizontal: Unit::of(Progress::Steps, 400.0),
            vertical: "nats".to_owned(),
            lines: ends.iter().enumerate().map(line).collect(),
            mark: ends.first().map(|&end| (end, "final".to_owned())),
        }
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(chart(&[]).svg().contains("Nothing was measured"));
    }

    #[test]
    fn strokes_differ_between_many_lines() {
        let strokes: std::collections::HashSet<String> = (0..42)
            .map(|index| Stroke::Other(index).classes())
            .collect();
        assert_eq!(strokes.len(), 42);
    }

    proptest! {
        #[test]
        fn svg_is_well_formed_and_its_labels_do_not_overlap(ends in prop::collection::vec(0.0f64..1e6, 1..24)) {
            let svg = chart(&ends).svg();
            let document = roxmltree::Document::parse(&svg).expect("well-formed");
            let number = |node: roxmltree::Node<'_, '_>, name: &str| node.attribute(name).unwrap().parse::<f64>().unwrap();
            let mut labels: Vec<f64> = document
                .descendants()
                .filter(|node| node.attribute("class") == Some("label"))
                .map(|node| number(node, "y"))
                .collect();
            prop_assert_eq!(labels.len(), ends.len());
            labels.sort_by(f64::total_cmp);
            prop_assert!(labels.windows(2).all(|pair| pair[1] - pair[0] >= 12.0), "{:?}", labels);
            let view: Vec<f64> = document.root_element().attribute("viewBox").unwrap().split(' ').map(|n| n.parse().unwrap()).collect();
            prop_assert!(labels.iter().all(|&y| y > 0.0 && y < view[3]));
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
