//! What tokens stand for, looked up once.

use std::collections::HashMap;

use simattn_data::Tokenizer;

/// The bytes of every token, and the names of special ones.
#[derive(Clone, Debug)]
pub struct Vocabulary {
    bytes: Vec<Vec<u8>>,
    special: HashMap<u32, String>,
}

impl Vocabulary {
    /// The vocabulary of a tokenizer.
    pub fn new(tokenizer: &Tokenizer) -> Self {
        let ids = 0..tokenizer.vocabulary() as u32;
        let bytes = ids.map(|id| tokenizer.token_bytes(id).unwrap_or_default());
        let special = tokenizer.special_tokens().into_iter();
        Self {
            bytes: bytes.collect(),
            special: special.map(|token| (token.id, token.name)).collect(),
        }
    }

    /// The bytes that a token adds to a text; none for special tokens and ids without token.
    pub fn bytes(&self, id: u32) -> &[u8] {
        self.bytes.get(id as usize).map_or(&[], Vec::as_slice)
    }

    /// A token as it is shown by itself: its text, the name of a special one, and bytes that are no
    /// text as `bytes:\xe2\x80`, as OpenAI's completions write them.
    pub fn shown(&self, id: u32) -> String {
        if let Some(name) = self.special.get(&id) {
            return name.clone();
        }
        let bytes = self.bytes(id);
        match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                let digits = bytes.iter().map(|byte| format!("\\x{byte:02x}"));
                format!("bytes:{}", digits.collect::<String>())
            }
        }
    }

    /// The bytes of a token as it is shown: those of its name for a special one.
    pub fn shown_bytes(&self, id: u32) -> &[u8] {
        match self.special.get(&id) {
            Some(name) => name.as_bytes(),
            None => self.bytes(id),
        }
    }
}
