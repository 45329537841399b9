use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{HuggingFaceError as Error, harmless::Harmless};

/// The fields of a `config.json`. Each is taken out as it is understood; what is left at the end
/// has not been, and is refused.
pub(super) struct Fields {
    path: PathBuf,
    /// Before a field's name in errors: empty, or `rope_parameters.`.
    within: &'static str,
    map: Map<String, Value>,
}

impl Fields {
    /// Reads the file.
    pub(super) fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(Error::io(path))?;
        match serde_json::from_slice(&text) {
            Ok(Value::Object(map)) => Ok(Self {
                path: path.into(),
                within: "",
                map,
            }),
            Ok(_) => Err(Error::Json {
                path: path.into(),
                why: "a JSON object is expected".into(),
            }),
            Err(why) => Err(Error::Json {
                path: path.into(),
                why: why.to_string(),
            }),
        }
    }

    /// Which file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// An error about one of the fields.
    pub(super) fn wrong(&self, field: &str, why: impl Into<String>) -> Error {
        Error::Field {
            path: self.path.clone(),
            field: format!("{}{field}", self.within),
            why: why.into(),
        }
    }

    /// Takes a field out; null is as good as absent.
    pub(super) fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|value| !value.is_null())
    }

    /// Whether the field is there, null included.
    pub(super) fn has(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// A whole number, if given.
    pub(super) fn optional_count(&mut self, field: &str) -> Result<Option<usize>, Error> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        // Some programs write whole numbers as 2048.0; beyond 2^53 such a number is not exact.
        let whole = |number: f64| {
            (number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(&number))
                .then_some(number as u64)
        };
        let count = value.as_u64().or_else(|| value.as_f64().and_then(whole));
        match count.map(usize::try_from) {
            Some(Ok(count)) => Ok(Some(count)),
            _ => Err(self.wrong(field, format!("= {value}: a whole number is expected"))),
        }
    }

    /// A whole number that must be there.
    pub(super) fn count(&mut self, field: &str) -> Result<usize, Error> {
        self.optional_count(field)?
            .ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// A number, if given.
    pub(super) fn optional_number(&mut self, field: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.take(field) else {
            return Ok(None);
        };
        match value.as_f64() {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(field, format!("= {value}: a number is expected"))),
        }
    }

    /// A number that must be there.
    pub(super) fn number(&mut self, field: &str) -> Result<f64, Error> {
        self.optional_number(field)?
            .ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// True or false, with the value that `transformers` takes for an absent one.
    pub(super) fn flag(&mut self, field: &str, absent: bool) -> Result<bool, Error> {
        match self.take(field) {
            None => Ok(absent),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(field, format!("= {other}: true or false is expected"))),
        }
    }

    /// A text, if given.
    pub(super) fn text(&mut self, field: &str) -> Result<Option<String>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.wrong(field, format!("= {other}: a text is expected"))),
        }
    }

    /// A field that must be absent or have this value: nothing else is supported.
    pub(super) fn only(&mut self, field: &str, supported: &Value) -> Result<(), Error> {
        match self.take(field) {
            Some(other) if other != *supported => Err(self.wrong(
                field,
                format!("= {other} is not supported: only {supported} is"),
            )),
            _ => Ok(()),
        }
    }

    /// An object within, its fields to be taken likewise.
    pub(super) fn object(
        &mut self,
        field: &str,
        within: &'static str,
    ) -> Result<Option<Self>, Error> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Self {
                path: self.path.clone(),
                within,
                map,
            })),
            Some(other) => Err(self.wrong(field, format!("= {other}: an object is expected"))),
        }
    }

    /// A second name of a number that was read: it must be absent or the same.
    pub(super) fn same(&mut self, alias: &str, field: &str, value: usize) -> Result<(), Error> {
        match self.optional_count(alias)? {
            Some(other) if other != value => {
                Err(self.wrong(alias, format!("= {other} contradicts {field} = {value}")))
            }
            _ => Ok(()),
        }
    }

    /// Refuses what has not been taken out and is not known to be without effect in a model of
    /// `family`, at the value that it has.
    pub(super) fn finish(self, family: &str) -> Result<(), Error> {
        for (field, value) in self.map.iter().filter(|(_, value)| !value.is_null()) {
            let known = Harmless::of(family, field);
            if known.allows(value) {
                continue;
            }
            let value = abbreviated(value);
            return Err(self.wrong(
                field,
                match known {
                    Harmless::Unknown => format!(
                        "= {value} is not understood, and may change what the model computes"
                    ),
                    Harmless::At(kind) => {
                        format!("= {value} is not supported: only {} is", spelled(kind))
                    }
                },
            ));
        }
        Ok(())
    }
}

/// What a kind of the table is called in a sentence.
fn spelled(kind: &str) -> &str {
    match kind {
        "flag" => "true or false",
        "number" => "a number",
        "count" => "a whole number",
        "text" => "a text",
        "object" => "an object",
        literal => literal,
    }
}

/// A value short enough for one line.
fn abbreviated(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(40) {
        None => text,
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
