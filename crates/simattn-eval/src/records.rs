//! Data files: JSON lines, and with the feature `parquet` Parquet, a record at a time.

use crate::error::EvalError;
use crate::template::Fields;
use std::fs;
use std::path::Path;

/// What is done with a record.
type Each<'a> = dyn FnMut(Fields) -> Result<(), String> + 'a;

/// Hands every record of a file to `each`, in order; what it finds wrong is named by line or row.
pub(crate) fn read(path: &Path, each: &mut Each<'_>) -> Result<(), EvalError> {
    match path.extension().is_some_and(|end| end == "parquet") {
        true => rows(path, each),
        false => lines(path, each),
    }
}

/// One JSON object.
pub(crate) fn parse(json: &str) -> Result<Fields, String> {
    serde_json::from_str(json).map_err(|error| {
        // The line is named by whoever reads the file.
        let text = error.to_string();
        let problem = text.split(" at line ").next().unwrap_or(&text).to_owned();
        format!("{problem} at column {}", error.column())
    })
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
    use parquet::errors::ParquetError;
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};
    use serde_json::Value;
    use std::fs::File;
    use std::path::Path;

    /// A Parquet file's rows as the JSON objects that they stand for.
    pub(super) fn rows(path: &Path, each: &mut Each<'_>) -> Result<(), EvalError> {
        let unreadable = |problem: String| EvalError::Unreadable {
            path: path.to_owned(),
            problem,
        };
        let file = File::open(path).map_err(|error| unreadable(error.to_string()))?;
        let damaged = |error: ParquetError| unreadable(format!("not a Parquet file ({error})"));
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        let records = reader.get_row_iter(None).map_err(damaged)?;
        for (index, record) in records.enumerate() {
            record
                .map_err(|error| format!("damaged ({error})"))
                .and_then(|row| each(object(&row)?))
                .map_err(|problem| EvalError::Row {
                    path: path.to_owned(),
                    row: index + 1,
                    problem,
                })?;
        }
        Ok(())
    }

    fn object(row: &Row) -> Result<Fields, String> {
        row.get_column_iter()
            .map(|(name, field)| Ok((name.clone(), value(name, field)?)))
            .collect()
    }

    fn value(name: &str, field: &Field) -> Result<Value, String> {
        Ok(match field {
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
            Field::Group(row) => Value::Object(object(row)?),
            Field::ListInternal(list) => list
                .elements()
                .iter()
                .map(|element| value(name, element))
                .collect::<Result<Vec<Value>, String>>()?
                .into(),
            _ => {
                return Err(format!(
                    "the column \"{name}\" holds neither text, numbers, lists nor groups"
                ));
            }
        })
    }
}
