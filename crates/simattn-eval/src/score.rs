//! Log-probabilities of continuations.

use crate::pair::Pair;
use burn::tensor::{Int, Tensor, TensorData};
use rayon::prelude::*;
use simattn::Decoder;

/// Scored places whose logits are in memory at once.
const ROWS: usize = 128;

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
    /// Pairs of like length run together, filled up on the right, where causal attention does not look. What is filled
    /// up, and which pairs run together, changes a score by rounding alone.
    ///
    /// # Panics
    ///
    /// If an id is not one of the model's, as when the pairs were encoded by another tokenizer.
    pub fn score(&self, pairs: &[Pair], mut progress: impl FnMut(usize)) -> Vec<Score> {
        let length = |index: &usize| pairs[*index].inputs(self.longest).0.len();
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        // The longest first, so that memory does not grow on the way; equal ones in their order.
        order.sort_by_key(|index| std::cmp::Reverse(length(index)));
        let nothing = Score {
            log_likelihood: 0.0,
            greedy: true,
            tokens: 0,
        };
        let mut scores = vec![nothing; pairs.len()];
        let mut rest = &order[..];
        let mut finished = 0;
        while let Some(first) = rest.first() {
            let width = length(first).max(1);
            let rows = (self.batch_tokens / width).clamp(1, rest.len());
            let (batch, left) = rest.split_at(rows);
            self.score_batch(pairs, batch, width, &mut scores);
            rest = left;
            finished += rows;
            progress(finished);
        }
        scores
    }

    fn score_batch(&self, pairs: &[Pair], batch: &[usize], width: usize, scores: &mut [Score]) {
        let mut ids = vec![0_i32; batch.len() * width];
        // A place in the batch, whose pair it scores, and the token there.
        let mut places: Vec<(usize, usize, usize)> = Vec::new();
        for (row, &index) in batch.iter().enumerate() {
            let (inputs, scored) = pairs[index].inputs(self.longest);
            for (to, from) in ids[row * width..].iter_mut().zip(inputs) {
                *to = *from as i32;
            }
            let targets = pairs[index].targets(self.longest);
            let first = row * width + inputs.len() - scored;
            places.extend(
                targets
                    .iter()
                    .enumerate()
                    .map(|(at, &target)| (first + at, index, target as usize)),
            );
        }
        if places.is_empty() {
            return;
        }
        let device = self.decoder.embedding.val().device();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [batch.len(), width]), &device);
        let hidden = self.decoder.hidden(ids);
        let [rows, columns, features] = hidden.dims();
        let hidden = hidden.reshape([rows * columns, features]);
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

/// The log-probability of a target, and whether no other is likelier; of equals the first is the likeliest.
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
