//! The one place where the `tokenizers` crate works on files and texts from outside.
//!
//! It trusts what a tokenizer.json says, and panics where that is not so. [`check`](super::check)
//! refuses what is known to lead there, [`contained`] turns the rest into errors.

use super::check;
use super::control::{self, HiddenTokens};
use super::token_text::Spelling;
use crate::contain::one_line;
use crate::error::DataError;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::OnceLock;
use tokenizers::{NormalizedString, Normalizer};

/// A tokenizer of that crate.
pub(super) struct Foreign {
    pub(super) model: tokenizers::Tokenizer,
    /// The same for a text that continues another, made when it is first asked for.
    rest: OnceLock<Result<tokenizers::Tokenizer, String>>,
    /// Its normalizer, where that is another one.
    rest_normalizer: Option<Value>,
    /// The same for a text after a special token, and its pre-tokenizer where that is another one.
    after_special: OnceLock<Result<tokenizers::Tokenizer, String>>,
    inner_pre_tokenizer: Option<Value>,
    /// The vocabulary has them under other names.
    hidden: HiddenTokens,
    /// What its tokens stand for.
    pub(super) spelling: Spelling,
}

impl Foreign {
    /// Reads a tokenizer.json; `value` is its contents.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn read(json: &[u8], value: &Value) -> Result<Self, String> {
        check::refuse(value)?;
        let model = contained(|| {
            let mut model = tokenizers::Tokenizer::from_bytes(json)?;
            model
                .with_truncation(None)?
                .with_padding(None)
                .set_encode_special_tokens(true);
            // Only the text's own tokens are asked for.
            model.with_post_processor(None::<tokenizers::PostProcessorWrapper>);
            control::without_dropout(&mut model);
            Ok(model)
        })?;
        let spelling = contained(|| Ok(Spelling::of(value, &model)))?;
        Ok(Self {
            model,
            spelling,
            rest: OnceLock::new(),
            rest_normalizer: control::without_prefix(&value["normalizer"]),
            after_special: OnceLock::new(),
            inner_pre_tokenizer: control::without_first_space(&value["pre_tokenizer"]),
            hidden: HiddenTokens::default(),
        })
    }

    /// Sees to it that no text has the special tokens' ids, nor `ends`.
    pub(super) fn keep_from_text(&mut self, value: &Value, ends: &[u32]) -> Result<(), String> {
        self.hidden = contained(|| control::keep_from_text(&mut self.model, value, ends))?;
        Ok(())
    }

    pub(super) fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        self.encode_with(&self.model, text)
    }

    pub(super) fn encode_rest(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let Some(normalizer) = &self.rest_normalizer else {
            return self.encode(text);
        };
        let rest = self.rest.get_or_init(|| {
            contained(|| {
                let mut rest = self.model.clone();
                let normalizer: Option<tokenizers::NormalizerWrapper> =
                    serde_json::from_str(&normalizer.to_string())?;
                rest.with_normalizer(normalizer)?;
                Ok(rest)
            })
        });
        match rest {
            Ok(rest) => self.encode_with(rest, text),
            Err(problem) => Err(failure(problem.clone())),
        }
    }

    /// The ids of a text after a special token, which is no beginning: some vocabularies put a
    /// space in front of a text's first word alone.
    pub(super) fn encode_after_special(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let Some(pre_tokenizer) = &self.inner_pre_tokenizer else {
            return self.encode(text);
        };
        let inner = self.after_special.get_or_init(|| {
            contained(|| {
                let mut inner = self.model.clone();
                let pre_tokenizer: tokenizers::PreTokenizerWrapper =
                    serde_json::from_str(&pre_tokenizer.to_string())?;
                inner.with_pre_tokenizer(Some(pre_tokenizer));
                Ok(inner)
            })
        });
        match inner {
            Ok(inner) => self.encode_with(inner, text),
            Err(problem) => Err(failure(problem.clone())),
        }
    }

    fn encode_with(
        &self,
        model: &tokenizers::Tokenizer,
        text: &str,
    ) -> Result<Vec<u32>, DataError> {
        let ids = contained(|| Ok(model.encode_fast(text, false)?.get_ids().to_vec()));
        let ids = ids.map_err(failure)?;
        let hidden = &self.hidden.ids;
        if !hidden.is_empty() && ids.iter().any(|id| hidden.contains(id)) {
            let problem = "the text spells the name under which a special token is kept from it";
            return Err(failure(problem.to_owned()));
        }
        Ok(ids)
    }

    /// The text of ids that all have a token.
    pub(super) fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        let model = &self.model;
        let text = |id: &u32| !self.is_special(*id);
        let ids: Vec<u32> = ids.iter().copied().filter(text).collect();
        // Some decoders count on a token.
        if ids.is_empty() {
            return Ok(String::new());
        }
        contained(|| model.decode(&ids, true)).map_err(failure)
    }

    /// Whether a token stands for no text.
    pub(super) fn is_special(&self, id: u32) -> bool {
        let added = self.model.get_added_vocabulary().get_added_tokens_decoder();
        self.hidden.ids.contains(&id) || added.get(&id).is_some_and(|token| token.special)
    }

    /// Special tokens that the added ones do not list.
    pub(super) fn hidden_names(&self) -> impl Iterator<Item = (&str, u32)> {
        let names = self.hidden.names.iter();
        names.map(|(name, id)| (name.as_str(), *id))
    }

    pub(super) fn has_token(&self, id: u32) -> bool {
        self.model.id_to_token(id).is_some()
    }

    pub(super) fn token_id(&self, token: &str) -> Option<u32> {
        let hidden = self.hidden.names.get(token).copied();
        hidden.or_else(|| self.model.token_to_id(token))
    }

    /// The id of an added token.
    pub(super) fn added_id(&self, token: &str) -> Option<u32> {
        self.model
            .get_added_vocabulary()
            .get_vocab()
            .get(token)
            .copied()
    }

    pub(super) fn largest_id(&self) -> u32 {
        self.model.get_vocab(true).into_values().max().unwrap_or(0)
    }

    pub(super) fn keeps_letters(&self) -> bool {
        let Some(normalizer) = self.model.get_normalizer() else {
            return true;
        };
        let letters = (b'A'..=b'Z').chain(b'a'..=b'z').map(char::from);
        let text = letters.fold("x".to_owned(), |text, letter| format!("{text} {letter}"));
        let normal = contained(|| {
            let mut normal = NormalizedString::from(text.as_str());
            normalizer.normalize(&mut normal)?;
            Ok(normal.get().replace('\u{2581}', " "))
        });
        // A prefix may stand before it.
        normal.is_ok_and(|normal| normal.to_lowercase().ends_with(&text.to_lowercase()))
    }

    pub(super) fn letters_apart_from(&self, right: char) -> Vec<u8> {
        let vocabulary = self.model.get_vocab(true);
        let alone = |c: char| vocabulary.contains_key(c.encode_utf8(&mut [0; 4]));
        if !alone(right) {
            return Vec::new();
        }
        let mut joined = HashSet::new();
        for token in vocabulary.keys() {
            let pairs = token.chars().zip(token.chars().skip(1));
            joined.extend(pairs.filter(|&(_, c)| c == right).map(|(c, _)| c));
        }
        (b'A'..=b'Z')
            .chain(b'a'..=b'z')
            .filter(|&letter| {
                let letter = char::from(letter);
                alone(letter) && !joined.contains(&letter)
            })
            .collect()
    }
}

/// Does what may panic, and says in one line what went wrong. Nothing is printed.
///
/// What `work` changed before it panicked must not be used after.
pub(super) fn contained<T>(work: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, String> {
    crate::contain::contained("tokenizers", work)?.map_err(|error| one_line(&error.to_string()))
}

fn failure(problem: String) -> DataError {
    DataError::Tokenizer { problem }
}
