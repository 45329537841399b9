//! `{field}` in a text, filled from an item.

use serde_json::{Map, Value};

/// An item's fields.
pub(crate) type Fields = Map<String, Value>;

/// A text with `{field}` in it; `{{` and `}}` stand for braces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    ///
    /// A brace that is not closed, or closes nothing.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '{' if rest.next_if_eq(&'{').is_some() => plain.push('{'),
                '}' if rest.next_if_eq(&'}').is_some() => plain.push('}'),
                '{' => {
                    let mut name = String::new();
                    loop {
                        match rest.next() {
                            Some('}') => break,
                            Some('{') | None => {
                                return Err(format!(
                                    "the template {text:?} has a brace that is not closed"
                                ));
                            }
                            Some(c) => name.push(c),
                        }
                    }
                    if name.trim().is_empty() {
                        return Err(format!("the template {text:?} has braces without a field"));
                    }
                    if !plain.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut plain)));
                    }
                    parts.push(Part::Field(name.trim().to_owned()));
                }
                '}' => {
                    return Err(format!(
                        "the template {text:?} has a brace that closes nothing"
                    ));
                }
                c => plain.push(c),
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self { parts })
    }

    /// The text for an item.
    ///
    /// # Errors
    ///
    /// A field that is missing, or holds neither text nor a number.
    pub(crate) fn fill(&self, fields: &Fields) -> Result<String, String> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(name) => {
                    let value = find(fields, name)?;
                    let not_text = || format!("the field \"{name}\" is {}, not text", kind(value));
                    out.push_str(&spelled(value).ok_or_else(not_text)?);
                }
            }
        }
        Ok(out)
    }
}

/// A field, `a.b` being the field b of the object a.
pub(crate) fn find<'a>(fields: &'a Fields, name: &str) -> Result<&'a Value, String> {
    let missing = || format!("no field \"{name}\"");
    let mut steps = name.split('.');
    let mut value = steps
        .next()
        .and_then(|first| fields.get(first))
        .ok_or_else(missing)?;
    for step in steps {
        value = value.get(step).ok_or_else(missing)?;
    }
    Ok(value)
}

/// A text as it is, a number as JSON spells it.
pub(crate) fn spelled(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// A list of texts, numbers among them as [`spelled`].
pub(crate) fn texts(fields: &Fields, name: &str) -> Result<Vec<String>, String> {
    let value = find(fields, name)?;
    let list = value.as_array().and_then(|list| {
        let texts = list.iter().map(spelled);
        texts.collect::<Option<Vec<String>>>()
    });
    list.ok_or_else(|| format!("the field \"{name}\" is not a list of texts"))
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_fill_templates() {
        let fields = serde_json::json!({"a": "x", "b": {"c": 3}, "d": [1]});
        let fields = fields.as_object().unwrap();
        let fill = |text: &str| Template::parse(text).and_then(|template| template.fill(fields));
        assert_eq!(fill("{{{a}}} {b.c}\n").unwrap(), "{x} 3\n");
        assert_eq!(fill("").unwrap(), "");
        for (text, said) in [
            ("{a", "not closed"),
            ("{a{b}", "not closed"),
            ("a}", "closes nothing"),
            ("{}", "without a field"),
            ("{e}", "no field \"e\""),
            ("{b.e}", "no field \"b.e\""),
            ("{d}", "is a list, not text"),
        ] {
            let line = fill(text).unwrap_err();
            assert!(line.contains(said), "{line}");
        }
    }
}
