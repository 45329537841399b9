//! The fields of a request's body, read one by one: what has not been understood in the end is
//! refused by name.

use serde_json::{Map, Value};

use super::error::ApiError;

/// Accepted, and without effect on an answer.
const WITHOUT_EFFECT: [&str; 6] = [
    "user",
    "metadata",
    "safety_identifier",
    "prompt_cache_key",
    "store",
    "service_tier",
];

/// The fields that have not been read yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a body.
    pub(super) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(ApiError::wrong("the body is JSON, but not an object")),
            Err(error) => Err(ApiError::wrong(format!("the body is not JSON: {error}"))),
        }
    }

    /// The fields of an object within the body.
    pub(super) fn within(name: &str, value: Value) -> Result<Self, ApiError> {
        match value {
            Value::Object(fields) => Ok(Self(fields)),
            other => Err(wrong_kind(name, "an object", &other)),
        }
    }

    /// A field; null is as good as none.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name).filter(|value| !value.is_null())
    }

    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_kind(name, "a text", &other)),
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Result<bool, ApiError> {
        match self.take(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong_kind(name, "true or false", &other)),
        }
    }

    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, ApiError> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => match value.as_f64() {
                Some(number) if number.is_finite() => Ok(Some(number)),
                _ => Err(wrong_kind(name, "a number", &value)),
            },
        }
    }

    /// A whole number of at most `most`.
    pub(super) fn count(&mut self, name: &str, most: usize) -> Result<Option<usize>, ApiError> {
        let Some(value) = self.take(name) else {
            return Ok(None);
        };
        let count = value.as_u64().and_then(|count| usize::try_from(count).ok());
        match count {
            Some(count) if count <= most => Ok(Some(count)),
            _ => Err(wrong_kind(
                name,
                &format!("a whole number from 0 to {most}"),
                &value,
            )),
        }
    }

    /// Nothing is left that would change the answer.
    pub(super) fn finish(mut self) -> Result<(), ApiError> {
        for name in WITHOUT_EFFECT {
            self.0.remove(name);
        }
        self.refuse_rest("")
    }

    /// Nothing is left. `place` says in front of a name where it stands.
    pub(super) fn refuse_rest(self, place: &str) -> Result<(), ApiError> {
        let mut left = self.0.into_iter().filter(|(_, value)| !value.is_null());
        match left.next() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(80).collect();
                let error = ApiError::field(
                    format!("{place}{name}"),
                    "this field is unknown or not supported, and might change the answer",
                );
                Err(error.with_code("unsupported_field"))
            }
        }
    }
}

/// A value of another kind than its field has.
pub(super) fn wrong_kind(name: &str, wanted: &str, value: &Value) -> ApiError {
    let shown = value.to_string();
    let mut short: String = shown.chars().take(40).collect();
    if short.len() < shown.len() {
        short.push('…');
    }
    ApiError::field(name, format!("{wanted} is needed, not {short}"))
}
