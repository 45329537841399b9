//! Documents of Parquet files.

use super::{InputFile, Place, ReadError, Sink, Stop};
use crate::parquet_file::ParquetFile;
use parquet::errors::ParquetError;
use parquet::record::Field;
use parquet::schema::types::Type;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Reads a file whose text is the string column `column`, one document a row; a row without text is
/// bad.
pub(super) fn read(
    input: &InputFile,
    from: Place,
    column: &str,
    taken: &Arc<AtomicU64>,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    let wrong = |problem: String| Stop::Error(ReadError::input(&input.path, problem));
    let file = File::open(&input.path).map_err(|error| ReadError::opening(&input.path, &error))?;
    let reader = match ParquetFile::open(file) {
        Ok(reader) => reader,
        Err(error) => {
            let problem = format!("not a Parquet file ({error})");
            return sink.bad(&input.path, "row ", 1, problem);
        }
    };
    let schema = reader.schema();
    let Some(field) = schema
        .get_fields()
        .iter()
        .find(|field| field.name() == column)
    else {
        let names: Vec<&str> = schema
            .get_fields()
            .iter()
            .map(|field| field.name())
            .collect();
        return Err(wrong(format!(
            "no column \"{column}\"; choose one of {} with --field",
            names.join(", ")
        )));
    };
    let only = Type::group_type_builder(schema.name())
        .with_fields(vec![field.clone()])
        .build()
        .map_err(|error| wrong(error.to_string()))?;
    let rows: u64 = reader.num_rows().max(1) as u64;
    if from.offset > rows {
        let problem = "it ends before the place that prepare.json tells of; put the file back as \
                       it was, or remove the folder and begin again";
        return Err(wrong(problem.to_owned()));
    }
    let before = taken.load(Ordering::Relaxed);
    let mut row: u64 = 0;
    for group in 0..reader.num_groups() {
        let in_group = reader.num_rows_in(group);
        // A negative number is damage, which reading the group finds.
        let in_group = u64::try_from(in_group).unwrap_or(0);
        let behind = row.saturating_add(in_group);
        if in_group > 0 && behind <= from.offset {
            row = behind;
            continue;
        }
        let records = match reader.rows(group, Some(only.clone())) {
            Ok(records) => records,
            Err(error) => {
                not_read(input, &error)?;
                sink.bad(&input.path, "row ", row + 1, format!("damaged ({error})"))?;
                row = behind;
                continue;
            }
        };
        for record in records {
            row += 1;
            if row <= from.offset {
                continue;
            }
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    not_read(input, &error)?;
                    // The reader cannot find its place in the group again.
                    sink.bad(&input.path, "row ", row, format!("damaged ({error})"))?;
                    break;
                }
            };
            match record.get_column_iter().next().map(|(_, field)| field) {
                Some(Field::Str(text)) => {
                    sink.text(text)?;
                    sink.end(Place {
                        file: from.file,
                        offset: row,
                        line: row,
                    })?;
                }
                Some(Field::Null) | None => {
                    sink.bad(
                        &input.path,
                        "row ",
                        row,
                        format!("no text in column \"{column}\""),
                    )?;
                }
                Some(_) => {
                    return Err(wrong(format!(
                        "the column \"{column}\" does not hold strings"
                    )));
                }
            }
            let share = u128::from(input.bytes) * u128::from(row.min(rows)) / u128::from(rows);
            taken.store(before + share as u64, Ordering::Relaxed);
        }
        // Also where the group was given up: a place means the same row on the next reading.
        row = behind;
    }
    Ok(())
}

/// Refuses what is not damaged but written in a way that is not read, whatever is to be passed
/// over.
fn not_read(input: &InputFile, error: &ParquetError) -> Result<(), Stop> {
    let problem = error.to_string();
    let refused = matches!(error, ParquetError::NYI(_)) || problem.contains("Disabled feature");
    if refused {
        Err(ReadError::input(
            &input.path,
            format!(
                "written in a way that is not read ({problem}); write it again, with snappy, zstd \
                 or gzip"
            ),
        )
        .into())
    } else {
        Ok(())
    }
}
