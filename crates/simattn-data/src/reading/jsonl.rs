//! Documents of JSON lines.

use super::lines::Lines;
use super::text::unpacking;
use super::{InputFile, Place, Sink, Stop};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Bytes of the longest line.
pub(super) const LONGEST: usize = 256 << 20;

/// Reads a file of one object a line, whose text is the string of `field`. Blank lines are passed
/// over; anything else is bad.
pub(super) fn read(
    input: &InputFile,
    file: usize,
    field: &str,
    mut lines: Lines,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match lines.read(&mut buffer, LONGEST) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                let problem = format!("a line of more than {} MiB", LONGEST >> 20);
                sink.bad(&input.path, "", lines.line + 1, problem)?;
                if !pass(input, &mut lines, &mut buffer, sink)? {
                    break;
                }
                continue;
            }
            Ok(None) => break,
            Err(error) => {
                unpacking(input, &lines, error, sink)?;
                break;
            }
        }
        let line = buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&buffer);
        if line.trim_ascii().is_empty() {
            continue;
        }
        match text_of(line, field) {
            Ok(text) => {
                sink.text(&text)?;
                sink.end(Place {
                    file,
                    offset: lines.offset,
                    line: lines.line,
                })?;
            }
            Err(problem) => sink.bad(&input.path, "", lines.line, problem)?,
        }
    }
    Ok(())
}

/// Reads past the rest of a line; false where the file ends there.
fn pass(
    input: &InputFile,
    lines: &mut Lines,
    buffer: &mut Vec<u8>,
    sink: &mut dyn Sink,
) -> Result<bool, Stop> {
    loop {
        buffer.clear();
        match lines.read(buffer, 1 << 20) {
            Ok(Some(false)) => {}
            Ok(Some(true)) => return Ok(true),
            Ok(None) => return Ok(false),
            Err(error) => {
                unpacking(input, lines, error, sink)?;
                return Ok(false);
            }
        }
    }
}

/// The string of a field of an object. Every other field is passed over, whatever it holds: the
/// not-numbers that Python writes, escapes of half a character, numbers of any size. If a
/// field occurs twice, the last one counts, as in Python.
pub(super) fn text_of<'a>(line: &'a [u8], field: &str) -> Result<Cow<'a, str>, String> {
    match parse(line, field) {
        Ok(text) => Ok(text),
        Err(problem) => match without_python_numbers(line) {
            // Everything stays where it was, so that the problem's column holds in both.
            Some(line) => Ok(Cow::Owned(parse(&line, field)?.into_owned())),
            None => Err(problem),
        },
    }
}

/// Whether a line is one whole object, whatever its fields.
pub(super) fn is_object(line: &[u8]) -> bool {
    let line = without_python_numbers(line).map_or(Cow::Borrowed(line), Cow::Owned);
    let mut reader = serde_json::Deserializer::from_slice(&line);
    line.trim_ascii_start().starts_with(b"{")
        && IgnoredAny::deserialize(&mut reader).is_ok_and(|_| reader.end().is_ok())
}

fn parse<'a>(line: &'a [u8], field: &str) -> Result<Cow<'a, str>, String> {
    let mut reader = serde_json::Deserializer::from_slice(line);
    Field(field)
        .deserialize(&mut reader)
        .and_then(|text| reader.end().map(|()| text))
        .map_err(|error| {
            let text = error.to_string();
            // Each line is read by itself: its number there is always 1.
            match text.split_once(" at line ") {
                Some((problem, _)) => format!("{problem} at column {}", error.column()),
                None => text,
            }
        })
}

/// A line with a number for each of `NaN`, `Infinity` and `-Infinity` outside strings, as long as
/// before; `None` where there is none. Python's json writes them, though they are no JSON.
fn without_python_numbers(line: &[u8]) -> Option<Vec<u8>> {
    let mut changed: Option<Vec<u8>> = None;
    let (mut inside, mut at) = (false, 0);
    while at < line.len() {
        let word = [&b"NaN"[..], b"Infinity"]
            .into_iter()
            .find(|word| !inside && line[at..].starts_with(word));
        if let Some(word) = word {
            let line = changed.get_or_insert_with(|| line.to_vec());
            // Not a part of something else; where it is, this is no JSON either way.
            if at == 0 || !line[at - 1].is_ascii_alphanumeric() {
                line[at..at + word.len()].fill(b' ');
                line[at] = b'0';
            }
            at += word.len();
            continue;
        }
        match line[at] {
            b'"' => inside = !inside,
            b'\\' if inside => at += 1,
            _ => {}
        }
        at += 1;
    }
    changed
}

struct Field<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object with the field \"{}\"", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut last = None;
        while let Some(found) = map.next_key_seed(Key(self.0.as_bytes()))? {
            if found {
                last = Some(map.next_value::<Value>()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        match last {
            Some(Value::Text(text)) => Ok(text),
            Some(Value::Other(what)) => Err(A::Error::custom(format_args!(
                "the field \"{}\" holds {what}, not a string",
                self.0
            ))),
            None => Err(A::Error::custom(format_args!("no field \"{}\"", self.0))),
        }
    }
}

/// Whether a key is the one that is looked for. As bytes: another may hold half a character.
struct Key<'f>(&'f [u8]);

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_bytes(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = bool;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the name of a field")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<bool, E> {
        Ok(key == self.0)
    }
}

/// What a field holds.
enum Value<'a> {
    Text(Cow<'a, str>),
    Other(&'static str),
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Other("null"))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Value<'de>, E> {
        Ok(Value::Other("true or false"))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Other("a number"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value<'de>, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_among_others() {
        let text = |line: &str| text_of(line.as_bytes(), "text").map(Cow::into_owned);
        assert_eq!(text(r#"{"text":"a"}"#).unwrap(), "a");
        assert_eq!(
            text(r#" {"id":{"text":[1]},"text":"a\nb\u00e9","z":null} "#).unwrap(),
            "a\nbé"
        );
        for (line, problem) in [
            (r#"{"id":1}"#, "no field \"text\" at column 8"),
            (
                r#"{"text":1}"#,
                "the field \"text\" holds a number, not a string",
            ),
            (r#"{"text":NaN}"#, "holds a number"),
            (r#"{"text":null}"#, "holds null"),
            (r#"{"text":[{"text":"a"}]}"#, "holds a list"),
            (r#"{"text":"a","text":{}}"#, "holds an object"),
            (r#"{"text":"\ud83d"}"#, "hex escape"),
            (r#"{"text":"a","b":NaNs}"#, "expected"),
            (r#"{"text":"a","b":1NaN}"#, "expected"),
            (r#"{"text":"a","b":+Infinity}"#, "expected"),
            (r#"{"text":"a"} x"#, "trailing characters"),
            (r#"{"text":"a"#, "EOF"),
            (r#"["text"]"#, "an object with the field \"text\""),
            ("text", "expected"),
        ] {
            let found = text(line).unwrap_err();
            assert!(found.contains(problem), "{line}: {found}");
            assert!(!found.contains("line 1"), "{found}");
        }
        assert!(text_of(b"{\"text\":\"\xff\"}", "text").is_err());
    }

    #[test]
    fn what_other_fields_hold_does_not_matter() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        let huge = format!("1{}e99999", "0".repeat(5000));
        for value in [
            "NaN",
            "-Infinity",
            "[Infinity, NaN,-Infinity]",
            r#"{"text": NaN, "b": "NaN \" Infinity"}"#,
            r#""\ud83d half a character""#,
            r#""a string, \\", "NaN": "\u0000""#,
            "123456789012345678901234567890",
            "-1e-400",
            &huge,
            &deep,
        ] {
            for line in [
                format!(r#"{{"score": {value}, "text": "a NaN \u00e9"}}"#),
                format!(r#"{{"text":"a NaN \u00e9","score":{value}}}"#),
                format!(r#"{{"te\u0078t":"a NaN \u00e9","\udc00":{value}}}"#),
                format!(r#"{{"text":{{}},"text":"a NaN \u00e9","\udc00":{value}}}"#),
            ] {
                let text = text_of(line.as_bytes(), "text");
                assert_eq!(text.as_deref(), Ok("a NaN é"), "{:.80}", line);
            }
        }
    }
}
