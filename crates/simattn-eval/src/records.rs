//! Data files: JSON lines, and with the feature `parquet` Parquet, a record at a time.

use crate::error::EvalError;
use crate::template::Fields;
use std::fs;
use std::path::Path;

/// What is done with a record.
type Each<'a> = dyn FnMut(Fields) -> Result<(), String> + 'a;

/// Hands every record of a file to `each`, in order; what it finds wrong is named by line or row.
pub(crate) fn read(path: &Path, each: &mut Each<'_>) -> Result<(), EvalError> {
    if path.extension().is_some_and(|end| end == "parquet") {
        rows(path, each)
    } else {
        lines(path, each)
    }
}

/// One JSON object. NaN, Infinity and -Infinity, which Python writes and JSON does not have, are
/// read as null.
pub(crate) fn parse(json: &str) -> Result<Fields, String> {
    let strict = serde_json::from_str(json);
    let read = strict.or_else(|error| {
        let lenient = without_bare_words(json).map(|json| serde_json::from_str(&json));
        lenient.and_then(Result::ok).ok_or(error)
    });
    read.map_err(|error| {
        // The reader of the file adds the line.
        let text = error.to_string();
        let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
        format!("{problem} at column {}", error.column())
    })
}

/// The text with null for each NaN, Infinity and -Infinity outside its strings; `None` where there
/// is none.
fn without_bare_words(json: &str) -> Option<String> {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    let (mut inside, mut found) = (false, false);
    while let Some(c) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|word| !inside && rest.starts_with(word));
        let taken = match (word, c) {
            (Some(word), _) => {
                out.push_str("null");
                found = true;
                rest = &rest[word.len()..];
                continue;
            }
            // A backslash and what it escapes.
            (None, '\\') if inside => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
            (None, '"') => {
                inside = !inside;
                1
            }
            (None, c) => c.len_utf8(),
        };
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    found.then_some(out)
}

/// JSON lines, blank ones passed over.
fn lines(path: &Path, each: &mut Each<'_>) -> Result<(), EvalError> {
    let bytes = fs::read(path).map_err(|error| EvalError::Unreadable {
        path: path.to_owned(),
        problem: error.to_string(),
    })?;
    for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
        let wrong = |problem: String| EvalError::Line {
            path: path.to_owned(),
            line: index + 1,
            problem,
        };
        let line = std::str::from_utf8(line).map_err(|_| wrong("not UTF-8".to_owned()))?;
        let line = line.trim_start_matches('\u{feff}');
        if !line.trim().is_empty() {
            parse(line).and_then(&mut *each).map_err(wrong)?;
        }
    }
    Ok(())
}

#[cfg(not(feature = "parquet"))]
fn rows(path: &Path, _: &mut Each<'_>) -> Result<(), EvalError> {
    Err(EvalError::Unreadable {
        path: path.to_owned(),
        problem: "this program was built without Parquet; build it with --features parquet, or \
                  convert the file to JSON lines"
            .to_owned(),
    })
}

#[cfg(feature = "parquet")]
use parquet_rows::rows;

#[cfg(feature = "parquet")]
mod parquet_rows {
    use super::Each;
    use crate::error::EvalError;
    use crate::template::Fields;
    use parquet::record::{Field, Row};
    use serde_json::Value;
    use simattn_data::ParquetFile;
    use std::fs::File;
    use std::path::Path;

    /// A Parquet file's rows as the JSON objects that they stand for.
    pub(super) fn rows(path: &Path, each: &mut Each<'_>) -> Result<(), EvalError> {
        let unreadable = |problem: String| EvalError::Unreadable {
            path: path.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let reader = ParquetFile::open(file)
            .map_err(|error| unreadable(format!("not a Parquet file ({error})")))?;
        let mut number = 0;
        for group in 0..reader.num_groups() {
            let wrong = |row: usize, problem: String| EvalError::Row {
                path: path.to_owned(),
                row,
                problem,
            };
            let damaged = |error| format!("damaged ({error})");
            let records = reader
                .rows(group, None)
                .map_err(|error| wrong(number + 1, damaged(error)))?;
            for record in records {
                number += 1;
                record
                    .map_err(damaged)
                    .and_then(|row| each(object(&row)))
                    .map_err(|problem| wrong(number, problem))?;
            }
        }
        Ok(())
    }

    fn object(row: &Row) -> Fields {
        row.get_column_iter()
            .map(|(name, field)| (name.clone(), value(field)))
            .collect()
    }

    fn value(field: &Field) -> Value {
        match field {
            Field::Null => Value::Null,
            Field::Bool(truth) => (*truth).into(),
            Field::Byte(number) => (*number).into(),
            Field::Short(number) => (*number).into(),
            Field::Int(number) => (*number).into(),
            Field::Long(number) => (*number).into(),
            Field::UByte(number) => (*number).into(),
            Field::UShort(number) => (*number).into(),
            Field::UInt(number) => (*number).into(),
            Field::ULong(number) => (*number).into(),
            Field::Float(number) => (*number).into(),
            Field::Double(number) => (*number).into(),
            Field::Str(text) => text.clone().into(),
            Field::Group(row) => Value::Object(object(row)),
            Field::ListInternal(list) => list.elements().iter().map(value).collect(),
            // Text whose column does not say that it is text.
            Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
                Ok(text) => text.into(),
                Err(_) => Value::Null,
            },
            // Dates, decimals and maps have no place in a template: one that asks for such a column
            // finds null there, and names it; in other columns they are of no concern.
            _ => Value::Null,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_python_writes_for_numbers_that_are_none_is_null() {
        let fields =
            parse(r#"{"a": NaN, "b": [-Infinity, Infinity, -1], "c": "NaN \" NaN", "é": "\\"}"#);
        let fields = fields.expect("Python's JSON");
        let expected = serde_json::json!(
            {"a": null, "b": [null, null, -1], "c": "NaN \" NaN", "é": "\\"});
        assert_eq!(serde_json::Value::Object(fields), expected);
        for wrong in [
            "{\"a\": NaNs}",
            "{\"a\": nan}",
            "NaN",
            "{\"a\": \"NaN}",
            "{\"a\": \"\\",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
