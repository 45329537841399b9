//! What single tokens stand for: the bytes that each adds to a text, and the special ones by name.

use super::Tokenizer;
use super::foreign::{Foreign, contained};
use crate::byte_level::{END_OF_TEXT, byte_characters};
use serde_json::Value;
use std::collections::HashMap;

/// A token that stands for no text, as chat templates spell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialToken {
    /// Its id.
    pub id: u32,
    /// Its name.
    pub name: String,
    /// Whether white space in front of it goes with it.
    pub strips_left: bool,
    /// Whether white space after it goes with it.
    pub strips_right: bool,
}

/// How the tokens of a vocabulary become bytes.
pub(super) enum Spelling {
    /// Visible characters for bytes.
    ByteLevel(HashMap<char, u8>),
    /// Text with "▁" for spaces, and `<0x0A>` for bytes if the decoder knows these.
    Pieces { bytes: bool },
    /// As the decoder says; every token after this one, which is an ordinary word.
    Decoded(Option<u32>),
}

impl Spelling {
    /// As a tokenizer.json says.
    pub(super) fn of(tokenizer_json: &Value, model: &tokenizers::Tokenizer) -> Self {
        let decoder = &tokenizer_json["decoder"];
        let steps = match decoder["decoders"].as_array() {
            Some(steps) => steps.iter().collect(),
            None => vec![decoder],
        };
        let has = |kind: &str| steps.iter().any(|step| step["type"] == kind);
        if has("ByteLevel") {
            let characters = byte_characters().into_iter().zip(0..=u8::MAX);
            Self::ByteLevel(characters.collect())
        } else if has("Metaspace") || has("ByteFallback") {
            Self::Pieces {
                bytes: has("ByteFallback"),
            }
        } else {
            let word = |id: &u32| {
                let name = model.id_to_token(*id).unwrap_or_default();
                !name.is_empty() && name.chars().all(|c| c.is_ascii_lowercase())
            };
            let size = model.get_vocab_size(true) as u32;
            Self::Decoded((0..size).find(word))
        }
    }
}

impl Foreign {
    /// The bytes that a token adds to a text before it; `None` where the id has no token.
    fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        let name = self.model.id_to_token(id)?;
        if self.is_special(id) {
            return Some(Vec::new());
        }
        Some(match &self.spelling {
            Spelling::ByteLevel(bytes) => {
                let spelled: Option<Vec<u8>> =
                    name.chars().map(|c| bytes.get(&c).copied()).collect();
                // An added token is spelled as it is.
                spelled.unwrap_or_else(|| name.into_bytes())
            }
            Spelling::Pieces { bytes } => match byte_piece(&name).filter(|_| *bytes) {
                Some(byte) => vec![byte],
                None => name.replace('\u{2581}', " ").into_bytes(),
            },
            Spelling::Decoded(before) => {
                let text = |ids: &[u32]| contained(|| self.model.decode(ids, true)).ok();
                let before: Vec<u32> = before.iter().copied().collect();
                let shorter = if before.is_empty() {
                    Some(String::new())
                } else {
                    text(&before)
                };
                let longer = text(&[&before[..], &[id]].concat()).unwrap_or_default();
                let added = longer.strip_prefix(shorter?.as_str());
                added.unwrap_or_default().as_bytes().to_vec()
            }
        })
    }

    fn special_tokens(&self) -> Vec<SpecialToken> {
        let added = self.model.get_added_vocabulary().get_added_tokens_decoder();
        let listed = added.iter().filter(|(_, token)| token.special);
        let listed = listed.map(|(&id, token)| SpecialToken {
            id,
            name: token.content.clone(),
            strips_left: token.lstrip,
            strips_right: token.rstrip,
        });
        let unlisted = self.hidden_names().map(|(name, id)| SpecialToken {
            id,
            name: name.to_owned(),
            strips_left: false,
            strips_right: false,
        });
        listed.chain(unlisted).collect()
    }
}

impl Tokenizer {
    /// The bytes that a token adds to a text that it does not begin: none for a special token,
    /// `None` for an id without token. The bytes of all tokens of a text, one after the other, are
    /// the text.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        match &self.model {
            Some(model) => model.token_bytes(id),
            None => match u8::try_from(id) {
                Ok(byte) => Some(vec![byte]),
                Err(_) => self.has_token(id).then(Vec::new),
            },
        }
    }

    /// The special tokens by id. None of them is ever read from text; whoever wants one, as a chat
    /// template does, has to put its id there. (Those of one character are ordinary text and not
    /// among these.)
    pub fn special_tokens(&self) -> Vec<SpecialToken> {
        let mut tokens = match &self.model {
            Some(model) => model.special_tokens(),
            None => vec![SpecialToken {
                id: self.end_of_text,
                name: END_OF_TEXT.to_owned(),
                strips_left: false,
                strips_right: false,
            }],
        };
        tokens.retain(|token| token.name.chars().nth(1).is_some());
        tokens.sort_by_key(|token| token.id);
        tokens
    }
}

/// The byte of a piece like `<0x0A>`.
fn byte_piece(name: &str) -> Option<u8> {
    let digits = name.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}
