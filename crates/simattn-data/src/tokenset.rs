//! Encoded text, and what it takes to turn nats per token into bits per byte.

use serde::{Deserialize, Serialize};

/// The tokens of a list of documents, each closed by end of text, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenSet {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Bytes of text that were encoded, end-of-text tokens not counted.
    pub bytes: u64,
    /// Documents that were encoded.
    pub documents: u64,
}

impl TokenSet {
    /// Mean bytes of text for a token, end-of-text tokens counted among the tokens; 0 when there
    /// are none.
    pub fn bytes_per_token(&self) -> f64 {
        if self.ids.is_empty() {
            return 0.0;
        }
        self.bytes as f64 / self.ids.len() as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::TokenSource;

    #[test]
    fn a_uniform_byte_model_has_eight_bits_per_byte() {
        let set = TokenSet {
            ids: vec![0; 1000],
            bytes: 1000,
            documents: 1,
        };
        let bits = set.bits_per_byte(256_f64.ln()).unwrap();
        assert!((bits - 8.0).abs() < 1e-12, "{bits}");
        assert_eq!(set.bytes_per_token(), 1.0);
    }

    #[test]
    fn no_text_has_no_bits_per_byte() {
        assert_eq!(TokenSet::default().bytes_per_token(), 0.0);
        assert!(TokenSet::default().bits_per_byte(1.0).is_err());
    }
}
