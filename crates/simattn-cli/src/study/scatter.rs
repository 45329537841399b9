//! Losses against costs as SVG, with the frontier marked.

use std::fmt::Write;

use super::chart::{ABOVE, Stroke};
use super::labels::{spread, width};
use super::markup::{escaped, one_line, shortened};
use super::scale::{Heights, Ticks, tick_text};

const WIDTH: f64 = 460.0;
const LEFT: f64 = 44.0;
/// Right of the plot: what lies between it and a label.
const LEADER: f64 = 23.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 40.0;
const PLOT: f64 = 226.0;
const SPACING: f64 = 15.0;
/// Characters that a label may have; more than a curve's, as no dash tells what is meant.
const LABEL: usize = 21;
/// A loss so many times further from the lowest than the median is may be cut off.
const FARTHEST: f64 = 10.0;

/// A variant's place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    /// The variant's label.
    pub label: String,
    /// Its colour.
    pub stroke: Stroke,
    /// What it costs; finite.
    pub cost: f64,
    /// Its loss; finite.
    pub loss: f64,
    /// How low and how high the loss may be.
    pub interval: Option<[f64; 2]>,
}

/// A chart of losses against costs.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Scatter {
    /// A name that no other chart of the page has, of ASCII letters.
    pub id: String,
    /// What it shows, for those who cannot see it.
    pub title: String,
    /// The horizontal axis's name.
    pub horizontal: String,
    /// What the heights are.
    pub vertical: String,
    /// The variants.
    pub points: Vec<Point>,
}

/// Which of `points`, given as (cost, loss), nothing beats: every other one costs more or has a
/// higher loss.
pub(crate) fn frontier(points: &[(f64, f64)]) -> Vec<bool> {
    let beats = |a: &(f64, f64), b: &(f64, f64)| a.0 <= b.0 && a.1 <= b.1 && a != b;
    points
        .iter()
        .map(|point| !points.iter().any(|other| beats(other, point)))
        .collect()
}

impl Scatter {
    /// Which points lie on the frontier.
    pub(crate) fn frontier(&self) -> Vec<bool> {
        let places: Vec<(f64, f64)> = self.points.iter().map(|p| (p.cost, p.loss)).collect();
        frontier(&places)
    }

    /// The chart as an SVG element; a sentence in its place where there is nothing to draw.
    pub(crate) fn svg(&self) -> String {
        let Some(plot) = Plot::of(&self.points) else {
            return "<p class=\"empty\">Nothing was measured.</p>\n".to_owned();
        };
        let mut svg = String::new();
        // Writing to a String cannot fail.
        let _ = writeln!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {}\" role=\"img\" aria-label=\"{}\">",
            TOP + plot.height + BOTTOM,
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
        let on_frontier = self.frontier();
        self.frontier_line(&mut svg, &plot, &on_frontier);
        let wanted: Vec<f64> = self.points.iter().map(|p| plot.inside(p.loss)).collect();
        let places = spread(&wanted, SPACING, TOP + 5.0, TOP + plot.height - 5.0);
        for ((point, place), on_frontier) in self.points.iter().zip(places).zip(on_frontier) {
            self.point(&mut svg, &plot, point, place, on_frontier);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, plot: &Plot) {
        let (right, bottom) = (plot.right, TOP + plot.height);
        let ticks = Ticks::between(plot.heights.low, plot.heights.high, 5);
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
        let ticks = Ticks::between(plot.cheapest, plot.dearest, 4);
        for &tick in &ticks.at {
            let x = plot.x(tick);
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
            escaped(&self.horizontal),
            escaped(&self.vertical)
        );
    }

    /// The frontier as stairs: how low the loss can be had for a cost.
    fn frontier_line(&self, svg: &mut String, plot: &Plot, on_frontier: &[bool]) {
        let mut corners: Vec<(f64, f64)> = self
            .points
            .iter()
            .zip(on_frontier)
            .filter(|(_, on_frontier)| **on_frontier)
            .map(|(point, _)| (plot.x(point.cost), plot.y(point.loss)))
            .collect();
        corners.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut path = String::new();
        for (index, (x, y)) in corners.iter().enumerate() {
            let _ = match index {
                0 => write!(path, "M{x:.1} {y:.1}"),
                _ => write!(path, "H{x:.1}V{y:.1}"),
            };
        }
        let _ = writeln!(
            svg,
            "<path class=\"frontier\" d=\"{path}H{:.1}\"/>",
            plot.right
        );
    }

    fn point(&self, svg: &mut String, plot: &Plot, point: &Point, place: f64, on_frontier: bool) {
        let label = one_line(&point.label);
        let (x, y) = (plot.x(point.cost), plot.inside(point.loss));
        let above = point.loss > plot.heights.high;
        let _ = write!(
            svg,
            "<g class=\"series {}\"><title>{}</title>",
            point.stroke.classes(),
            escaped(&label)
        );
        if let Some([low, high]) = point.interval {
            let _ = write!(
                svg,
                "<line class=\"whisker\" clip-path=\"url(#{})\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{:.1}\"/>",
                escaped(&self.id),
                plot.y(low),
                plot.y(high)
            );
        }
        let key = plot.right + 16.0;
        let _ = writeln!(
            svg,
            "<polyline class=\"leader\" points=\"{x:.1},{y:.1} {:.1},{place:.1}\"/><circle class=\"{}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"4\"/><circle cx=\"{:.1}\" cy=\"{place:.1}\" r=\"3\"/><text class=\"label\" x=\"{:.1}\" y=\"{:.1}\">{}{}</text></g>",
            key - 4.0,
            if on_frontier { "best" } else { "beaten" },
            key,
            plot.right + LEADER,
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
    heights: Heights,
    cheapest: f64,
    dearest: f64,
}

impl Plot {
    /// None without points.
    fn of(points: &[Point]) -> Option<Self> {
        let mut losses: Vec<f64> = points.iter().map(|point| point.loss).collect();
        losses.sort_by(f64::total_cmp);
        let (least, median) = (*losses.first()?, losses[losses.len() / 2]);
        // One variant that diverged must not flatten the others.
        let limit = least + FARTHEST * (median - least).max(1e-3 * least.abs());
        let seen = losses.iter().copied().filter(|&loss| loss <= limit);
        let most = seen.fold(least, f64::max);
        let span = (most - least).max(1e-3 * least.abs()).max(1e-9);
        let costs = || points.iter().map(|point| point.cost);
        let (cheapest, dearest) = (
            costs().fold(f64::INFINITY, f64::min),
            costs().fold(f64::NEG_INFINITY, f64::max),
        );
        let high = most + 0.12 * span;
        let labels = points.iter().map(|point| {
            let above = if point.loss > high {
                ABOVE.chars().count()
            } else {
                0
            };
            point.label.chars().count() + above
        });
        let margin = (0.07 * (dearest - cheapest))
            .max(0.05 * dearest.abs())
            .max(1e-9);
        Some(Self {
            right: WIDTH - LEADER - width(labels, LABEL),
            height: PLOT.max(points.len() as f64 * SPACING),
            heights: Heights {
                low: least - 0.12 * span,
                high,
                cut: losses.last().is_some_and(|&last| last > most),
            },
            cheapest: cheapest - margin,
            dearest: dearest + margin,
        })
    }

    fn x(&self, cost: f64) -> f64 {
        let part = (cost - self.cheapest) / (self.dearest - self.cheapest);
        LEFT + (self.right - LEFT) * part
    }

    /// Heights far outside stay near, so that no coordinate is too large to draw.
    fn y(&self, loss: f64) -> f64 {
        let part = (loss - self.heights.low) / (self.heights.high - self.heights.low);
        TOP + self.height * (1.0 - part.clamp(-50.0, 50.0))
    }

    fn inside(&self, loss: f64) -> f64 {
        self.y(loss).clamp(TOP, TOP + self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scatter(places: &[(f64, f64)]) -> Scatter {
        let point = |(index, &(cost, loss)): (usize, &(f64, f64))| Point {
            label: format!("<variant> & a long name {index}"),
            stroke: Stroke::Other(index),
            cost,
            loss,
            interval: Some([loss - 0.1, loss + 1e9]),
        };
        Scatter {
            id: "cost".to_owned(),
            title: "a \"title\"".to_owned(),
            horizontal: "time".to_owned(),
            vertical: "nats".to_owned(),
            points: places.iter().enumerate().map(point).collect(),
        }
    }

    #[test]
    fn the_frontier_is_what_nothing_beats() {
        let places = [(1.0, 5.0), (1.2, 4.0), (1.1, 5.5), (2.0, 4.0), (2.5, 3.0)];
        assert_eq!(frontier(&places), [true, true, false, false, true]);
        assert_eq!(frontier(&[(1.0, 1.0), (1.0, 1.0)]), [true, true]);
        assert!(frontier(&[]).is_empty());
    }

    #[test]
    fn nothing_measured_is_said() {
        assert!(scatter(&[]).svg().contains("Nothing was measured"));
    }

    #[test]
    fn a_diverged_variant_does_not_flatten_the_others() {
        let plot = Plot::of(&scatter(&[(1.0, 5.0), (1.5, 4.9), (2.0, 1e9)]).points).unwrap();
        assert!(plot.heights.cut && plot.heights.high < 5.1);
        assert!((plot.y(5.0) - plot.y(4.9)).abs() > 100.0);
    }

    proptest! {
        #[test]
        fn svg_is_well_formed_and_its_labels_do_not_overlap(
            places in prop::collection::vec((0.01f64..100.0, 0.0f64..1e6), 1..40)
        ) {
            let svg = scatter(&places).svg();
            let document = roxmltree::Document::parse(&svg).expect("well-formed");
            let mut labels: Vec<f64> = document
                .descendants()
                .filter(|node| node.attribute("class") == Some("label"))
                .map(|node| node.attribute("y").unwrap().parse().unwrap())
                .collect();
            prop_assert_eq!(labels.len(), places.len());
            labels.sort_by(f64::total_cmp);
            prop_assert!(labels.windows(2).all(|pair| pair[1] - pair[0] >= 12.0));
            prop_assert!(!svg.contains("NaN") && !svg.contains("inf"));
        }

        #[test]
        fn the_cheapest_and_the_lowest_lie_on_the_frontier(
            places in prop::collection::vec((0.01f64..100.0, 0.0f64..10.0), 1..20)
        ) {
            let on = frontier(&places);
            let lowest = (0..places.len()).min_by(|&a, &b| {
                places[a].1.total_cmp(&places[b].1).then(places[a].0.total_cmp(&places[b].0))
            });
            prop_assert!(on[lowest.unwrap()]);
            // Along the frontier, what costs more has a lower loss.
            let mut kept: Vec<_> = places.iter().zip(&on).filter(|(_, on)| **on).map(|(p, _)| *p).collect();
            kept.sort_by(|a, b| a.0.total_cmp(&b.0));
            prop_assert!(kept.windows(2).all(|pair| pair[1].1 <= pair[0].1));
        }
    }
}
