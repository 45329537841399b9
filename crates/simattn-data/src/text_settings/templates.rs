//! Chat templates, wherever they stand.

use super::error::wrong;
use super::file_names::{TEMPLATE, TEMPLATE_JSON, TOKENIZER_CONFIG, further_template};
use crate::error::DataError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What the template without a name is called.
pub(super) const DEFAULT: &str = "default";

const FIELD: &str = "chat_template";

/// Names and texts. A file of templates goes before `chat_template.json`, and that before the
/// tokenizer's configuration, as `transformers` has it.
pub(super) fn all(
    files: &BTreeMap<String, String>,
    tokenizer_config: &Map<String, Value>,
    template_json: &Map<String, Value>,
    place: &dyn Fn(&str) -> PathBuf,
) -> Result<Vec<(String, String)>, DataError> {
    let in_config = named(tokenizer_config, &place(TOKENIZER_CONFIG))?;
    let in_json = named(template_json, &place(TEMPLATE_JSON))?;
    let mut in_files = BTreeMap::new();
    for (name, text) in files {
        if name == TEMPLATE {
            in_files.insert(DEFAULT.to_owned(), text.clone());
        } else if let Some(name) = further_template(name) {
            in_files.insert(name.to_owned(), text.clone());
        }
    }
    let first = [in_files, in_json, in_config]
        .into_iter()
        .find(|templates| !templates.is_empty());
    Ok(first.unwrap_or_default().into_iter().collect())
}

/// The templates of a field that is a text, or a list of objects with name and template.
fn named(fields: &Map<String, Value>, path: &Path) -> Result<BTreeMap<String, String>, DataError> {
    let mut found = BTreeMap::new();
    let unexpected = || {
        let problem = "is neither a text nor a list of objects with name and template";
        wrong(path, FIELD, problem)
    };
    match fields.get(FIELD) {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => {
            found.insert(DEFAULT.to_owned(), text.clone());
        }
        Some(Value::Array(list)) => {
            for entry in list {
                let text = |field: &str| entry[field].as_str().ok_or_else(unexpected);
                found.insert(text("name")?.to_owned(), text("template")?.to_owned());
            }
        }
        Some(Value::Object(map)) => {
            for (name, text) in map {
                let text = text.as_str().ok_or_else(unexpected)?;
                found.insert(name.clone(), text.to_owned());
            }
        }
        Some(_) => return Err(unexpected()),
    }
    Ok(found)
}
