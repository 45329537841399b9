//! Sequences that begin alike, computed once as far as they do.

use burn::tensor::{Device, Int, Tensor, TensorData};
use simattn_kernels::reference::RopeTable;

use super::Decoder;
use crate::attention::{Pass, Unpacking, rope_table};

/// Sequences that share beginnings, every shared token stored once.
///
/// Everything in a decoder but attention treats tokens one by one; it runs over the stored tokens.
/// Attention alone sees whole sequences, filled up on the right to the longest, where a causal
/// model does not look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// The stored tokens.
    ids: Vec<i32>,
    /// The position of each of them in its sequences.
    positions: Vec<i32>,
    /// A sequence that each of them was stored for.
    owners: Vec<usize>,
    /// The stored tokens of each sequence.
    sequences: Vec<Vec<i32>>,
}

impl Packed {
    /// No sequence yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a sequence; what it has in common with the one before it is not stored again.
    pub fn push(&mut self, ids: &[u32]) {
        let shared = self.shared(ids);
        let owner = self.sequences.len();
        let mut sequence: Vec<i32> = match self.sequences.last() {
            Some(before) => before[..shared].to_vec(),
            None => Vec::with_capacity(ids.len()),
        };
        for (position, &id) in ids.iter().enumerate().skip(shared) {
            sequence.push(self.ids.len() as i32);
            self.ids.push(id as i32);
            self.positions.push(position as i32);
            self.owners.push(owner);
        }
        self.sequences.push(sequence);
    }

    /// How many tokens a sequence has in common with the last one, from the first on.
    pub fn shared(&self, ids: &[u32]) -> usize {
        let Some(last) = self.sequences.last() else {
            return 0;
        };
        let same = |pair: &(&i32, &u32)| self.ids[*pair.0 as usize] == *pair.1 as i32;
        last.iter().zip(ids).take_while(same).count()
    }

    /// Stored tokens.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Sequences.
    pub fn sequences(&self) -> usize {
        self.sequences.len()
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.sequences.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// The stored token at a place of a sequence: a row of what [`Decoder::hidden_packed`] gives.
    pub fn row(&self, sequence: usize, place: usize) -> usize {
        self.sequences[sequence][place] as usize
    }

    fn unpacking(&self, device: &Device) -> Unpacking {
        let length = self.longest();
        let mut rows = Vec::with_capacity(self.sequences.len() * length);
        for sequence in &self.sequences {
            rows.extend(sequence);
            rows.resize(rows.len() + length - sequence.len(), 0);
        }
        let places = self.owners.iter().zip(&self.positions);
        let places = places.map(|(owner, position)| (owner * length) as i32 + position);
        Unpacking {
            rows: indices(rows, device),
            places: indices(places.collect(), device),
            sequences: self.sequences.len(),
            length,
            rope: None,
        }
    }
}

fn indices(values: Vec<i32>, device: &Device) -> Tensor<1, Int> {
    let shape = [values.len()];
    Tensor::from_data(TensorData::new(values, shape), device)
}

impl Decoder {
    /// The normalised states before the head of packed sequences: [stored tokens, C]. The same as
    /// those of [`Decoder::hidden`] but for rounding.
    ///
    /// # Panics
    /// Without a token, and as [`Decoder::hidden`].
    pub fn hidden_packed(&self, packed: &Packed) -> Tensor<2> {
        let weight = self.embedding.val();
        let (device, dtype) = (weight.device(), weight.dtype());
        let unpacking = packed.unpacking(&device);
        let positions = indices(packed.positions.clone(), &device);
        let whole = rope_table(&self.config, unpacking.length, 0, &device, dtype);
        let stored = whole.as_ref().map(|table| RopeTable {
            cos: table.cos.clone().select(0, positions.clone()),
            sin: table.sin.clone().select(0, positions.clone()),
        });
        let unpacking = Unpacking {
            rope: whole,
            ..unpacking
        };
        let pass = Pass {
            unpacking: Some(&unpacking),
            ..Pass::new(stored.as_ref(), self.kernels).with_precision(self.precision)
        };
        let ids = indices(packed.ids.clone(), &device).reshape([1, packed.tokens()]);
        let mut x = self.kernels.embedding(weight, ids);
        if let Some(table) = &self.positions {
            x = x + table.val().select(0, positions).unsqueeze::<3>();
        }
        let out = self
            .layers
            .iter()
            .fold(x, |x, block| block.forward(x, &pass));
        let out = self.norm.forward(out, self.kernels);
        let [_, tokens, width] = out.dims();
        out.reshape([tokens, width])
    }
}
