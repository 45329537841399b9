//! From scores to decisions, and from decisions to numbers with standard errors.

use crate::items::Item;
use crate::metric::Metric;
use crate::score::Score;

/// A number and how sure it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Value {
    /// The number.
    pub value: f64,
    /// The standard error: the sample's standard deviation (n − 1) over √n; NaN for a single item.
    pub standard_error: f64,
}

/// A task's numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// One for each of the task's metrics, in their order.
    pub values: Vec<(Metric, Value)>,
    /// Items.
    pub items: usize,
}

impl Metric {
    /// Its part of one item: 1 or 0 for accuracies, the log-likelihood for perplexity.
    pub fn of(self, item: &Item, scores: &[Score]) -> f64 {
        let right = |values: Vec<f64>| f64::from(u8::from(item.gold == Some(largest(&values))));
        let log_likelihoods = scores.iter().map(|score| score.log_likelihood);
        match (self, item.gold) {
            (Self::Acc, Some(_)) => right(log_likelihoods.collect()),
            (Self::Acc, None) => f64::from(u8::from(scores[0].greedy)),
            (Self::AccNorm, _) => {
                let lengths = item
                    .requests
                    .iter()
                    .map(|request| request.characters as f64);
                right(
                    log_likelihoods
                        .zip(lengths)
                        .map(|(sum, length)| sum / length)
                        .collect(),
                )
            }
            (Self::Perplexity, _) => scores[0].log_likelihood,
        }
    }

    /// The number for all items, from each item's part.
    pub fn mean(self, parts: &[f64]) -> Value {
        let count = parts.len() as f64;
        let mean = parts.iter().sum::<f64>() / count;
        let squares: f64 = parts.iter().map(|part| (part - mean).powi(2)).sum();
        let error = (squares / (count - 1.0)).sqrt() / count.sqrt();
        match self {
            Self::Acc | Self::AccNorm => Value {
                value: mean,
                standard_error: error,
            },
            Self::Perplexity => {
                let value = (-mean).exp();
                Value {
                    value,
                    standard_error: value * error,
                }
            }
        }
    }
}

/// The place of the first largest value; a NaN counts as larger than everything, as in NumPy.
fn largest(values: &[f64]) -> usize {
    let mut best = 0;
    for (place, value) in values.iter().enumerate() {
        if values[best].is_nan() {
            break;
        }
        if value.is_nan() || *value > values[best] {
            best = place;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::items::Request;

    fn item(choices: &[&str], gold: usize) -> Item {
        let request = |choice: &&str| Request {
            context: String::new(),
            continuation: format!(" {choice}"),
            characters: choice.chars().count(),
        };
        Item {
            requests: choices.iter().map(request).collect(),
            gold: Some(gold),
            document: serde_json::Map::new(),
        }
    }

    fn scores(values: &[f64]) -> Vec<Score> {
        let score = |&log_likelihood: &f64| Score {
            log_likelihood,
            greedy: false,
            tokens: 1,
        };
        values.iter().map(score).collect()
    }

    #[test]
    fn the_length_is_in_characters() {
        // −6 over 4 characters loses against −4.4 over 3; over 8 bytes it would win.
        let question = item(&["éééé", "abc"], 1);
        let found = scores(&[-6.0, -4.4]);
        assert_eq!(Metric::AccNorm.of(&question, &found), 1.0);
        let per_byte = |choice: usize, text: &str| found[choice].log_likelihood / text.len() as f64;
        assert!(per_byte(0, "éééé") > per_byte(1, "abc"));
        assert_eq!(Metric::Acc.of(&question, &found), 1.0);
        // The delimiter is not part of the length.
        let question = item(&["ab", "abcd"], 0);
        assert_eq!(Metric::AccNorm.of(&question, &scores(&[-2.0, -4.1])), 1.0);
        assert_eq!(Metric::AccNorm.of(&question, &scores(&[-2.1, -4.1])), 0.0);
    }

    #[test]
    fn the_first_of_equals_is_chosen() {
        let tied = scores(&[-3.0, -2.0, -2.0]);
        assert_eq!(Metric::Acc.of(&item(&["a", "b", "c"], 1), &tied), 1.0);
        assert_eq!(Metric::Acc.of(&item(&["a", "b", "c"], 2), &tied), 0.0);
        assert_eq!(largest(&[0.0, f64::NAN, 5.0, f64::NAN]), 1);
        assert_eq!(largest(&[f64::NEG_INFINITY; 3]), 0);
    }

    #[test]
    fn a_choice_of_no_characters_never_wins_by_length() {
        assert_eq!(
            Metric::AccNorm.of(&item(&["", "abc"], 1), &scores(&[-0.1, -9.0])),
            1.0
        );
    }

    #[test]
    fn standard_errors_are_those_of_a_sample() {
        let value = Metric::Acc.mean(&[1.0, 0.0, 1.0, 1.0]);
        assert_eq!(value.value, 0.75);
        assert!((value.standard_error - 0.25).abs() < 1e-15);
        assert!(Metric::Acc.mean(&[1.0]).standard_error.is_nan());
        let value = Metric::Perplexity.mean(&[-1.0, -3.0]);
        assert!((value.value - 2_f64.exp()).abs() < 1e-12);
        assert!((value.standard_error - 2_f64.exp()).abs() < 1e-12);
    }
}
