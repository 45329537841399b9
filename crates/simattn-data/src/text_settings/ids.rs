//! Fields that name token ids.

use super::error::wrong;
use crate::error::DataError;
use serde_json::{Map, Value};
use std::path::Path;

pub(super) const BEGIN: &str = "bos_token_id";
pub(super) const END: &str = "eos_token_id";
pub(super) const PADDING: &str = "pad_token_id";

/// The fields of `config.json` that are kept.
pub(super) const FIELDS: [&str; 6] = [
    BEGIN,
    END,
    PADDING,
    "unk_token_id",
    "sep_token_id",
    "decoder_start_token_id",
];

/// What one file, or several, say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ids {
    pub(super) begin: Option<u32>,
    pub(super) end: Vec<u32>,
    pub(super) padding: Option<u32>,
}

impl Ids {
    /// What a file says of a model with `vocabulary` rows.
    pub(super) fn from_fields(
        fields: &Map<String, Value>,
        vocabulary: usize,
        path: &Path,
    ) -> Result<Self, DataError> {
        let one = |name: &str| match fields.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => id(value, vocabulary, name, path).map(Some),
        };
        let mut end = Vec::new();
        match fields.get(END) {
            None | Some(Value::Null) => {}
            Some(Value::Array(list)) => {
                for value in list {
                    let id = id(value, vocabulary, END, path)?;
                    if !end.contains(&id) {
                        end.push(id);
                    }
                }
            }
            Some(value) => end.push(id(value, vocabulary, END, path)?),
        }
        // Early conversions of Llama say so that there is none.
        let unpadded = fields.get(PADDING).and_then(Value::as_i64) == Some(-1);
        Ok(Self {
            begin: one(BEGIN)?,
            end,
            padding: if unpadded { None } else { one(PADDING)? },
        })
    }

    /// What these say, and where they say nothing, what `others` do.
    pub(super) fn over(self, others: Self) -> Self {
        Self {
            begin: self.begin.or(others.begin),
            end: if self.end.is_empty() {
                others.end
            } else {
                self.end
            },
            padding: self.padding.or(others.padding),
        }
    }
}

fn id(value: &Value, vocabulary: usize, name: &str, path: &Path) -> Result<u32, DataError> {
    let shown = || value.to_string().chars().take(40).collect::<String>();
    let Some(id) = value.as_u64() else {
        let problem = format!(
            "= {}: a token id is a whole number from 0 on, or null",
            shown()
        );
        return Err(wrong(path, name, problem));
    };
    match u32::try_from(id) {
        Ok(id) if (id as usize) < vocabulary => Ok(id),
        _ => Err(wrong(
            path,
            name,
            format!(
                "= {id}: the model has the token ids 0 to {}",
                vocabulary.saturating_sub(1)
            ),
        )),
    }
}
