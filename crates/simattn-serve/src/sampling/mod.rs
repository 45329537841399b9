//! From logits to a token: what a request may ask for, and the one way it is done.
//!
//! The order is that of `transformers`: bias and penalties on the logits, then temperature, top-k,
//! top-p, min-p; what is left is drawn from. The number that decides comes from a stream of its own
//! for every seed, choice and position, so that nothing else that runs can change it.

mod distribution;
mod history;
mod logprobs;

pub use history::History;
pub use logprobs::{Logprobs, TokenLogprob};

use simattn_random::stream;
use thiserror::Error;

use distribution::Distribution;

/// How the tokens of one answer are chosen.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the likeliest token.
    pub temperature: f64,
    /// Of the likeliest tokens so many are kept; 0 keeps all.
    pub top_k: usize,
    /// The likeliest tokens are kept until their probabilities reach this.
    pub top_p: f64,
    /// Tokens are kept whose probability is at least this share of the likeliest one's.
    pub min_p: f64,
    /// Divides positive logits of tokens that were seen, in prompt or answer, and multiplies others.
    pub repetition_penalty: f64,
    /// Taken from the logit of a token once for every time the answer has it.
    pub frequency_penalty: f64,
    /// Taken from the logits of tokens that the answer has.
    pub presence_penalty: f64,
    /// Added to the logits of tokens.
    pub logit_bias: Vec<(u32, f64)>,
    /// Decides, with choice and position, what is drawn.
    pub seed: u64,
    /// Which of the answers to one prompt this is.
    pub choice: usize,
}

impl Default for Sampling {
    /// Draws from the model's own distribution, with seed 0.
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            logit_bias: Vec::new(),
            seed: 0,
            choice: 0,
        }
    }
}

/// Sampling that cannot be done. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SamplingError {
    /// A value outside what it may be.
    #[error("{field} = {value}: {range} is needed")]
    Range {
        /// The field.
        field: &'static str,
        /// What was asked for.
        value: f64,
        /// What it may be, in words.
        range: &'static str,
    },
    /// A token that the model does not have.
    #[error("logit_bias names the token {id}, but the model has the ids 0 to {last}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// The largest that the model has.
        last: usize,
    },
    /// The model's scores are no numbers.
    #[error(
        "after {tokens} tokens the model's scores are not finite, although its weights are: its \
         activations overflow, and nothing can be chosen"
    )]
    NotFinite {
        /// Tokens before the place.
        tokens: usize,
    },
}

impl Sampling {
    /// Takes the likeliest token at every step.
    pub fn greedy() -> Self {
        Self {
            temperature: 0.0,
            ..Self::default()
        }
    }

    /// Checks every field for a model of `vocabulary` tokens.
    ///
    /// # Errors
    /// The first field that is outside its range.
    pub fn validate(&self, vocabulary: usize) -> Result<(), SamplingError> {
        let checks = [
            ("temperature", self.temperature, 0.0, 100.0, "0 to 100"),
            ("top_p", self.top_p, 0.0, 1.0, "0 to 1"),
            ("min_p", self.min_p, 0.0, 1.0, "0 to 1"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                0.01,
                100.0,
                "0.01 to 100",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                -2.0,
                2.0,
                "-2 to 2",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                -2.0,
                2.0,
                "-2 to 2",
            ),
        ];
        let bias = self.logit_bias.iter();
        let bias = bias.map(|&(_, value)| ("logit_bias", value, -100.0, 100.0, "-100 to 100"));
        for (field, value, least, most, range) in checks.into_iter().chain(bias) {
            if !(least..=most).contains(&value) {
                return Err(SamplingError::Range {
                    field,
                    value,
                    range,
                });
            }
        }
        let unknown = self
            .logit_bias
            .iter()
            .find(|&&(id, _)| id as usize >= vocabulary);
        match unknown {
            Some(&(id, _)) => Err(SamplingError::UnknownToken {
                id,
                last: vocabulary.saturating_sub(1),
            }),
            None => Ok(()),
        }
    }

    /// The token that follows the `history`, whose `logits` the model gave.
    ///
    /// # Errors
    /// [`SamplingError::NotFinite`] for logits that are NaN or infinite.
    pub fn choose(&self, logits: &[f32], history: &History) -> Result<u32, SamplingError> {
        if !logits.iter().all(|logit| logit.is_finite()) {
            return Err(SamplingError::NotFinite {
                tokens: history.len(),
            });
        }
        if !self.changes_logits() {
            return Ok(self.draw(logits, history.len()));
        }
        let mut changed = logits.to_vec();
        for &(id, bias) in &self.logit_bias {
            changed[id as usize] += bias as f32;
        }
        history.penalise(&mut changed, self);
        Ok(self.draw(&changed, history.len()))
    }

    fn changes_logits(&self) -> bool {
        self.repetition_penalty != 1.0
            || self.frequency_penalty != 0.0
            || self.presence_penalty != 0.0
            || !self.logit_bias.is_empty()
    }

    fn draw(&self, logits: &[f32], position: usize) -> u32 {
        if self.temperature == 0.0 {
            return likeliest(logits);
        }
        let mut kept = Distribution::new(logits, self.temperature);
        kept.keep_top_k(self.top_k);
        kept.keep_top_p(self.top_p);
        kept.keep_min_p(self.min_p);
        let name = format!("sample.{}.{position}", self.choice);
        kept.at(stream(self.seed, &name).uniform())
    }
}

/// The first place of the largest score.
pub(crate) fn likeliest(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (place, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = place;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests;
