//! Log-probabilities in the shapes of both endpoints.

use serde_json::{Map, Value, json};

use crate::sampling::{Logprobs, TokenLogprob};
use crate::text::Vocabulary;

/// A token, where its text begins and what is known of it.
pub(super) struct Place<'a> {
    pub(super) id: u32,
    pub(super) offset: usize,
    pub(super) logprobs: Option<&'a Logprobs>,
}

/// Completions: four lists. A first token of a prompt has no probability.
pub(super) fn of_completion(places: &[Place<'_>], vocabulary: &Vocabulary) -> Value {
    let tokens: Vec<String> = places
        .iter()
        .map(|place| vocabulary.shown(place.id))
        .collect();
    let chosen = places
        .iter()
        .map(|place| place.logprobs.map(|known| known.chosen.logprob));
    let top = places
        .iter()
        .map(|place| place.logprobs.map(|known| by_text(known, vocabulary)));
    let offsets: Vec<usize> = places.iter().map(|place| place.offset).collect();
    json!({
        "tokens": tokens,
        "token_logprobs": chosen.collect::<Vec<_>>(),
        "top_logprobs": top.collect::<Vec<_>>(),
        "text_offset": offsets,
    })
}

/// The likeliest tokens and the chosen one by their texts. Of tokens with the same text the
/// likelier one counts.
fn by_text(known: &Logprobs, vocabulary: &Vocabulary) -> Value {
    let mut texts: Map<String, Value> = Map::new();
    let mut put = |token: &TokenLogprob| {
        let text = vocabulary.shown(token.id);
        let larger = |other: &Value| other.as_f64() >= Some(f64::from(token.logprob));
        if !texts.get(&text).is_some_and(larger) {
            texts.insert(text, token.logprob.into());
        }
    };
    known.top.iter().for_each(&mut put);
    put(&known.chosen);
    Value::Object(texts)
}

/// Chats: an entry a token. What ends an answer is none of its content.
pub(super) fn of_chat(places: &[Place<'_>], vocabulary: &Vocabulary) -> Value {
    let entry = |token: &TokenLogprob| {
        let bytes = vocabulary.shown_bytes(token.id);
        json!({
            "token": String::from_utf8_lossy(bytes),
            "logprob": token.logprob,
            "bytes": bytes,
        })
    };
    let entries = places.iter().filter_map(|place| {
        let known = place.logprobs?;
        let mut own = entry(&known.chosen);
        own["top_logprobs"] = known.top.iter().map(entry).collect();
        Some(own)
    });
    json!({ "content": entries.collect::<Vec<_>>(), "refusal": null })
}
