//! Which differences between variants are more than chance, and which would have been noticed.
//!
//! Seeds are shared: with one seed, every variant sees the same batches in the same order and
//! starts with the same numbers in the parts it shares. So each run is compared with the baseline's
//! run of the same seed (`paired`), which takes out what a lucky seed gives to both. As every
//! further variant is another chance for a false alarm, the p-values are then corrected for their
//! number (`holm`). `power` says how large a difference such a study finds.

mod holm;
mod paired;
mod power;

pub use paired::PairedTest;

use super::results::{StudyResults, VariantResults};

/// The share of studies without any difference in which one may be claimed.
pub(crate) const LEVEL: f64 = 0.05;

/// A variant's final losses against the baseline's.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison<'a> {
    /// The variant.
    pub variant: &'a VariantResults,
    /// Its final loss less the baseline's, nats per token, for every seed that finished in both.
    pub differences: Vec<f64>,
    /// What the differences show; None with fewer than two.
    pub test: Option<PairedTest>,
    /// The test's p-value, corrected for the number of variants tested.
    pub corrected: Option<f64>,
}

/// What a comparison comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// The variant's loss is lower than the baseline's, and not by chance.
    Lower,
    /// The variant's loss is higher than the baseline's, and not by chance.
    Higher,
    /// The difference may be chance.
    Open,
}

impl Comparison<'_> {
    /// The mean difference; None without a pair.
    pub(crate) fn mean(&self) -> Option<f64> {
        let pairs = self.differences.len();
        (pairs > 0).then(|| self.differences.iter().sum::<f64>() / pairs as f64)
    }

    /// What remains of the difference after the correction; None where nothing could be tested.
    pub fn finding(&self) -> Option<Finding> {
        let (test, corrected) = (self.test?, self.corrected?);
        Some(if corrected <= LEVEL {
            if test.mean < 0.0 {
                Finding::Lower
            } else {
                Finding::Higher
            }
        } else {
            Finding::Open
        })
    }
}

/// All variants against the baseline.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparisons<'a> {
    /// One for every variant but the baseline, in the study's order.
    pub all: Vec<Comparison<'a>>,
}

impl<'a> Comparisons<'a> {
    /// Compares every variant of `study` with its baseline.
    pub fn of(study: &'a StudyResults) -> Self {
        let others = study
            .variants
            .iter()
            .filter(|variant| variant.name != study.baseline);
        let mut all: Vec<Comparison<'a>> = others
            .map(|variant| {
                let differences: Vec<f64> = study
                    .pairs(variant)
                    .filter_map(|(baseline, run)| Some(run.final_loss()? - baseline.final_loss()?))
                    .collect();
                Comparison {
                    variant,
                    test: PairedTest::of(&differences),
                    differences,
                    corrected: None,
                }
            })
            .collect();
        let p: Vec<f64> = all.iter().filter_map(|c| Some(c.test?.p)).collect();
        let tested = all.iter_mut().filter(|c| c.test.is_some());
        for (comparison, corrected) in tested.zip(holm::corrected(&p)) {
            comparison.corrected = Some(corrected);
        }
        Self { all }
    }

    /// The comparison of the variant called `name`.
    pub(crate) fn of_variant(&self, name: &str) -> Option<&Comparison<'a>> {
        self.all.iter().find(|c| c.variant.name == name)
    }

    /// The tests that were possible.
    pub fn tests(&self) -> impl Iterator<Item = &PairedTest> {
        self.all.iter().filter_map(|c| c.test.as_ref())
    }

    /// How sharply the study sees; None where nothing was tested or the differences do not vary.
    pub fn sight(&self) -> Option<Sight> {
        let pairs = self.tests().map(|test| test.pairs).min()?;
        // Every variant's differences vary about their own mean: their squares add up.
        let freedom: usize = self.tests().map(|test| test.pairs - 1).sum();
        let squares: f64 = self
            .tests()
            .map(|test| test.deviation.powi(2) * (test.pairs - 1) as f64)
            .sum();
        let deviation = (squares / freedom as f64).sqrt();
        (deviation > 0.0).then(|| Sight {
            pairs,
            tests: self.tests().count(),
            deviation,
        })
    }
}

/// What decides how small a difference a study can find.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sight {
    /// Pairs of runs in a test; the fewest, where tests have different numbers.
    pub pairs: usize,
    /// How many variants are tested.
    pub tests: usize,
    /// The standard deviation of a difference between two runs of one seed, pooled over variants.
    pub deviation: f64,
}

impl Sight {
    /// A difference as large as this (nats per token) is found with probability `chance`.
    ///
    /// Found means at the level that the smallest p-value has to meet; larger ones have it easier.
    pub fn finds(&self, chance: f64) -> Option<f64> {
        let effect = power::effect_found(self.pairs, self.level(), chance)?;
        Some(effect * self.deviation)
    }

    /// The pairs that find a true `difference` with probability `chance`; None if beyond reach.
    pub(crate) fn pairs_to_find(&self, difference: f64, chance: f64) -> Option<usize> {
        power::pairs_needed(difference / self.deviation, self.level(), chance)
    }

    fn level(&self) -> f64 {
        LEVEL / self.tests as f64
    }
}
