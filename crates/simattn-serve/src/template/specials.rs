//! Special tokens in a rendered text.

use std::collections::HashMap;

use simattn_data::{SpecialToken, Tokenizer};

use super::TemplateError;
use super::mark::Mark;

/// The special tokens of a tokenizer, to be found by name.
#[derive(Clone, Debug, Default)]
pub struct Specials {
    /// By their first characters; longer names first.
    tokens: HashMap<char, Vec<SpecialToken>>,
}

impl Specials {
    /// Those of a tokenizer.
    pub fn of(tokenizer: &Tokenizer) -> Self {
        let mut tokens: HashMap<char, Vec<SpecialToken>> = HashMap::new();
        for token in tokenizer.special_tokens() {
            if let Some(first) = token.name.chars().next() {
                tokens.entry(first).or_default().push(token);
            }
        }
        for list in tokens.values_mut() {
            list.sort_by_key(|token| std::cmp::Reverse(token.name.len()));
        }
        Self { tokens }
    }

    fn at(&self, text: &str) -> Option<&SpecialToken> {
        let list = self.tokens.get(&text.chars().next()?)?;
        list.iter().find(|token| text.starts_with(&token.name))
    }

    /// Whether a text begins with a name, or is the beginning of one.
    pub(super) fn may_begin(&self, text: &str) -> bool {
        let first = text.chars().next();
        let list = first.and_then(|first| self.tokens.get(&first));
        let begins =
            |token: &SpecialToken| text.starts_with(&token.name) || token.name.starts_with(text);
        list.is_some_and(|list| list.iter().any(begins))
    }

    /// The ids of a text whose special names stand for their tokens, unless the mark breaks them.
    pub(super) fn encode(
        &self,
        text: &str,
        mark: &Mark,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, TemplateError> {
        let mut ids = Vec::new();
        let (mut begun, mut at) = (0, 0);
        let mut before: Option<&SpecialToken> = None;
        let plain = |part: &str, before: Option<&SpecialToken>, after: Option<&SpecialToken>| {
            let mut part = part;
            if before.is_some_and(|token| token.strips_right) {
                part = part.trim_start();
            }
            if after.is_some_and(|token| token.strips_left) {
                part = part.trim_end();
            }
            let part = mark.remove(part);
            match before {
                _ if part.is_empty() => Ok(Vec::new()),
                None => tokenizer.encode(&part),
                Some(_) => tokenizer.encode_after_special(&part),
            }
        };
        while let Some(c) = text[at..].chars().next() {
            let Some(token) = self.at(&text[at..]) else {
                at += c.len_utf8();
                continue;
            };
            ids.extend(plain(&text[begun..at], before, Some(token))?);
            ids.push(token.id);
            at += token.name.len();
            (begun, before) = (at, Some(token));
        }
        ids.extend(plain(&text[begun..], before, None)?);
        Ok(ids)
    }
}
