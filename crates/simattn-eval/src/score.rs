//! Log-probabilities of continuations.

use crate::pair::Pair;
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use simattn::{Decoder, Packed};

/// Scored places whose logits are in memory at once.
const ROWS: usize = 128;

/// By how much whole sequences, filled up, may exceed the tokens that are computed: attention sees
/// them.
const SPREAD: usize = 16;

/// How likely a continuation is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// The sum of its tokens' log-probabilities in nats; 0 where it has none.
    pub log_likelihood: f64,
    /// Whether every token of it is the likeliest at its place.
    pub greedy: bool,
    /// Tokens.
    pub tokens: usize,
}

/// A model that scores continuations.
#[derive(Debug)]
pub struct Scorer<'a> {
    decoder: &'a Decoder,
    longest: usize,
    batch_tokens: usize,
}

impl<'a> Scorer<'a> {
    /// Scores with inputs of at most `longest` tokens, about `batch_tokens` of them at a time.
    pub fn new(decoder: &'a Decoder, longest: usize, batch_tokens: usize) -> Self {
        Self {
            decoder,
            longest,
            batch_tokens,
        }
    }

    /// The scores of pairs, in their order. `progress` hears how many are finished.
    ///
    /// Pairs that begin alike, as the choices of a question do, run together, and what they have in
    /// common is computed once. Which pairs run together changes a score by rounding alone.
    ///
    /// # Panics
    ///
    /// If an id is not one of the model's, as when the pairs were encoded by another tokenizer.
    pub fn score(&self, pairs: &[Pair], mut progress: impl FnMut(usize)) -> Vec<Score> {
        let inputs = |index: usize| pairs[index].inputs(self.longest).0;
        // Like beginnings side by side; equal ones in their order.
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|&index| inputs(index));
        let nothing = Score {
            log_likelihood: 0.0,
            greedy: true,
            tokens: 0,
        };
        let mut scores = vec![nothing; pairs.len()];
        let mut finished = 0;
        let (mut packed, mut members) = (Packed::new(), Vec::new());
        for (place, &index) in order.iter().enumerate() {
            let ids = inputs(index);
            let stored = packed.tokens() + ids.len() - packed.shared(ids);
            let spread = (packed.sequences() + 1) * packed.longest().max(ids.len());
            if !members.is_empty()
                && (stored > self.batch_tokens || spread > SPREAD * self.batch_tokens)
            {
                self.score_batch(pairs, &packed, &members, &mut scores);
                finished = place;
                progress(finished);
                (packed, members) = (Packed::new(), Vec::new());
            }
            packed.push(ids);
            members.push(index);
        }
        if finished < pairs.len() {
            self.score_batch(pairs, &packed, &members, &mut scores);
            progress(pairs.len());
        }
        scores
    }

    fn score_batch(
        &self,
        pairs: &[Pair],
        packed: &Packed,
        members: &[usize],
        scores: &mut [Score],
    ) {
        // A stored token, the pair that it is scored for, and the token that follows it there.
        let mut places: Vec<(usize, usize, usize)> = Vec::new();
        for (sequence, &index) in members.iter().enumerate() {
            let (inputs, scored) = pairs[index].inputs(self.longest);
            let first = inputs.len() - scored;
            let targets = pairs[index].targets(self.longest);
            let place = |(at, &target): (usize, &u32)| {
                (packed.row(sequence, first + at), index, target as usize)
            };
            places.extend(targets.iter().enumerate().map(place));
        }
        if places.is_empty() {
            return;
        }
        let hidden = self.decoder.hidden_packed(packed);
        let device = hidden.device();
        for chunk in places.chunks(ROWS) {
            let at: Vec<i32> = chunk.iter().map(|&(place, _, _)| place as i32).collect();
            let at = Tensor::<1, Int>::from_data(TensorData::new(at, [chunk.len()]), &device);
            let logits = self.decoder.head_logits(hidden.clone().select(0, at));
            let vocabulary = logits.dims()[1];
            let logits: Vec<f32> = logits.into_data().iter::<f32>().collect();
            let found: Vec<(f64, bool)> = logits
                .par_chunks(vocabulary)
                .zip(chunk)
                .map(|(row, &(_, _, target))| log_probability(row, target))
                .collect();
            for (&(_, index, _), (log_probability, likeliest)) in chunk.iter().zip(found) {
                let score = &mut scores[index];
                score.log_likelihood += log_probability;
                score.greedy &= likeliest;
                score.tokens += 1;
            }
        }
    }
}

/// The log-probability of a target, and whether no other is likelier; of equals the first is the
/// likeliest.
fn log_probability(logits: &[f32], target: usize) -> (f64, bool) {
    let mut largest = 0;
    for (place, &logit) in logits.iter().enumerate() {
        if logit > logits[largest] {
            largest = place;
        }
    }
    let top = logits[largest];
    let sum: f64 = logits
        .iter()
        .map(|&logit| f64::from((logit - top).exp()))
        .sum();
    (
        f64::from(logits[target] - top) - sum.ln(),
        largest == target,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_probabilities_sum_to_one_and_ties_go_to_the_first() {
        let logits = [1.0, 3.0, 3.0, -80.0, 88.0, 88.0];
        let all: Vec<(f64, bool)> = (0..6)
            .map(|target| log_probability(&logits, target))
            .collect();
        let sum: f64 = all.iter().map(|(value, _)| value.exp()).sum();
        assert!((sum - 1.0).abs() < 1e-6, "{sum}");
        let greedy: Vec<bool> = all.iter().map(|(_, greedy)| *greedy).collect();
        assert_eq!(greedy, [false, false, false, false, true, false]);
        assert!((all[4].0 + 2_f64.ln()).abs() < 1e-6);
    }
}
