//! Byte-level BPE learnt from text.

use super::Tokenizer;
use crate::bpe;
use crate::byte_level::{LEAST_VOCABULARY, tokenizer_json};
use crate::contain::one_line;
use crate::documents::Document;
use crate::error::DataError;
use crate::hash::stable_hash;
use rayon::prelude::*;
use std::collections::HashMap;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// The text from which BPE is learnt at most: more does not change the frequent pairs, and takes
/// minutes.
pub const BPE_TRAINING_BYTES: u64 = 64 << 20;

impl Tokenizer {
    /// Byte-level BPE learnt from documents, with the pre-tokenization of GPT-2 and no prefix
    /// space.
    ///
    /// Ids 0–255 are the bytes, 256 is `<|endoftext|>`, then the merges in the order they were
    /// learnt. The same documents give the same tokenizer on every machine with any number of
    /// threads. Beyond [`BPE_TRAINING_BYTES`] of text, it is learnt from a sample: documents in the
    /// order of a hash of their text until there are so many bytes, the last one cut.
    ///
    /// # Errors
    ///
    /// [`DataError::VocabularyTooSmall`] below 257, [`DataError::VocabularyUnreachable`] when the
    /// text runs out of pairs that occur twice.
    pub fn train_bpe(documents: &[Document], vocabulary: usize) -> Result<Self, DataError> {
        if vocabulary < LEAST_VOCABULARY {
            return Err(DataError::VocabularyTooSmall {
                asked: vocabulary,
                least: LEAST_VOCABULARY,
            });
        }
        if vocabulary == LEAST_VOCABULARY {
            return Ok(Self::bytes());
        }
        let words = count_words(&sample(documents, BPE_TRAINING_BYTES))?;
        let merges = bpe::learn(&words, vocabulary);
        if merges.vocabulary() < vocabulary {
            return Err(DataError::VocabularyUnreachable {
                asked: vocabulary,
                reached: merges.vocabulary(),
            });
        }
        let json = tokenizer_json(&merges.spelled()).to_string();
        Self::from_json(json.as_bytes(), "the tokenizer learnt from the text")
    }
}

/// At most `cap` bytes of the documents, whole documents in the order of a hash of their text
/// except the last.
pub(super) fn sample(documents: &[Document], cap: u64) -> Vec<&str> {
    let texts = || documents.iter().map(|document| document.text.as_str());
    if texts().map(|text| text.len() as u64).sum::<u64>() <= cap {
        return texts().collect();
    }
    let mut ordered: Vec<&str> = texts().collect();
    ordered.sort_by_cached_key(|text| stable_hash(text.as_bytes()));
    let mut left = usize::try_from(cap).unwrap_or(usize::MAX);
    ordered
        .into_iter()
        .filter(|text| !text.is_empty())
        .map_while(|text| {
            let taken = &text[..text.floor_char_boundary(left)];
            left -= taken.len();
            (!taken.is_empty()).then_some(taken)
        })
        .collect()
}

/// How often each pre-token occurs, as bytes, sorted.
fn count_words(texts: &[&str]) -> Result<Vec<(Vec<u8>, u64)>, DataError> {
    // The pre-tokenization that `tokenizer_json` writes, so that training and encoding cut alike.
    let cut = tokenizers::pre_tokenizers::byte_level::ByteLevel::new(false, true, true);
    let characters = crate::byte_level::byte_characters();
    let byte_of: HashMap<char, u8> = characters.into_iter().zip(0..=u8::MAX).collect();
    let counts = texts
        .par_iter()
        .map(|text| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let mut pieces = PreTokenizedString::from(*text);
            cut.pre_tokenize(&mut pieces)
                .map_err(|error| DataError::Tokenizer {
                    problem: one_line(&error.to_string()),
                })?;
            for (piece, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                match counts.get_mut(piece) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(piece.to_owned(), 1);
                    }
                }
            }
            Ok::<_, DataError>(counts)
        })
        .try_reduce(HashMap::new, |mut larger, mut smaller| {
            if larger.len() < smaller.len() {
                std::mem::swap(&mut larger, &mut smaller);
            }
            for (word, count) in smaller {
                *larger.entry(word).or_default() += count;
            }
            Ok(larger)
        })?;
    let mut words: Vec<(Vec<u8>, u64)> = counts
        .into_iter()
        .map(|(word, count)| (word.chars().map(|c| byte_of[&c]).collect(), count))
        .collect();
    words.sort_unstable();
    Ok(words)
}
