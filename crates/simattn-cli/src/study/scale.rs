//! Axes: which range of numbers to show, and where to write which number.

use super::figures::Progress;
use crate::quantity::{power_of_ten, with_decimals};

/// Numbers to write along an axis.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Ticks {
    /// Where, in the axis's own unit (before [`Unit::size`]).
    pub at: Vec<f64>,
    /// How many decimals tell them apart.
    pub decimals: usize,
}

impl Ticks {
    /// Round numbers (1, 2 or 5 times a power of ten apart) between `low` and `high`, about
    /// `wanted` of them.
    pub(crate) fn between(low: f64, high: f64, wanted: usize) -> Self {
        let span = high - low;
        if !span.is_finite() || span <= 0.0 {
            return Self {
                at: Vec::new(),
                decimals: 0,
            };
        }
        let rough = span / wanted.max(1) as f64;
        let power = rough.log10().floor() as i32;
        let size = 10f64.powi(power);
        let (factor, carry) = match rough / size {
            ratio if ratio < 1.5 => (1.0, 0),
            ratio if ratio < 3.5 => (2.0, 0),
            ratio if ratio < 7.5 => (5.0, 0),
            _ => (1.0, 1),
        };
        let step = factor * 10f64.powi(power + carry);
        // A hair of tolerance keeps an end that is itself a round number.
        let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let count = (last - first).clamp(-1.0, 50.0) as i64;
        let at = (0..=count)
            .map(|index| (first + index as f64) * step)
            .collect();
        Self {
            at,
            decimals: (-(power + carry)).max(0) as usize,
        }
    }
}

/// The unit that an axis counts in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Unit {
    /// The axis's title, unit and all.
    pub title: String,
    /// One unit of the axis in what was measured.
    pub size: f64,
}

impl Unit {
    /// The unit in which `progress` up to `most` is easy to read.
    pub(crate) fn of(progress: Progress, most: f64) -> Self {
        let (title, size) = match progress {
            Progress::Steps if most < 100_000.0 => ("steps".to_owned(), 1.0),
            Progress::Steps => ("thousand steps".to_owned(), 1e3),
            Progress::Tokens if most < 1e6 => ("thousand tokens".to_owned(), 1e3),
            Progress::Tokens if most < 1e9 => ("million tokens".to_owned(), 1e6),
            Progress::Tokens => ("billion tokens".to_owned(), 1e9),
            Progress::Flops => {
                let exponent = if most > 0.0 && most.is_finite() {
                    most.log10().floor() as i32
                } else {
                    0
                };
                (
                    format!("training FLOPs (× {})", power_of_ten(exponent)),
                    10f64.powi(exponent),
                )
            }
            Progress::Seconds if most < 300.0 => ("training seconds".to_owned(), 1.0),
            Progress::Seconds if most < 2.5 * 3_600.0 => ("training minutes".to_owned(), 60.0),
            Progress::Seconds => ("training hours".to_owned(), 3_600.0),
        };
        Self { title, size }
    }
}

/// The heights to show of falling curves, given as (x, y) points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Heights {
    /// The lowest height shown.
    pub low: f64,
    /// The highest height shown.
    pub high: f64,
    /// Whether some of what was measured lies above.
    pub cut: bool,
}

/// How much of the way counts as the start, whose heights may be cut off.
const START: f64 = 0.25;

impl Heights {
    /// The heights at which `curves` are worth seeing: from the lowest up to where they are after
    /// the first quarter of the way. What is higher (the fall from the first steps, a curve that
    /// diverged) is cut off. None without points.
    pub(crate) fn worth_seeing(curves: &[&[(f64, f64)]]) -> Option<Self> {
        let points = || curves.iter().flat_map(|curve| curve.iter());
        let least = points().map(|point| point.1).reduce(f64::min)?;
        let most = points().map(|point| point.1).reduce(f64::max)?;
        let furthest = points().map(|point| point.0).reduce(f64::max)?;
        let mut after_start: Vec<f64> = curves
            .iter()
            .filter_map(|curve| height_at(curve, START * furthest))
            .collect();
        after_start.sort_by(f64::total_cmp);
        let typical = after_start[after_start.len() / 2];
        let mut ends: Vec<f64> = curves
            .iter()
            .filter_map(|curve| curve.last())
            .map(|point| point.1)
            .collect();
        ends.sort_by(f64::total_cmp);
        let typical_end = ends[ends.len() / 2];

        // One curve that lies far above the others must not flatten them.
        let worst = after_start.last().copied().unwrap_or(typical);
        let top = worst
            .min(least + 2.0 * (typical.max(typical_end) - least))
            .min(most)
            .max(typical_end);
        let span = (top - least).max(1e-3 * least.abs()).max(1e-9);
        let (low, high) = (least - 0.05 * span, least + 1.05 * span);
        Some(Self {
            low,
            high,
            cut: most > high,
        })
    }

    /// Widens the range to take `height` in.
    pub(crate) fn with(mut self, height: f64) -> Self {
        if height.is_finite() {
            let margin = 0.05 * (self.high - self.low);
            self.low = self.low.min(height - margin);
            self.high = self.high.max(height + margin);
        }
        self
    }
}

/// The height of a curve at `x`, on a straight line between its points; its nearest end's where it
/// does not get there.
fn height_at(curve: &[(f64, f64)], x: f64) -> Option<f64> {
    let next = curve.iter().position(|point| point.0 >= x);
    Some(match next {
        None => curve.last()?.1,
        Some(0) => curve[0].1,
        Some(next) => between(curve[next - 1], curve[next], x),
    })
}

/// The height at `x` of the straight line through two points, the second not left of the first.
pub(crate) fn between(before: (f64, f64), after: (f64, f64), x: f64) -> f64 {
    if after.0 <= before.0 {
        return after.1;
    }
    before.1 + (after.1 - before.1) * (x - before.0) / (after.0 - before.0)
}

/// A tick's number as text.
pub(crate) fn tick_text(tick: f64, decimals: usize) -> String {
    // No "-0".
    with_decimals(if tick.abs() < 1e-12 { 0.0 } else { tick }, decimals)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_are_round_numbers() {
        assert_eq!(
            Ticks::between(0.0, 2_000.0, 4).at,
            [0.0, 500.0, 1_000.0, 1_500.0, 2_000.0]
        );
        let ticks = Ticks::between(1.43, 1.53, 4);
        assert_eq!(ticks.decimals, 2);
        assert_eq!(
            ticks
                .at
                .iter()
                .map(|&tick| tick_text(tick, 2))
                .collect::<Vec<_>>(),
            ["1.44", "1.46", "1.48", "1.50", "1.52"]
        );
        assert!(Ticks::between(1.0, 1.0, 4).at.is_empty());
        assert!(Ticks::between(0.0, f64::NAN, 4).at.is_empty());
    }

    #[test]
    fn units_keep_numbers_small() {
        assert_eq!(
            Unit::of(Progress::Flops, 3.2e15),
            Unit {
                title: "training FLOPs (× 10¹⁵)".to_owned(),
                size: 1e15
            }
        );
        assert_eq!(
            Unit::of(Progress::Seconds, 3_600.0).title,
            "training minutes"
        );
    }

    #[test]
    fn the_first_fall_and_a_diverged_curve_are_cut_off() {
        let falling: Vec<(f64, f64)> = (0..=100)
            .map(|x| (x as f64, 2.0 + 8.0 * (-(x as f64) / 15.0).exp()))
            .collect();
        let diverged: Vec<(f64, f64)> = (0..=100).map(|x| (x as f64, 10.0 + x as f64)).collect();
        let heights = Heights::worth_seeing(&[&falling, &falling, &falling, &diverged]).unwrap();
        assert!(heights.cut && heights.low < 2.0 && heights.low > 1.5);
        assert!(heights.high > 2.05 && heights.high < 6.0, "{heights:?}");
        assert_eq!(Heights::worth_seeing(&[&[]]), None);
    }

    proptest! {
        #[test]
        fn ticks_lie_inside_and_are_few(low in -1e6f64..1e6, span in 1e-3f64..1e9) {
            let ticks = Ticks::between(low, low + span, 5);
            prop_assert!((2..=10).contains(&ticks.at.len()), "{ticks:?}");
            prop_assert!(ticks.at.iter().all(|&tick| tick >= low - span * 1e-6 && tick <= low + span * (1.0 + 1e-6)));
            let texts: std::collections::HashSet<String> = ticks.at.iter().map(|&tick| tick_text(tick, ticks.decimals)).collect();
            prop_assert_eq!(texts.len(), ticks.at.len());
        }

        #[test]
        fn the_typical_end_is_always_seen(ends in prop::collection::vec(0.1f64..20.0, 1..9)) {
            let curves: Vec<Vec<(f64, f64)>> = ends.iter().map(|&end| vec![(0.0, end + 5.0), (10.0, end)]).collect();
            let heights = Heights::worth_seeing(&curves.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
            let least = ends.iter().copied().fold(f64::INFINITY, f64::min);
            prop_assert!(heights.low < least && least < heights.high);
        }
    }
}
