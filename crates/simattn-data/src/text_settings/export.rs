//! Settings as a Hugging Face folder states them.

use super::file_names::{GENERATION, TOKENIZER_CONFIG};
use super::{TextSettings, ids, read};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

impl TextSettings {
    /// The fields of `config.json` that name ids: as they stood there. Where nothing says which id
    /// ends a text, it is the first of [`TextSettings::generation_ends`].
    pub fn config_fields(&self, tokenizer: &Tokenizer) -> Map<String, Value> {
        let mut fields = self.config.clone();
        if self.ends().is_empty() {
            let ends = self.generation_ends(tokenizer);
            fields.insert(ids::END.to_owned(), ends.first().copied().into());
        }
        if self.is_empty() {
            fields.insert(ids::BEGIN.to_owned(), Value::Null);
        }
        fields
    }

    /// Names, relative to the folder, and contents of the files beside `config.json` and
    /// tokenizer.json, of a model of `context` tokens: as they stood there, but that no Python
    /// class is named that would have to be fetched. Where there were none, they say what is known.
    pub fn files(&self, tokenizer: &Tokenizer, context: usize) -> BTreeMap<String, String> {
        let mut files = self.files.clone();
        let own = files.entry(TOKENIZER_CONFIG.to_owned()).or_insert_with(|| {
            pretty(&json!({
                "tokenizer_class": "PreTrainedTokenizerFast",
                "model_max_length": context,
                "clean_up_tokenization_spaces": false,
            }))
        });
        if let Ok(mut fields) = read::object(own, Path::new(TOKENIZER_CONFIG))
            && fields.remove("auto_map").is_some()
        {
            fields.insert(
                "tokenizer_class".to_owned(),
                json!("PreTrainedTokenizerFast"),
            );
            *own = pretty(&Value::Object(fields));
        }
        files.entry(GENERATION.to_owned()).or_insert_with(|| {
            let ends = self.generation_ends(tokenizer);
            let known = [
                (ids::BEGIN, self.begin().map(Value::from)),
                (
                    ids::END,
                    Some(if let [end] = ends[..] {
                        end.into()
                    } else {
                        ends.into()
                    }),
                ),
                (ids::PADDING, self.padding().map(Value::from)),
            ];
            let known = known
                .into_iter()
                .filter_map(|(field, value)| Some((field.to_owned(), value?)));
            pretty(&Value::Object(known.collect()))
        });
        files
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
