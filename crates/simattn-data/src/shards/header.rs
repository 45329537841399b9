//! The first bytes of a shard.

use super::error::ShardError;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::Path;

/// Bytes of a shard's header.
pub const HEADER_BYTES: usize = 128;

pub(super) const MAGIC: [u8; 8] = *b"SIMATTN\x1a";
const VERSION: u32 = 1;
/// Where the header's own checksum is; everything before it is summed.
const SUM: usize = 96;

/// How an id is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Width {
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
}

impl Width {
    /// The narrowest that holds every id below `vocabulary`.
    pub fn for_vocabulary(vocabulary: usize) -> Self {
        if vocabulary <= 1 << 16 {
            Self::U16
        } else {
            Self::U32
        }
    }

    /// Bytes an id takes.
    pub fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }

    /// Appends ids as they are stored; every id must fit.
    pub(super) fn encode(self, ids: &[u32], bytes: &mut Vec<u8>) {
        match self {
            Self::U16 => bytes.extend(ids.iter().flat_map(|&id| (id as u16).to_le_bytes())),
            Self::U32 => bytes.extend(ids.iter().flat_map(|id| id.to_le_bytes())),
        }
    }

    /// Reads as many ids as `ids` takes; `bytes` holds just those.
    pub(super) fn decode(self, bytes: &[u8], ids: &mut [u32]) {
        match self {
            Self::U16 => {
                for (id, pair) in ids.iter_mut().zip(bytes.as_chunks().0) {
                    *id = u16::from_le_bytes(*pair).into();
                }
            }
            Self::U32 => {
                for (id, four) in ids.iter_mut().zip(bytes.as_chunks().0) {
                    *id = u32::from_le_bytes(*four);
                }
            }
        }
    }
}

/// What a shard says of itself. All numbers are little-endian.
///
/// | bytes | what |
/// |---|---|
/// | 0–7 | magic: `SIMATTN` and 0x1a |
/// | 8–11 | version, 1 |
/// | 12–15 | bytes an id takes, 2 or 4 |
/// | 16–23 | tokens |
/// | 24–31 | documents |
/// | 32–39 | bytes of text |
/// | 40–43 | vocabulary: every id is below it |
/// | 44–47 | the end-of-text id |
/// | 48–63 | the tokenizer's fingerprint, 16 hexadecimal digits |
/// | 64–95 | SHA-256 of the ids as stored |
/// | 96–127 | SHA-256 of bytes 0–95 |
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// How ids are stored.
    pub width: Width,
    /// How many there are.
    pub tokens: u64,
    /// Documents, each closed by the end of text.
    pub documents: u64,
    /// Bytes of text behind the ids, end-of-text tokens not counted.
    pub bytes: u64,
    /// Every id is below it.
    pub vocabulary: u32,
    /// The id that closes a document.
    pub end_of_text: u32,
    /// [`Tokenizer::fingerprint`](crate::Tokenizer::fingerprint) of the tokenizer that made the
    /// ids.
    pub tokenizer: String,
    /// SHA-256 of the ids as stored.
    pub sha256: [u8; 32],
}

impl Header {
    /// The header as it is stored.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, &MAGIC);
        put(8, &VERSION.to_le_bytes());
        put(12, &(self.width.bytes() as u32).to_le_bytes());
        put(16, &self.tokens.to_le_bytes());
        put(24, &self.documents.to_le_bytes());
        put(32, &self.bytes.to_le_bytes());
        put(40, &self.vocabulary.to_le_bytes());
        put(44, &self.end_of_text.to_le_bytes());
        let digits = self.tokenizer.as_bytes();
        put(48, &digits[..digits.len().min(16)]);
        put(64, &self.sha256);
        let sum: [u8; 32] = Sha256::digest(&bytes[..SUM]).into();
        bytes[SUM..].copy_from_slice(&sum);
        bytes
    }

    /// Reads a header whose magic is ours.
    pub(super) fn from_bytes(bytes: &[u8; HEADER_BYTES], path: &Path) -> Result<Self, ShardError> {
        let damaged = |problem: String| ShardError::Header {
            path: path.to_owned(),
            problem,
        };
        let four = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let eight = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if Sha256::digest(&bytes[..SUM]).as_slice() != &bytes[SUM..] {
            return Err(damaged("it does not match its own checksum".to_owned()));
        }
        // Only now: a version that a flipped bit made up would send people the wrong way.
        if four(8) != VERSION {
            return Err(ShardError::Version {
                path: path.to_owned(),
                found: four(8).into(),
                expected: VERSION,
            });
        }
        let width = match four(12) {
            2 => Width::U16,
            4 => Width::U32,
            other => return Err(damaged(format!("ids of {other} bytes"))),
        };
        let tokenizer = std::str::from_utf8(&bytes[48..64])
            .map_err(|_| damaged("the tokenizer's fingerprint is no text".to_owned()))?;
        Ok(Self {
            width,
            tokens: eight(16),
            documents: eight(24),
            bytes: eight(32),
            vocabulary: four(40),
            end_of_text: four(44),
            tokenizer: tokenizer.trim_end_matches('\0').to_owned(),
            sha256: std::array::from_fn(|i| bytes[64 + i]),
        })
    }
}

/// 64 hexadecimal digits.
pub(crate) fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
