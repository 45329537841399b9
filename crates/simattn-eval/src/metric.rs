//! Which numbers a task may report.

use serde::Deserialize;

/// What is reported of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of items whose right choice has the largest log-likelihood; without choices, of
    /// continuations that are the likeliest token by token.
    Acc,
    /// The share of items whose right choice has the largest log-likelihood per character (not
    /// byte).
    AccNorm,
    /// e to the mean negative log-likelihood of a continuation.
    Perplexity,
}

impl Metric {
    /// Its name in lm-evaluation-harness.
    pub fn name(self) -> &'static str {
        match self {
            Self::Acc => "acc",
            Self::AccNorm => "acc_norm",
            Self::Perplexity => "perplexity",
        }
    }

    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        self != Self::Perplexity
    }

    /// Whether it has a meaning for tasks without (`single`) or with choices.
    pub(crate) fn fits(self, single: bool) -> bool {
        match self {
            Self::Acc => true,
            Self::AccNorm => !single,
            Self::Perplexity => single,
        }
    }
}
