//! JSON whose numbers are read bit for bit as they were written.
//!
//! serde_json may read a number of more than 15 digits as its neighbour, and whether it does is
//! decided for all crates of a build together. Here such numbers are handed to it as text, which
//! [`number`] reads with the standard library.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Unexpected, Visitor};

/// Digits that any number of them may have and be read exactly.
const EXACT_DIGITS: usize = 15;

/// Reads a document whose fields of type `f64` are read by [`number`], or have few digits.
///
/// # Errors
///
/// Those of `serde_json`.
pub fn from_str<T: DeserializeOwned>(text: &str) -> serde_json::Result<T> {
    serde_json::from_str(&quoted(text))
}

/// For `#[serde(deserialize_with)]`: a number, text that is one, or `null`, which is NaN.
///
/// # Errors
///
/// Anything else.
pub fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Number::deserialize(deserializer)?.0)
}

/// For `#[serde(deserialize_with)]`: a list of what [`number`] reads.
///
/// # Errors
///
/// Anything else.
pub fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let numbers = Vec::<Number>::deserialize(deserializer)?;
    Ok(numbers.into_iter().map(|number| number.0).collect())
}

struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader).map(Self)
    }
}

struct Reader;

impl Visitor<'_> for Reader {
    type Value = f64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a number or null")
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<f64, E> {
        Ok(number)
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<f64, E> {
        Ok(number as f64)
    }

    fn visit_unit<E: Error>(self) -> Result<f64, E> {
        Ok(f64::NAN)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<f64, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

/// The text with quotes around every number that has a fraction or an exponent and too many digits.
fn quoted(text: &str) -> Cow<'_, str> {
    let bytes = text.as_bytes();
    let mut quoted = String::new();
    let (mut copied, mut at) = (0, 0);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => at = end_of_string(bytes, at),
            b'-' | b'0'..=b'9' => {
                let length = bytes[at..].iter().take_while(|byte| is_of_number(**byte));
                let end = at + length.count();
                if needs_quotes(&bytes[at..end]) {
                    quoted.push_str(&text[copied..at]);
                    quoted.push('"');
                    quoted.push_str(&text[at..end]);
                    quoted.push('"');
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    quoted.push_str(&text[copied..]);
    Cow::Owned(quoted)
}

/// Where the string that begins at `start` is over.
fn end_of_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn is_of_number(byte: u8) -> bool {
    matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
}

fn needs_quotes(number: &[u8]) -> bool {
    let whole = !number.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
    let digits = number.iter().filter(|byte| byte.is_ascii_digit()).count();
    !whole && digits > EXACT_DIGITS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde::Serialize;

    #[derive(Debug, Serialize, serde::Deserialize)]
    struct Document {
        name: String,
        count: u64,
        #[serde(deserialize_with = "number")]
        value: f64,
        #[serde(deserialize_with = "numbers")]
        list: Vec<f64>,
    }

    proptest! {
        #[test]
        fn every_number_comes_back(
            name in any::<String>(), count in any::<u64>(), value in any::<f64>(),
            list in proptest::collection::vec(-1e3..1e3f64, 0..9),
        ) {
            let written = Document { name, count, value, list };
            let text = serde_json::to_string_pretty(&written).unwrap();
            let read: Document = from_str(&text).unwrap();
            prop_assert_eq!(&read.name, &written.name);
            prop_assert_eq!(read.count, count);
            if value.is_finite() {
                prop_assert_eq!(read.value.to_bits(), value.to_bits());
            } else {
                prop_assert!(read.value.is_nan());
            }
            prop_assert_eq!(&read.list, &written.list);
        }

        #[test]
        fn whatever_is_no_json_is_refused_without_a_panic(text in any::<String>()) {
            let _ = from_str::<Document>(&text);
        }
    }

    #[test]
    fn what_looks_like_a_number_in_text_stays_text() {
        let text = r#"["\"1.2345678901234567890", 1.5, 12345678901234567890]"#;
        assert_eq!(quoted(text), text);
        assert_eq!(quoted("[1.2345678901234567]"), r#"["1.2345678901234567"]"#);
    }
}
