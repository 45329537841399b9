//! Where windows of tokens are cut from: text encoded in memory, or shards on disk.

use crate::error::DataError;
use crate::tokenset::TokenSet;
use sha2::{Digest, Sha256};
use std::fmt::Debug;

/// A sequence of token ids that may be longer than memory.
///
/// Its length is 64-bit; ids are below 2³¹, which the maker of a source ensures.
pub trait TokenSource: Debug + Send + Sync {
    /// How many ids there are.
    fn tokens(&self) -> u64;

    /// Fills `ids` with those from `start` on.
    ///
    /// # Errors
    ///
    /// [`DataError::RangeOutside`] where the range is not within the tokens; whatever the system
    /// says when a file cannot be read any more.
    fn read(&self, start: u64, ids: &mut [u32]) -> Result<(), DataError>;

    /// Bytes of text behind the ids, end-of-text tokens not counted.
    fn bytes(&self) -> u64;

    /// Documents.
    fn documents(&self) -> u64;

    /// A SHA-256 that tells these ids from others.
    ///
    /// # Errors
    ///
    /// As [`TokenSource::read`].
    fn digest(&self) -> Result<[u8; 32], DataError>;

    /// Bits per byte of a model whose mean loss on these tokens is `nats` per token:
    /// `nats · tokens / bytes / ln 2`.
    ///
    /// # Errors
    ///
    /// [`DataError::NoText`] when no byte was encoded.
    fn bits_per_byte(&self, nats: f64) -> Result<f64, DataError> {
        if self.bytes() == 0 {
            return Err(DataError::NoText);
        }
        Ok(nats * self.tokens() as f64 / self.bytes() as f64 / std::f64::consts::LN_2)
    }
}

/// Refuses a range that is not within `tokens`.
pub(crate) fn check_range(tokens: u64, start: u64, count: usize) -> Result<(), DataError> {
    match start.checked_add(count as u64) {
        Some(end) if end <= tokens => Ok(()),
        _ => Err(DataError::RangeOutside {
            start,
            count,
            tokens,
        }),
    }
}

impl TokenSource for TokenSet {
    fn tokens(&self) -> u64 {
        self.ids.len() as u64
    }

    fn read(&self, start: u64, ids: &mut [u32]) -> Result<(), DataError> {
        check_range(self.tokens(), start, ids.len())?;
        let start = start as usize;
        ids.copy_from_slice(&self.ids[start..start + ids.len()]);
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn documents(&self) -> u64 {
        self.documents
    }

    fn digest(&self) -> Result<[u8; 32], DataError> {
        let mut hasher = Sha256::new();
        for piece in self.ids.chunks(1 << 14) {
            let bytes: Vec<u8> = piece.iter().flat_map(|id| id.to_le_bytes()).collect();
            hasher.update(bytes);
        }
        Ok(hasher.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_outside_are_refused() {
        let set = TokenSet {
            ids: vec![5, 6, 7],
            bytes: 3,
            documents: 1,
        };
        let mut two = [0; 2];
        set.read(1, &mut two).unwrap();
        assert_eq!(two, [6, 7]);
        for start in [2, 3, u64::MAX] {
            assert!(matches!(
                set.read(start, &mut two),
                Err(DataError::RangeOutside { tokens: 3, .. })
            ));
        }
        set.read(3, &mut []).unwrap();
    }
}
