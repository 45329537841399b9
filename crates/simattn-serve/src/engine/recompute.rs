//! A decoder that computes every token from the whole text before it: the plain definition.

use burn::tensor::{Int, Tensor, TensorData};
use simattn::Decoder;

use super::{BLOCK, Engine, Logits};

/// A decoder without caches. Slow for long texts, right for every variant and device.
#[derive(Debug)]
pub struct Recompute {
    decoder: Decoder,
}

impl Recompute {
    /// Runs a decoder.
    pub fn new(decoder: Decoder) -> Self {
        Self { decoder }
    }

    /// The logits after the last `count` tokens of a text.
    fn last(&self, ids: &[u32], count: usize) -> Vec<f32> {
        let device = self.decoder.embedding.val().device();
        let values: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let values = TensorData::new(values, [1, ids.len()]);
        let hidden = self
            .decoder
            .hidden(Tensor::<2, Int>::from_data(values, &device));
        let [_, tokens, width] = hidden.dims();
        let hidden = hidden.narrow(1, tokens - count, count);
        let logits = self.decoder.head_logits(hidden.reshape([count, width]));
        logits.into_data().iter::<f32>().collect()
    }
}

impl Engine for Recompute {
    type Sequence = Vec<u32>;
    type Stored = Vec<u32>;
    type Error = std::convert::Infallible;

    fn context_length(&self) -> usize {
        self.decoder.config().context
    }

    fn vocabulary(&self) -> usize {
        self.decoder.config().vocabulary
    }

    fn start(&self) -> Vec<u32> {
        Vec::new()
    }

    fn len(&self, sequence: &Vec<u32>) -> usize {
        sequence.len()
    }

    fn extend(
        &self,
        sequence: &mut Vec<u32>,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, Self::Error> {
        sequence.extend(ids);
        Ok(match wanted {
            Logits::None => Vec::new(),
            Logits::Last => self.last(sequence, 1),
            Logits::All => self.last(sequence, ids.len()),
        })
    }

    fn step(&self, sequences: &mut [&mut Vec<u32>], ids: &[u32]) -> Result<Vec<f32>, Self::Error> {
        let mut rows = Vec::new();
        for (sequence, &id) in sequences.iter_mut().zip(ids) {
            sequence.push(id);
            rows.extend(self.last(sequence, 1));
        }
        Ok(rows)
    }

    fn set_aside(&self, sequence: &Vec<u32>) -> Vec<u32> {
        sequence.clone()
    }

    fn restore(&self, stored: &Vec<u32>) -> Vec<u32> {
        stored.clone()
    }

    fn prefix(&self, sequence: &Vec<u32>, blocks: usize) -> Vec<u32> {
        sequence[..blocks * BLOCK].to_vec()
    }

    fn bytes(&self, tokens: usize) -> u64 {
        4 * tokens as u64
    }

    fn stored_bytes(&self, tokens: usize) -> u64 {
        4 * tokens as u64
    }
}
