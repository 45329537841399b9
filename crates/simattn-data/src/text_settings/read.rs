//! The files, each held against its form.

use super::error::{no_json, wrong};
use super::file_names::{CONFIG, FILES, MORE_TEMPLATES, is_known};
use super::ids;
use crate::error::DataError;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

/// The text of a file that may be missing.
pub(super) fn optional(path: &Path) -> Result<Option<String>, DataError> {
    let unreadable = |problem: String| DataError::Unreadable {
        path: path.to_owned(),
        problem,
    };
    match fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => Ok(Some(text)),
            Err(error) => {
                let at = error.utf8_error().valid_up_to();
                Err(unreadable(format!("not UTF-8 at byte {at}")))
            }
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(error.to_string())),
    }
}

/// A JSON object.
pub(super) fn object(text: &str, path: &Path) -> Result<Map<String, Value>, DataError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => Err(DataError::Unreadable {
            path: path.to_owned(),
            problem: "a JSON object is expected".to_owned(),
        }),
        Err(error) => Err(no_json(path, &error)),
    }
}

/// The fields of a folder's `config.json` that name ids; none where there is no such file.
pub(super) fn config_ids(folder: &Path) -> Result<Map<String, Value>, DataError> {
    let path = folder.join(CONFIG);
    let Some(text) = optional(&path)? else {
        return Ok(Map::new());
    };
    let mut fields = object(&text, &path)?;
    fields.retain(|field, _| ids::FIELDS.contains(&field.as_str()));
    Ok(fields)
}

/// The files of a folder that are kept.
pub(super) fn files(folder: &Path) -> Result<BTreeMap<String, String>, DataError> {
    let mut files = BTreeMap::new();
    for name in FILES {
        if let Some(text) = optional(&folder.join(name))? {
            files.insert(name.to_owned(), text);
        }
    }
    let Ok(entries) = fs::read_dir(folder.join(MORE_TEMPLATES)) else {
        return Ok(files);
    };
    for entry in entries.flatten() {
        let Some(name) = entry
            .file_name()
            .to_str()
            .map(|name| format!("{MORE_TEMPLATES}/{name}"))
        else {
            continue;
        };
        if is_known(&name)
            && let Some(text) = optional(&entry.path())?
        {
            files.insert(name, text);
        }
    }
    Ok(files)
}

/// A token as a tokenizer's configuration spells it: a text, or an object with its `content`.
pub(super) fn token_name(
    fields: &Map<String, Value>,
    field: &str,
    path: &Path,
) -> Result<Option<String>, DataError> {
    let value = match fields.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(token)) => token.get("content").unwrap_or(&Value::Null),
        Some(value) => value,
    };
    match value {
        Value::String(name) => Ok(Some(name.clone())),
        _ => Err(wrong(
            path,
            field,
            "is neither a token's text nor an object with its content",
        )),
    }
}

/// Every token that the files name by what it is for; the first file goes first. What is no token
/// is left to whoever needs it.
pub(super) fn named_tokens(files: &[(&Map<String, Value>, &str)]) -> BTreeMap<String, String> {
    let mut named = BTreeMap::new();
    for (fields, file) in files {
        for field in fields.keys().filter(|field| field.ends_with("_token")) {
            if let Ok(Some(name)) = token_name(fields, field, Path::new(file)) {
                named.entry(field.clone()).or_insert(name);
            }
        }
    }
    named
}
