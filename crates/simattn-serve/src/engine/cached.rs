//! A decoder with caches, on the CPU.

use simattn::decoding::{DecodeError, PAGE, Running, Sequence, Stored};

use super::{BLOCK, Engine, Logits};

// What is shared between sequences is whole pages.
const _: () = assert!(BLOCK == PAGE);

/// A decoder prepared for decoding; see [`simattn::decoding`].
#[derive(Debug)]
pub struct Cached {
    model: Running,
}

impl Cached {
    /// Runs a prepared decoder.
    pub fn new(model: Running) -> Self {
        Self { model }
    }
}

impl Engine for Cached {
    type Sequence = Sequence;
    type Stored = Stored;
    type Error = DecodeError;

    fn context_length(&self) -> usize {
        self.model.config().context
    }

    fn vocabulary(&self) -> usize {
        self.model.config().vocabulary
    }

    fn start(&self) -> Sequence {
        self.model.start()
    }

    fn len(&self, sequence: &Sequence) -> usize {
        sequence.len()
    }

    fn extend(
        &self,
        sequence: &mut Sequence,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, DecodeError> {
        self.model.extend(sequence, ids, wanted.into())
    }

    fn step(&self, sequences: &mut [&mut Sequence], ids: &[u32]) -> Result<Vec<f32>, DecodeError> {
        self.model.step(sequences, ids)
    }

    fn set_aside(&self, sequence: &Sequence) -> Stored {
        self.model.set_aside(sequence)
    }

    fn restore(&self, stored: &Stored) -> Sequence {
        self.model.restore(stored)
    }

    fn prefix(&self, sequence: &Sequence, blocks: usize) -> Stored {
        self.model.set_aside(&sequence.prefix(blocks))
    }

    fn bytes(&self, tokens: usize) -> u64 {
        (tokens.div_ceil(PAGE) * self.model.page_bytes()) as u64
    }

    fn stored_bytes(&self, tokens: usize) -> u64 {
        (tokens.div_ceil(PAGE) * self.model.stored_page_bytes()) as u64
    }
}
