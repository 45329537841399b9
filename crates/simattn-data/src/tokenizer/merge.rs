//! A merge as a tokenizer.json writes it.

use serde_json::Value;

/// The two tokens of a merge in either form.
pub(super) fn sides(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(text) => text.split_once(' '),
        Value::Array(pair) => match pair.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}
