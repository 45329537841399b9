//! How long the rest of a study takes, learnt from what its steps took so far.

use crate::training_progress::Rest;

/// The seconds of every variant's steps, as far as they are known.
#[derive(Debug)]
pub(super) struct Pace {
    variants: Vec<Steps>,
}

#[derive(Debug)]
struct Steps {
    /// Operations of one.
    flops: f64,
    /// Seconds of one.
    seconds: Option<f64>,
}

impl Pace {
    /// Of variants whose steps take so many operations.
    pub(super) fn new(flops: impl Iterator<Item = f64>) -> Self {
        let variants = flops.map(|flops| Steps {
            flops,
            seconds: None,
        });
        Self {
            variants: variants.collect(),
        }
    }

    /// Steps of a variant were seen.
    pub(super) fn learn(&mut self, variant: usize, steps: u64, seconds: f64) {
        if steps > 0 && seconds.is_finite() {
            self.variants[variant].seconds = Some(seconds / steps as f64);
        }
    }

    /// What `later` runs (variants and their steps) take after one of so many steps.
    pub(super) fn rest(&self, under_way: (usize, u64), later: &[(usize, u64)]) -> Rest {
        if let Some(seconds) = self.left(later) {
            return Rest {
                seconds,
                multiple: 0.0,
            };
        }
        let work = |&(variant, steps): &(usize, u64)| self.variants[variant].flops * steps as f64;
        let rest: f64 = later.iter().map(work).sum();
        Rest {
            seconds: 0.0,
            multiple: rest / work(&under_way).max(f64::MIN_POSITIVE),
        }
    }

    /// Seconds that such runs take; None before any step was seen.
    pub(super) fn left(&self, runs: &[(usize, u64)]) -> Option<f64> {
        let per_flop: Vec<f64> = (self.variants.iter())
            .filter_map(|steps| Some(steps.seconds? / steps.flops))
            .collect();
        let mean = per_flop.iter().sum::<f64>() / per_flop.len() as f64;
        let seconds = |&(variant, steps): &(usize, u64)| {
            let known = &self.variants[variant];
            known.seconds.unwrap_or(mean * known.flops) * steps as f64
        };
        (!per_flop.is_empty()).then(|| runs.iter().map(seconds).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_seen_is_judged_by_its_operations() {
        let mut pace = Pace::new([1.0, 2.0].into_iter());
        let later = [(1, 10), (0, 5)];
        assert_eq!(pace.left(&later), None);
        let rest = pace.rest((0, 5), &later);
        assert_eq!((rest.seconds, rest.multiple), (0.0, 5.0));
        pace.learn(0, 5, 10.0);
        assert_eq!(pace.left(&later), Some(50.0));
        pace.learn(1, 1, 3.0);
        assert_eq!(pace.rest((0, 5), &later).seconds, 40.0);
        pace.learn(1, 0, 0.0);
        assert_eq!(pace.left(&[]), Some(0.0));
    }
}
