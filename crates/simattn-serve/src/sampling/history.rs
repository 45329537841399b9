//! The tokens before the one that is chosen, as penalties see them.

use std::collections::{HashMap, HashSet};

use super::Sampling;

/// The tokens of prompt and answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    length: usize,
    seen: HashSet<u32>,
    answered: HashMap<u32, u32>,
}

impl History {
    /// A prompt without answer.
    pub fn of_prompt(prompt: &[u32]) -> Self {
        Self {
            length: prompt.len(),
            seen: prompt.iter().copied().collect(),
            answered: HashMap::new(),
        }
    }

    /// Adds a token of the answer.
    pub fn push(&mut self, id: u32) {
        self.length += 1;
        self.seen.insert(id);
        *self.answered.entry(id).or_default() += 1;
    }

    /// Tokens of prompt and answer.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Applies penalties: repetition to prompt and answer, the other two to the answer. Every logit
    /// is changed by itself, so that their order is without effect.
    pub(super) fn penalise(&self, logits: &mut [f32], sampling: &Sampling) {
        let factor = sampling.repetition_penalty as f32;
        if factor != 1.0 {
            for &id in &self.seen {
                let logit = &mut logits[id as usize];
                if *logit > 0.0 {
                    *logit /= factor;
                } else {
                    *logit *= factor;
                }
            }
        }
        let (once, each) = (sampling.presence_penalty, sampling.frequency_penalty);
        for (&id, &count) in &self.answered {
            logits[id as usize] -= (once + each * f64::from(count)) as f32;
        }
    }
}
