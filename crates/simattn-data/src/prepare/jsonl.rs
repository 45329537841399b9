//! Documents of JSON lines.

use super::Place;
use super::feed::{Feed, Stop};
use super::inputs::InputFile;
use super::lines::Lines;
use super::text::unpacking;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// Bytes of the longest line.
const LONGEST: usize = 256 << 20;

/// Reads a file of one object a line, whose text is the string of `field`. Blank lines are passed over; anything else is bad.
pub(super) fn read(
    input: &InputFile,
    file: usize,
    field: &str,
    mut lines: Lines,
    feed: &mut Feed,
) -> Result<(), Stop> {
    let mut buffer = Vec::new();
    loop {
        buffer.clear();
        match lines.read(&mut buffer, LONGEST) {
            Ok(Some(true)) => {}
            Ok(Some(false)) => {
                let problem = format!("a line of more than {} MiB", LONGEST >> 20);
                feed.bad(&input.path, "", lines.line + 1, problem)?;
                if !pass(input, &mut lines, &mut buffer, feed)? {
                    break;
                }
                continue;
            }
            Ok(None) => break,
            Err(error) => {
                unpacking(input, &lines, error, feed)?;
                break;
            }
        }
        let line = buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&buffer);
        if line.trim_ascii().is_empty() {
            continue;
        }
        match text_of(line, field) {
            Ok(text) => {
                feed.text(&text)?;
                feed.end(Place {
                    file,
                    offset: lines.offset,
                    line: lines.line,
                })?;
            }
            Err(problem) => feed.bad(&input.path, "", lines.line, problem)?,
        }
    }
    Ok(())
}

/// Reads past the rest of a line; false where the file ends there.
fn pass(
    input: &InputFile,
    lines: &mut Lines,
    buffer: &mut Vec<u8>,
    feed: &mut Feed,
) -> Result<bool, Stop> {
    loop {
        buffer.clear();
        match lines.read(buffer, 1 << 20) {
            Ok(Some(false)) => {}
            Ok(Some(true)) => return Ok(true),
            Ok(None) => return Ok(false),
            Err(error) => {
                unpacking(input, lines, error, feed)?;
                return Ok(false);
            }
        }
    }
}

/// The string of a field of an object; every other field is passed over.
fn text_of<'a>(line: &'a [u8], field: &str) -> Result<Cow<'a, str>, String> {
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

struct Field<'f>(&'f str);

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = Cow<'de, str>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "an object with the field \"{}\"", self.0)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut text = None;
        while let Some(Key(key)) = map.next_key()? {
            if key == self.0 {
                text = Some(map.next_value::<Text>()?.0);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        text.ok_or_else(|| A::Error::custom(format_args!("no field \"{}\"", self.0)))
    }
}

#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[derive(serde::Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

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
            (r#"{"text":1}"#, "integer `1`"),
            (r#"{"text":null}"#, "null"),
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
}
