//! Student's t test on paired differences.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// How much of the intervals' probability lies inside.
pub(super) const CONFIDENCE: f64 = 0.95;

/// What differences between paired runs say about the true difference, if they are normal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PairedTest {
    /// How many differences there are.
    pub pairs: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, over n − 1.
    pub deviation: f64,
    /// The interval of 95% for the true difference.
    pub interval: [f64; 2],
    /// The chance of a mean at least as far from 0, on either side, if the true difference is 0.
    pub p: f64,
}

impl PairedTest {
    /// Tests `differences`; None for fewer than two, or if they are too large for numbers to hold.
    pub(super) fn of(differences: &[f64]) -> Option<Self> {
        let pairs = differences.len();
        if pairs < 2 || differences.iter().any(|difference| !difference.is_finite()) {
            return None;
        }
        let mean = differences.iter().sum::<f64>() / pairs as f64;
        let squares: f64 = differences.iter().map(|d| (d - mean).powi(2)).sum();
        let deviation = (squares / (pairs - 1) as f64).sqrt();
        let error = deviation / (pairs as f64).sqrt();
        if !deviation.is_finite() {
            return None;
        }
        let margin = critical_value(pairs, 1.0 - CONFIDENCE)? * error;
        let p = match (error > 0.0, mean == 0.0) {
            (true, _) => 2.0 * student(pairs)?.sf((mean / error).abs()),
            (false, true) => 1.0,
            (false, false) => 0.0,
        };
        Some(Self {
            pairs,
            mean,
            deviation,
            interval: [mean - margin, mean + margin],
            p: p.min(1.0),
        })
    }
}

/// What |t| of `pairs` differences exceeds with probability `level` if the true difference is 0.
pub(super) fn critical_value(pairs: usize, level: f64) -> Option<f64> {
    Some(student(pairs)?.inverse_cdf(1.0 - level / 2.0))
}

fn student(pairs: usize) -> Option<StudentsT> {
    StudentsT::new(0.0, 1.0, pairs.checked_sub(1)? as f64).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn critical_values_are_those_of_the_tables() {
        for (pairs, level, table) in [
            (2, 0.05, 12.706_204_736),
            (3, 0.05, 4.302_652_730),
            (5, 0.01, 4.604_094_871),
            (11, 0.05, 2.228_138_852),
            (3, 0.05 / 6.0, 10.885_866_619),
        ] {
            let value = critical_value(pairs, level).unwrap();
            assert!((value / table - 1.0).abs() < 1e-9, "{pairs}: {value}");
        }
        assert_eq!(critical_value(1, 0.05), None);
        assert_eq!(critical_value(0, 0.05), None);
    }

    /// Student's own example (1908): hours of sleep gained by ten patients from two drugs.
    #[test]
    fn students_sleep_data_give_the_known_result() {
        let first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0];
        let second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4];
        let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
        let test = PairedTest::of(&differences).unwrap();
        assert!((test.mean + 1.58).abs() < 1e-12);
        assert!((test.p - 0.002_832_89).abs() < 1e-8, "{}", test.p);
        assert!((test.interval[0] + 2.459_886).abs() < 1e-6, "{test:?}");
        assert!((test.interval[1] + 0.700_114).abs() < 1e-6, "{test:?}");
    }

    #[test]
    fn differences_that_do_not_vary_are_no_error() {
        assert_eq!(PairedTest::of(&[0.0, 0.0]).unwrap().p, 1.0);
        let test = PairedTest::of(&[0.5, 0.5, 0.5]).unwrap();
        assert_eq!((test.p, test.interval), (0.0, [0.5, 0.5]));
        assert_eq!(PairedTest::of(&[0.5]), None);
        assert_eq!(PairedTest::of(&[0.5, f64::NAN]), None);
        assert_eq!(PairedTest::of(&[f64::MAX / 2.0, -1.0]), None);
    }
}
