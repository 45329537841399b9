//! How a variant's learning rate was chosen.

use serde::{Deserialize, Serialize};

use super::nan_as_null;

/// The rates that were tried, on a seed that no run of the study has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateSearch {
    /// The seed of every try.
    pub seed: u64,
    /// Optimiser steps of every try.
    pub steps: u64,
    /// The tries, from the lowest rate to the highest.
    pub tries: Vec<RateTry>,
}

/// One peak learning rate and what came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateTry {
    /// The peak learning rate.
    #[serde(with = "nan_as_null")]
    pub learning_rate: f64,
    /// The last validation loss, nats per token; not finite where the run diverged.
    #[serde(with = "nan_as_null")]
    pub loss: f64,
}

/// An end of the rates that were tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Edge {
    /// The lowest rate.
    Lowest,
    /// The highest rate.
    Highest,
}

impl RateSearch {
    /// The try with the lowest loss; None where all diverged.
    pub(crate) fn best(&self) -> Option<RateTry> {
        let finite = self.tries.iter().filter(|tried| tried.loss.is_finite());
        finite.min_by(|a, b| a.loss.total_cmp(&b.loss)).copied()
    }

    /// Whether the best rate lies at an end, so that a rate beyond it may be better still.
    pub(crate) fn edge(&self) -> Option<Edge> {
        let best = self.best()?.learning_rate;
        match (self.tries.first(), self.tries.last()) {
            (Some(lowest), Some(highest)) if lowest.learning_rate < highest.learning_rate => {
                match best {
                    rate if rate == lowest.learning_rate => Some(Edge::Lowest),
                    rate if rate == highest.learning_rate => Some(Edge::Highest),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(losses: &[f64]) -> RateSearch {
        let tries = losses.iter().enumerate().map(|(index, &loss)| RateTry {
            learning_rate: 5e-4 * (index + 1) as f64,
            loss,
        });
        RateSearch {
            seed: 99,
            steps: 100,
            tries: tries.collect(),
        }
    }

    #[test]
    fn the_best_rate_is_that_of_the_lowest_loss() {
        let inside = search(&[3.0, 2.0, f64::NAN]);
        assert_eq!(inside.best().unwrap().learning_rate, 1e-3);
        assert_eq!(inside.edge(), None);
        assert_eq!(search(&[1.0, 2.0, 3.0]).edge(), Some(Edge::Lowest));
        assert_eq!(search(&[3.0, 2.0, 1.0]).edge(), Some(Edge::Highest));
        assert_eq!(search(&[3.0]).edge(), None);
        assert_eq!(search(&[f64::NAN, f64::INFINITY]).best(), None);
    }
}
