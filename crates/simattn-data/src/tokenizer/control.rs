//! What of a tokenizer.json is not to act on text: special tokens that a text spells, dropout, and,
//! in the middle of a document, what is put in front of one.

use super::merge::sides;
use crate::hash::stable_hash;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};
use tokenizers::ModelWrapper;
use tokenizers::models::unigram::Unigram;

/// Switches off dropout, which would give other ids every time.
pub(super) fn without_dropout(model: &mut tokenizers::Tokenizer) {
    if let ModelWrapper::BPE(bpe) = model.get_model()
        && bpe.dropout.is_some()
    {
        let mut bpe = bpe.clone();
        bpe.dropout = None;
        model.with_model(bpe);
    }
}

/// The normalizer without what it puts in front of a text; `None` where it puts nothing.
pub(super) fn without_prefix(normalizer: &Value) -> Option<Value> {
    match normalizer["type"].as_str() {
        Some("Prepend") => Some(Value::Null),
        Some("Sequence") => {
            let steps = normalizer["normalizers"].as_array()?;
            let others: Vec<&Value> = steps
                .iter()
                .filter(|step| step["type"] != "Prepend")
                .collect();
            (others.len() < steps.len())
                .then(|| json!({ "type": "Sequence", "normalizers": others }))
        }
        _ => None,
    }
}

/// The pre-tokenizer for a text that does not come first, where that is another one.
pub(super) fn without_first_space(pre_tokenizer: &Value) -> Option<Value> {
    let mut inner = pre_tokenizer.clone();
    let steps = match inner.get_mut("pretokenizers").and_then(Value::as_array_mut) {
        Some(steps) => steps.iter_mut().collect(),
        None => vec![&mut inner],
    };
    let mut changed = false;
    for step in steps {
        if step["type"] == "Metaspace" && step["prepend_scheme"] == "first" {
            step["prepend_scheme"] = json!("never");
            changed = true;
        }
    }
    changed.then_some(inner)
}

/// What [`keep_from_text`] hid.
#[derive(Default)]
pub(super) struct HiddenTokens {
    /// Ids that no text may have.
    pub(super) ids: HashSet<u32>,
    /// What they are called, where the added tokens do not say so.
    pub(super) names: HashMap<String, u32>,
}

/// Hides special tokens, and those that end a text, from the model: it would find some of them in a
/// text that spells them.
///
/// Of one character they stay, for there they are part of ordinary text, and so does the token for
/// what is unknown.
pub(super) fn keep_from_text(
    model: &mut tokenizers::Tokenizer,
    value: &Value,
    ends: &[u32],
) -> tokenizers::Result<HiddenTokens> {
    mark_ends(model, ends)?;
    let unknown = unknown_token(model, value);
    let mut unlisted: HashMap<String, u32> = HashMap::new();
    let mut names: HashMap<String, u32> = HashMap::new();
    for token in model
        .get_added_vocabulary()
        .get_added_tokens_decoder()
        .values()
    {
        if token.special {
            let id = model.token_to_id(&token.content);
            names.extend(id.map(|id| (token.content.clone(), id)));
        }
    }
    for &id in ends {
        // Without an entry among the added tokens its form has to tell that it is no word.
        if let Some(name) = model.id_to_token(id)
            && !names.contains_key(&name)
            && [("<", ">"), ("[", "]")]
                .iter()
                .any(|(open, close)| name.starts_with(open) && name.ends_with(close))
        {
            unlisted.insert(name.clone(), id);
            names.insert(name, id);
        }
    }
    names.retain(|name, _| name.chars().nth(1).is_some() && unknown.as_deref() != Some(name));
    let hidden = Hidden::new(names, value);
    let Some(without) = hidden.in_model(model.get_model(), &value["model"])? else {
        return Ok(HiddenTokens::default());
    };
    model.with_model(without);
    Ok(HiddenTokens {
        ids: hidden.names.into_values().collect(),
        names: unlisted,
    })
}

/// Marks added tokens that end a text as special, which not every tokenizer.json does.
fn mark_ends(model: &mut tokenizers::Tokenizer, ends: &[u32]) -> tokenizers::Result<()> {
    let added = model.get_added_vocabulary().get_added_tokens_decoder();
    let unmarked: Vec<_> = ends
        .iter()
        .filter_map(|id| added.get(id))
        .filter(|token| !token.special && token.content.chars().nth(1).is_some())
        .map(|token| token.clone().special(true))
        .collect();
    if !unmarked.is_empty() {
        model.add_special_tokens(unmarked)?;
    }
    Ok(())
}

/// What the model takes for what it does not know.
fn unknown_token(model: &tokenizers::Tokenizer, value: &Value) -> Option<String> {
    let model_value = &value["model"];
    match model.get_model() {
        ModelWrapper::Unigram(_) => {
            let id = model_value["unk_id"].as_u64()?;
            model.id_to_token(u32::try_from(id).ok()?)
        }
        _ => model_value["unk_token"].as_str().map(str::to_owned),
    }
}

/// Tokens under names that no text is expected to spell.
struct Hidden {
    names: HashMap<String, u32>,
    /// Differs from tokenizer to tokenizer.
    stem: String,
}

impl Hidden {
    fn new(names: HashMap<String, u32>, value: &Value) -> Self {
        let sum = stable_hash(value["added_tokens"].to_string().as_bytes());
        Self {
            names,
            stem: format!("\u{fdd0}simattn {sum:016x} "),
        }
    }

    fn name(&self, id: u32) -> String {
        format!("{}{id}", self.stem)
    }

    /// A model that does not find them; `None` where the given one does not either.
    fn in_model(
        &self,
        model: &ModelWrapper,
        value: &Value,
    ) -> tokenizers::Result<Option<ModelWrapper>> {
        match model {
            // Built from what was read, for scores would not come through text unchanged.
            ModelWrapper::Unigram(unigram) => self.in_unigram(unigram, value),
            ModelWrapper::BPE(_) => {
                let (kept, dropped) = self.merges(value);
                if dropped == 0 && value["ignore_merges"] != Value::Bool(true) {
                    return Ok(None);
                }
                let mut value = value.clone();
                value["merges"] = Value::Array(kept);
                value["dropout"] = Value::Null;
                self.renamed(value)
            }
            ModelWrapper::WordLevel(_) | ModelWrapper::WordPiece(_) => self.renamed(value.clone()),
        }
    }

    fn in_unigram(
        &self,
        unigram: &Unigram,
        value: &Value,
    ) -> tokenizers::Result<Option<ModelWrapper>> {
        let mut found = false;
        let pieces = unigram.iter().enumerate().map(|(id, (piece, score))| {
            // Of pieces spelled alike only the last is ever found.
            if self.names.contains_key(piece) {
                found = true;
                (self.name(id as u32), *score)
            } else {
                (piece.clone(), *score)
            }
        });
        let pieces: Vec<(String, f64)> = pieces.collect();
        if !found {
            return Ok(None);
        }
        let unknown = value["unk_id"]
            .as_u64()
            .and_then(|id| usize::try_from(id).ok());
        let model = Unigram::from(pieces, unknown, unigram.byte_fallback())?;
        Ok(Some(model.into()))
    }

    fn renamed(&self, mut value: Value) -> tokenizers::Result<Option<ModelWrapper>> {
        let Some(vocabulary) = value["vocab"].as_object_mut() else {
            return Ok(None);
        };
        let mut changed = Map::new();
        for (name, id) in &self.names {
            if vocabulary.remove(name).is_some() {
                changed.insert(self.name(*id), json!(id));
            }
        }
        if changed.is_empty() {
            return Ok(None);
        }
        vocabulary.extend(changed);
        Ok(Some(serde_json::from_str(&value.to_string())?))
    }

    /// Merges that neither make a hidden token nor take one, and how many others there are.
    fn merges(&self, value: &Value) -> (Vec<Value>, usize) {
        let prefix = value["continuing_subword_prefix"].as_str().unwrap_or("");
        let all = value["merges"].as_array().map_or(&[][..], Vec::as_slice);
        let names: HashSet<&str> = self.names.keys().map(String::as_str).collect();
        let hidden = |merge: &&Value| {
            let Some((left, right)) = sides(merge) else {
                return false;
            };
            let made = format!("{left}{}", right.get(prefix.len()..).unwrap_or(""));
            [left, right, &made]
                .iter()
                .any(|token| names.contains(token))
        };
        let kept: Vec<Value> = all.iter().filter(|merge| !hidden(merge)).cloned().collect();
        let dropped = all.len() - kept.len();
        (kept, dropped)
    }
}
