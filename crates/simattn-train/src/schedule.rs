//! The learning rate as a pure function of the step.

use serde::{Deserialize, Serialize};

/// How the learning rate moves after the warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decay {
    /// Half a cosine from the peak to the minimum (Loshchilov and Hutter, "SGDR", 2017).
    #[default]
    Cosine,
    /// Warm-up, stable, decay (Hu et al., "MiniCPM", 2024): the peak until the last `decay_steps`
    /// steps, then a straight line to the minimum. A run that stops before its decay can be trained
    /// on for longer as though it had been meant to.
    Wsd,
    /// The peak to the end.
    Constant,
}

/// Linear warm-up to a peak, then a [`Decay`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// The highest learning rate.
    pub peak: f64,
    /// The learning rate of the last step, where the decay has an end.
    pub minimum: f64,
    /// Steps of linear warm-up; the last of them runs at the peak.
    pub warmup_steps: u64,
    /// What follows the warm-up.
    pub decay: Decay,
    /// Steps of [`Decay::Wsd`]'s decay; a fifth of all steps, rounded up, where absent. The others
    /// do not use it.
    pub decay_steps: Option<u64>,
}

impl Schedule {
    /// The learning rate of the update with number `step` (from 0) in a run of `steps` updates.
    ///
    /// Defined everywhere: past the end it stays at the minimum, and a run shorter than its
    /// warm-up ends inside the ramp.
    ///
    /// ```
    /// use simattn_train::{Decay, Schedule};
    ///
    /// let schedule = Schedule {
    ///     peak: 1.0,
    ///     minimum: 0.1,
    ///     warmup_steps: 10,
    ///     decay: Decay::Cosine,
    ///     decay_steps: None,
    /// };
    /// assert_eq!(schedule.learning_rate(0, 100), 0.1);
    /// assert_eq!(schedule.learning_rate(9, 100), 1.0);
    /// assert_eq!(schedule.learning_rate(99, 100), 0.1);
    /// ```
    pub fn learning_rate(&self, step: u64, steps: u64) -> f64 {
        if step < self.warmup_steps {
            return self.peak * (step as f64 + 1.0) / self.warmup_steps as f64;
        }
        match self.decay {
            Decay::Constant => self.peak,
            Decay::Wsd => {
                let after_warmup = steps.saturating_sub(self.warmup_steps);
                let decaying = self
                    .decay_steps
                    .unwrap_or(steps.div_ceil(5))
                    .min(after_warmup);
                let left = steps.saturating_sub(step.saturating_add(1));
                if left >= decaying {
                    return if step < steps {
                        self.peak
                    } else {
                        self.minimum
                    };
                }
                let height = left as f64 / decaying as f64;
                self.minimum + (self.peak - self.minimum) * height
            }
            Decay::Cosine => {
                let decaying = steps.saturating_sub(self.warmup_steps).max(1);
                let done = (step - self.warmup_steps).saturating_add(1).min(decaying);
                if done == decaying {
                    return self.minimum;
                }
                let progress = done as f64 / decaying as f64;
                let height = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
                self.minimum + (self.peak - self.minimum) * height
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const COSINE: Schedule = Schedule {
        peak: 6e-4,
        minimum: 6e-5,
        warmup_steps: 100,
        decay: Decay::Cosine,
        decay_steps: None,
    };
    const WSD: Schedule = Schedule {
        decay: Decay::Wsd,
        decay_steps: Some(200),
        ..COSINE
    };

    #[test]
    fn warmup_stable_decay_stays_and_then_falls_in_a_straight_line() {
        assert_eq!(WSD.learning_rate(99, 1100), 6e-4);
        assert_eq!(WSD.learning_rate(899, 1100), 6e-4);
        let first = WSD.learning_rate(900, 1100);
        assert!((first - (6e-4 - 5.4e-4 / 200.0)).abs() < 1e-15, "{first}");
        let middle = WSD.learning_rate(999, 1100);
        assert!((middle - 3.3e-4).abs() < 1e-12, "{middle}");
        assert_eq!(WSD.learning_rate(1099, 1100), 6e-5);
        assert_eq!(WSD.learning_rate(5000, 1100), 6e-5);
        let fifth = Schedule {
            decay_steps: None,
            ..WSD
        };
        assert_eq!(fifth.learning_rate(879, 1100), 6e-4);
        assert!(fifth.learning_rate(880, 1100) < 6e-4);
        assert_eq!(fifth.learning_rate(1099, 1100), 6e-5);
        let no_decay = Schedule {
            decay_steps: Some(0),
            ..WSD
        };
        assert_eq!(no_decay.learning_rate(1099, 1100), 6e-4);
    }

    #[test]
    fn ends_and_middle_are_known() {
        assert_eq!(COSINE.learning_rate(0, 1100), 6e-4 / 100.0);
        assert_eq!(COSINE.learning_rate(99, 1100), 6e-4);
        assert_eq!(COSINE.learning_rate(1099, 1100), 6e-5);
        let middle = COSINE.learning_rate(599, 1100);
        assert!((middle - 3.3e-4).abs() < 1e-12, "{middle}");
    }

    #[test]
    fn constant_stays_at_the_peak() {
        let constant = Schedule {
            decay: Decay::Constant,
            ..COSINE
        };
        assert_eq!(constant.learning_rate(100, 1100), 6e-4);
        assert_eq!(constant.learning_rate(u64::MAX, 1100), 6e-4);
    }

    #[test]
    fn no_warmup_starts_below_the_peak_and_ends_at_the_minimum() {
        let schedule = Schedule {
            warmup_steps: 0,
            ..COSINE
        };
        assert!(schedule.learning_rate(0, 10) < schedule.peak);
        assert_eq!(schedule.learning_rate(9, 10), schedule.minimum);
        assert_eq!(schedule.learning_rate(0, 1), schedule.minimum);
        assert_eq!(schedule.learning_rate(0, 0), schedule.minimum);
    }

    proptest! {
        #[test]
        fn always_between_zero_and_the_peak(
            step: u64, steps: u64, warmup_steps: u64, decay_steps: Option<u64>, wsd: bool,
        ) {
            let decay = if wsd { Decay::Wsd } else { Decay::Cosine };
            let schedule = Schedule { warmup_steps, decay, decay_steps, ..COSINE };
            let rate = schedule.learning_rate(step, steps);
            prop_assert!(rate > 0.0 && rate <= schedule.peak, "{rate}");
        }

        #[test]
        fn rises_through_the_warmup_and_falls_after_it(
            step in 0u64..2000, warmup_steps in 0u64..500, steps in 500u64..2000, wsd: bool,
        ) {
            let decay = if wsd { Decay::Wsd } else { Decay::Cosine };
            let schedule = Schedule { warmup_steps, decay, ..COSINE };
            let (now, next) = (schedule.learning_rate(step, steps), schedule.learning_rate(step + 1, steps));
            if step + 1 < warmup_steps {
                prop_assert!(next > now);
            } else {
                prop_assert!(next <= now);
            }
        }
    }
}
