//! What the scheduler needs of a model.

mod cached;
mod on_device;
mod recompute;
mod toy;

pub use cached::Cached;
pub use on_device::OnDevice;
pub use recompute::Recompute;
pub use toy::Toy;

use std::fmt::Display;

/// Tokens of a block: what a prompt is computed in, and what prefixes are kept by. Blocks begin at
/// multiples of this, counted from the beginning of a sequence.
pub const BLOCK: usize = 64;

/// Of which tokens the scores of the next one are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// Of none.
    None,
    /// Of the last.
    Last,
    /// Of each.
    All,
}

impl From<Logits> for simattn::decoding::Logits {
    fn from(wanted: Logits) -> Self {
        match wanted {
            Logits::None => Self::None,
            Logits::Last => Self::Last,
            Logits::All => Self::All,
        }
    }
}

/// A model that continues sequences, several at a time.
///
/// Whoever implements it promises that the bits of every result depend on the tokens of its own
/// sequence alone, and on how many of them came through [`Engine::extend`]: not on the sequences
/// beside it, nor on the number of threads, nor on whether its state was set aside and restored,
/// or begun from the [`Engine::prefix`] of another sequence. The scheduler in turn always extends by whole blocks from
/// the beginning on, the last one of a prompt excepted.
pub trait Engine: Send + 'static {
    /// The state of a running sequence.
    type Sequence: Send;
    /// A sequence that waits, in less memory.
    type Stored: Send;
    /// Why a computation failed.
    type Error: Display;

    /// Tokens that a sequence may have.
    fn context_length(&self) -> usize;

    /// Ids that the model has; the length of a row of logits.
    fn vocabulary(&self) -> usize;

    /// A sequence without tokens.
    fn start(&self) -> Self::Sequence;

    /// Tokens of a sequence.
    fn len(&self, sequence: &Self::Sequence) -> usize;

    /// Appends tokens and gives the rows of logits that are wanted, one after the other.
    ///
    /// # Errors
    /// A computation that failed; the sequence is of no use then.
    fn extend(
        &self,
        sequence: &mut Self::Sequence,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, Self::Error>;

    /// Appends one token to each sequence and gives a row of logits for each.
    ///
    /// # Errors
    /// A computation that failed; the sequences are of no use then.
    fn step(
        &self,
        sequences: &mut [&mut Self::Sequence],
        ids: &[u32],
    ) -> Result<Vec<f32>, Self::Error>;

    /// The state of a sequence in the form that waits.
    fn set_aside(&self, sequence: &Self::Sequence) -> Self::Stored;

    /// A sequence that waited.
    fn restore(&self, stored: &Self::Stored) -> Self::Sequence;

    /// The first whole blocks of a sequence, to begin others with.
    fn prefix(&self, sequence: &Self::Sequence, blocks: usize) -> Self::Stored;

    /// Bytes of a running sequence of so many tokens.
    fn bytes(&self, tokens: usize) -> u64;

    /// Bytes of a waiting sequence of so many tokens. A prefix shares those of the blocks before
    /// its last one with the prefix that is one block shorter.
    fn stored_bytes(&self, tokens: usize) -> u64;
}
