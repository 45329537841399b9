//! A model without weights, to try the rest with.

use super::{BLOCK, Engine, Logits};

/// Scores that depend on all tokens of a sequence, and on how many of them came as a prompt, by
/// arithmetic that needs no time. Whatever loses, repeats or exchanges a token changes them.
#[derive(Clone, Debug)]
pub struct Toy {
    context: usize,
    vocabulary: usize,
    /// The token at which a computation panics, as a defect would.
    fatal: Option<u32>,
}

/// The state of a sequence: a sum after every token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ToySequence {
    sums: Vec<u64>,
}

/// Tells tokens of prompts from those of answers.
const STEPPED: u64 = 0x9e37_79b9_7f4a_7c15;

impl Toy {
    /// A model of so many tokens and ids.
    pub fn new(context: usize, vocabulary: usize) -> Self {
        Self {
            context,
            vocabulary,
            fatal: None,
        }
    }

    /// The same, but that this token is its end.
    pub fn panicking_at(mut self, id: u32) -> Self {
        self.fatal = Some(id);
        self
    }

    fn push(&self, sequence: &mut ToySequence, id: u32, salt: u64) -> u64 {
        assert_ne!(Some(id), self.fatal, "the token at which the toy panics");
        let before = sequence.sums.last().copied().unwrap_or(1);
        let sum = mixed(before ^ mixed(u64::from(id) ^ salt));
        sequence.sums.push(sum);
        sum
    }

    fn row(&self, sum: u64) -> impl Iterator<Item = f32> {
        let score = move |id: u64| (mixed(sum ^ id.wrapping_mul(STEPPED)) >> 40) as f32 / 3e6;
        (0..self.vocabulary as u64).map(score)
    }
}

fn mixed(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

impl Engine for Toy {
    type Sequence = ToySequence;
    type Stored = ToySequence;
    type Error = std::convert::Infallible;

    fn context_length(&self) -> usize {
        self.context
    }

    fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    fn start(&self) -> ToySequence {
        ToySequence { sums: Vec::new() }
    }

    fn len(&self, sequence: &ToySequence) -> usize {
        sequence.sums.len()
    }

    fn extend(
        &self,
        sequence: &mut ToySequence,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, Self::Error> {
        let mut rows = Vec::new();
        for (place, &id) in ids.iter().enumerate() {
            let sum = self.push(sequence, id, 0);
            let last = place + 1 == ids.len();
            if wanted == Logits::All || (wanted == Logits::Last && last) {
                rows.extend(self.row(sum));
            }
        }
        Ok(rows)
    }

    fn step(
        &self,
        sequences: &mut [&mut ToySequence],
        ids: &[u32],
    ) -> Result<Vec<f32>, Self::Error> {
        let mut rows = Vec::new();
        for (sequence, &id) in sequences.iter_mut().zip(ids) {
            let sum = self.push(sequence, id, STEPPED);
            rows.extend(self.row(sum));
        }
        Ok(rows)
    }

    fn set_aside(&self, sequence: &ToySequence) -> ToySequence {
        sequence.clone()
    }

    fn restore(&self, stored: &ToySequence) -> ToySequence {
        stored.clone()
    }

    fn prefix(&self, sequence: &ToySequence, blocks: usize) -> ToySequence {
        ToySequence {
            sums: sequence.sums[..blocks * BLOCK].to_vec(),
        }
    }

    fn bytes(&self, tokens: usize) -> u64 {
        8 * tokens as u64
    }

    fn stored_bytes(&self, tokens: usize) -> u64 {
        2 * tokens as u64
    }
}
