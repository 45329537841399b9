//! Text to token ids and back.

mod check;
mod control;
mod foreign;
#[cfg(test)]
pub(crate) mod foreign_tests;
mod learn;
mod load;
mod merge;
mod probe;
#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
mod token_text;

use crate::byte_level::{END_OF_TEXT, END_OF_TEXT_ID, LEAST_VOCABULARY, tokenizer_json};
use crate::documents::Document;
use crate::error::DataError;
use crate::hash::stable_hash;
use crate::tokenset::TokenSet;
use foreign::Foreign;
pub use learn::BPE_TRAINING_BYTES;
use rayon::prelude::*;
use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
pub use token_text::SpecialToken;

/// Text to token ids and back.
///
/// No special token is ever read from text or added to it: a text that spells `<|endoftext|>`
/// becomes the ordinary tokens of those characters, whatever the kind of the tokenizer. Only
/// [`Tokenizer::encode_documents`] puts the end of text, after each document. (Added tokens that a
/// tokenizer.json does not mark as special, such as the runs of spaces of GPT-NeoX, are part of its
/// vocabulary and are used; so is a special token of one character, and the one for what is
/// unknown.)
#[derive(Clone)]
pub struct Tokenizer {
    /// `None` for the byte tokenizer, whose ids need no look-up.
    model: Option<Arc<Foreign>>,
    json: String,
    vocabulary: usize,
    end_of_text: u32,
    /// Whether the tokenizer.json itself says so.
    names_end: bool,
}

impl Tokenizer {
    /// One token a byte, and the end of text: byte `b` has id `b`, the end of text 256; a
    /// vocabulary of 257.
    pub fn bytes() -> Self {
        Self {
            model: None,
            json: tokenizer_json(&[]).to_string(),
            vocabulary: LEAST_VOCABULARY,
            end_of_text: END_OF_TEXT_ID,
            names_end: true,
        }
    }

    /// The ids of a text, without end of text.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`] when a tokenizer from a file fails on the text; the byte and BPE
    /// tokenizers never do.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.model {
            Some(model) => model.encode(text),
            None => Ok(text.bytes().map(u32::from).collect()),
        }
    }

    /// The ids of a text that continues another, so that nothing is put in front of it.
    pub(crate) fn encode_rest(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.model {
            Some(model) => model.encode_rest(text),
            None => self.encode(text),
        }
    }

    /// The ids of a text that stands after a special token ([`Tokenizer::special_tokens`]): as
    /// [`Tokenizer::encode`], but that the space which some vocabularies put in front of a text's
    /// first word is not put in front of this one.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_after_special(&self, text: &str) -> Result<Vec<u32>, DataError> {
        match &self.model {
            Some(model) => model.encode_after_special(text),
            None => self.encode(text),
        }
    }

    /// The text of ids. Special tokens stand for no text and are left out.
    ///
    /// Lossless for the ids of a text under byte-level tokenizers; bytes that are not UTF-8, as a
    /// model may generate, or a character cut in two leaves, become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownToken`] for an id that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        if let Some(&id) = ids.iter().find(|&&id| !self.has_token(id)) {
            return Err(DataError::UnknownToken {
                id,
                vocabulary: self.vocabulary,
            });
        }
        match &self.model {
            Some(model) => model.decode(ids),
            None => {
                // The end of text is no byte.
                let bytes = ids.iter().filter_map(|&id| u8::try_from(id).ok());
                Ok(String::from_utf8_lossy(&bytes.collect::<Vec<_>>()).into_owned())
            }
        }
    }

    /// The text that `new` adds to that of `prompt`: both are decoded together, for many tokenizers
    /// drop the space in front of the first token. Ids without a token stand for no text here.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`] when a tokenizer from a file fails on the ids.
    pub fn continuation(&self, prompt: &[u32], new: &[u32]) -> Result<String, DataError> {
        let known = |ids: &[u32]| -> Vec<u32> {
            ids.iter()
                .copied()
                .filter(|&id| self.has_token(id))
                .collect()
        };
        let (prompt, new) = (known(prompt), known(new));
        let before = self.decode(&prompt)?;
        let all = self.decode(&[prompt, new.clone()].concat())?;
        match all.strip_prefix(&before) {
            Some(after) => Ok(after.to_owned()),
            // Bytes that are no UTF-8 take those before them with them.
            None => self.decode(&new),
        }
    }

    /// Whether an id has a token: vocabularies may have gaps, and models more rows than their
    /// tokenizers ids.
    pub fn has_token(&self, id: u32) -> bool {
        match &self.model {
            Some(model) => model.has_token(id),
            None => (id as usize) < LEAST_VOCABULARY,
        }
    }

    /// Encodes documents one after the other, each closed by the end of text.
    ///
    /// Works in the current rayon pool, and so with no more threads than that has; the result does
    /// not depend on them.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_documents(&self, documents: &[Document]) -> Result<TokenSet, DataError> {
        let encoded: Vec<Vec<u32>> = documents
            .par_iter()
            .map(|document| self.encode(&document.text))
            .collect::<Result<_, _>>()?;
        let mut ids = Vec::with_capacity(encoded.iter().map(|part| part.len() + 1).sum());
        for part in encoded {
            ids.extend(part);
            ids.push(self.end_of_text);
        }
        Ok(TokenSet {
            ids,
            bytes: documents
                .iter()
                .map(|document| document.text.len() as u64)
                .sum(),
            documents: documents.len() as u64,
        })
    }

    /// The id of a token as the vocabulary spells it, special ones too; `None` if there is no such
    /// token. The byte tokenizer knows its end of text alone.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        match &self.model {
            Some(model) => model.token_id(token),
            None => (token == END_OF_TEXT).then_some(self.end_of_text),
        }
    }

    /// Whether every byte is a token of its own.
    pub(crate) fn is_bytes(&self) -> bool {
        self.model.is_none()
    }

    /// The ASCII letters that are tokens, as `right` is, and that no token has in front of `right`:
    /// between the two no token of any text reaches over.
    pub(crate) fn letters_apart_from(&self, right: char) -> Vec<u8> {
        match &self.model {
            Some(model) => model.letters_apart_from(right),
            None => Vec::new(),
        }
    }

    /// Whether normalization leaves ASCII letters and the spaces between them in their places, but
    /// for their case.
    pub(crate) fn keeps_letters(&self) -> bool {
        self.model
            .as_ref()
            .is_none_or(|model| model.keeps_letters())
    }

    /// One more than the largest id: the rows that an embedding needs.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The id that closes a document.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// Whether the tokenizer.json itself names the end of text, and not a file beside it.
    pub fn names_end_of_text(&self) -> bool {
        self.names_end
    }

    /// The tokenizer.json that [`Tokenizer::from_json`] reads back, and other Hugging Face software
    /// computes the same ids from; the byte tokenizer is a BPE without merges there.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// Writes [`Tokenizer::to_json`] to a file.
    ///
    /// # Errors
    ///
    /// [`DataError::Unreadable`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        let path = path.as_ref();
        fs::write(path, &self.json).map_err(|error| DataError::Unreadable {
            path: path.to_owned(),
            problem: error.to_string(),
        })
    }

    /// 16 hexadecimal digits that stay the same while the tokenizer.json says the same, whatever
    /// its layout.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", stable_hash(self.json.as_bytes()))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokenizer")
            .field("vocabulary", &self.vocabulary)
            .field("end_of_text", &self.end_of_text)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}
