//! How often a paired t test finds a difference that is there.
//!
//! With a true difference, t follows the noncentral t distribution (N. L. Johnson, S. Kotz and N.
//! Balakrishnan, *Continuous Univariate Distributions*, volume 2, 2nd edition (1995), chapter 31):
//! t = (Z + δ) / S, with Z standard normal, S² a χ² of n − 1 degrees of freedom divided by them,
//! and δ = √n × difference / deviation. Given Z, the chance that t exceeds c is that of S < (Z + δ)
//! / c, an incomplete gamma function; the integral over Z is Simpson's.

use std::f64::consts::PI;

use statrs::function::gamma::checked_gamma_lr;

use super::paired::critical_value;

/// Beyond this many standard deviations, a normal number has less than 1e-16 of its probability.
const FAR: f64 = 8.5;
/// Intervals of Simpson's rule: 1e-9 is reached for any number of pairs that a study has.
const INTERVALS: usize = 1_024;
/// More pairs than anyone trains.
const MOST_PAIRS: usize = 10_000;

/// The chance that a two-sided test of `pairs` differences at `level` finds a true difference of
/// `effect` standard deviations; None for fewer than two pairs.
pub(crate) fn power(effect: f64, pairs: usize, level: f64) -> Option<f64> {
    let critical = critical_value(pairs, level)?;
    let shift = effect.abs() * (pairs as f64).sqrt();
    let freedom = (pairs - 1) as f64;
    let both = exceeds(critical, freedom, shift) + exceeds(critical, freedom, -shift);
    Some(both.min(1.0))
}

/// The chance that a noncentral t with `freedom` degrees of freedom and noncentrality `shift`
/// exceeds `critical`, which is positive.
fn exceeds(critical: f64, freedom: f64, shift: f64) -> f64 {
    let start = (-shift).max(-FAR);
    if start >= FAR {
        return 0.0;
    }
    let density = |z: f64| {
        let bound = (z + shift) / critical;
        if bound <= 0.0 {
            return 0.0;
        }
        // What is too large for the function's domain lies below with certainty.
        let below = checked_gamma_lr(freedom / 2.0, freedom * bound * bound / 2.0).unwrap_or(1.0);
        (-0.5 * z * z).exp() / (2.0 * PI).sqrt() * below
    };
    let step = (FAR - start) / INTERVALS as f64;
    let inner: f64 = (1..INTERVALS)
        .map(|index| {
            let weight = if index % 2 == 1 { 4.0 } else { 2.0 };
            weight * density(start + index as f64 * step)
        })
        .sum();
    step / 3.0 * (density(start) + inner + density(FAR))
}

/// The difference, in standard deviations, that `pairs` find with probability `chance`.
pub(crate) fn effect_found(pairs: usize, level: f64, chance: f64) -> Option<f64> {
    let found = |effect: f64| power(effect, pairs, level).is_some_and(|power| power >= chance);
    let mut high = (0..40)
        .map(|doubled| 2f64.powi(doubled - 10))
        .find(|&e| found(e))?;
    let mut low = 0.0;
    while high - low > 1e-7 * high {
        let middle = 0.5 * (low + high);
        if found(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// The least number of pairs that find a difference of `effect` standard deviations with
/// probability `chance`; None if that is more than anyone trains.
pub(crate) fn pairs_needed(effect: f64, level: f64, chance: f64) -> Option<usize> {
    let found = |pairs: usize| power(effect, pairs, level).is_some_and(|power| power >= chance);
    let mut high = 2;
    while !found(high) {
        high *= 2;
        if high > MOST_PAIRS {
            return None;
        }
    }
    let mut low = high / 2;
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if found(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// References: an adaptive quadrature over S in SciPy 1.17 with errors below 1e-12.
    #[test]
    fn power_is_that_of_the_references() {
        for (pairs, effect, tests, reference) in [
            (34, 0.5, 1.0, 0.807_777_501_279_27),
            (3, 2.0, 1.0, 0.470_749_431_278_43),
            (3, 5.0, 6.0, 0.467_814_987_906_20),
            (3, 12.0, 6.0, 0.972_494_471_266_74),
            (2, 10.0, 1.0, 0.732_819_589_805_71),
            (5, 1.5, 6.0, 0.276_818_334_667_42),
            (20, 1.0, 1.0, 0.988_591_294_777_28),
            (1_000, 0.1, 1.0, 0.884_789_098_890_51),
            // Without a difference, what is found is the level's share.
            (3, 0.0, 1.0, 0.05),
            (7, 0.0, 5.0, 0.01),
        ] {
            for effect in [effect, -effect] {
                let power = power(effect, pairs, 0.05 / tests).unwrap();
                assert!(
                    (power - reference).abs() < 1e-8,
                    "{pairs}, {effect}: {power}"
                );
            }
        }
        assert_eq!(power(1.0, 1, 0.05), None);
    }

    #[test]
    fn the_effect_found_is_that_of_the_references() {
        for (pairs, tests, chance, reference) in [
            (3, 6.0, 0.8, 8.019_398_229),
            (3, 1.0, 0.8, 3.264_043_550),
            (5, 6.0, 0.8, 2.759_262_637),
            (3, 6.0, 0.5, 5.244_593_844),
            (2, 1.0, 0.8, 11.549_888_436),
            (20, 3.0, 0.95, 0.979_353_653),
        ] {
            let effect = effect_found(pairs, 0.05 / tests, chance).unwrap();
            assert!((effect / reference - 1.0).abs() < 1e-6, "{pairs}: {effect}");
        }
    }

    #[test]
    fn the_pairs_needed_are_the_fewest() {
        // As in the G*Power manual: 34 pairs for dz = 0.5 at 80%.
        assert_eq!(pairs_needed(0.5, 0.05, 0.8), Some(34));
        assert_eq!(pairs_needed(12.0, 0.05, 0.8), Some(2));
        assert_eq!(pairs_needed(1e-6, 0.05, 0.8), None);
        assert_eq!(pairs_needed(0.0, 0.05, 0.8), None);
    }
}
