use serde::{Deserialize, Serialize};

use super::error::{ModelConfigError, at_least_one, positive};

/// What stretches the rotary frequencies of a model that was taught a longer context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum RopeScaling {
    /// base^(−2i/R), as published.
    #[default]
    None,
    /// Every frequency divided by `factor` (position interpolation, arXiv 2306.15595).
    Linear {
        /// By how much the context grew.
        factor: f64,
    },
    /// Low frequencies divided by `factor`, high ones kept, those between blended (Llama 3.1).
    Llama3 {
        /// Divisor of the low frequencies.
        factor: f64,
        /// Turns within the original context below which a frequency is low.
        low_frequency_factor: f64,
        /// Turns within the original context above which a frequency is high.
        high_frequency_factor: f64,
        /// Tokens of the context that the model was first trained with.
        original_context: usize,
    },
}

impl RopeScaling {
    /// Checks every number.
    ///
    /// # Errors
    /// The first that is out of range.
    pub(super) fn validate(&self) -> Result<(), ModelConfigError> {
        match *self {
            Self::None => Ok(()),
            Self::Linear { factor } => positive("model.rope_scaling.factor", factor),
            Self::Llama3 {
                factor,
                low_frequency_factor,
                high_frequency_factor,
                original_context,
            } => {
                positive("model.rope_scaling.factor", factor)?;
                positive(
                    "model.rope_scaling.low_frequency_factor",
                    low_frequency_factor,
                )?;
                positive(
                    "model.rope_scaling.high_frequency_factor",
                    high_frequency_factor,
                )?;
                at_least_one("model.rope_scaling.original_context", original_context)?;
                if high_frequency_factor <= low_frequency_factor {
                    return Err(ModelConfigError::OutOfRange {
                        field: "model.rope_scaling.high_frequency_factor",
                        value: high_frequency_factor.to_string(),
                        allowed: format!("above low_frequency_factor = {low_frequency_factor}"),
                    });
                }
                Ok(())
            }
        }
    }

    /// Radians per position of each of the `rotary_dim` / 2 pairs of features.
    pub(crate) fn frequencies(&self, rotary_dim: usize, base: f64) -> Vec<f64> {
        let plain = |i: usize| base.powf(-2.0 * i as f64 / rotary_dim as f64);
        (0..rotary_dim / 2).map(|i| self.scaled(plain(i))).collect()
    }

    fn scaled(&self, frequency: f64) -> f64 {
        match *self {
            Self::None => frequency,
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 {
                factor,
                low_frequency_factor: low,
                high_frequency_factor: high,
                original_context,
            } => {
                let turns = original_context as f64 * frequency / std::f64::consts::TAU;
                let kept = ((turns - low) / (high - low)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn llama3_keeps_high_frequencies_and_divides_low_ones() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_frequency_factor: 1.0,
            high_frequency_factor: 4.0,
            original_context: 8192,
        };
        let plain = RopeScaling::None.frequencies(128, 500_000.0);
        let scaled = scaling.frequencies(128, 500_000.0);
        assert_eq!(plain[0], scaled[0]);
        assert!((plain[63] / scaled[63] - 8.0).abs() < 1e-12);
        let between = plain.iter().zip(&scaled).filter(|(p, s)| {
            let ratio = **p / **s;
            ratio > 1.0 + 1e-9 && ratio < 8.0 - 1e-9
        });
        assert!(between.count() > 2, "the blend has a width");
        assert!(scaled.windows(2).all(|pair| pair[1] < pair[0]));
    }
}
