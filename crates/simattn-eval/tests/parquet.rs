//! A task's data in Parquet are the items that the same data in JSON lines are.
#![cfg(feature = "parquet")]

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use simattn_eval::{EvalError, Task, tasks};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// The layout of the published ARC: a group of two lists between two texts, and a number that no
/// task asks for.
const SCHEMA: &str = "message schema {
    optional binary question (UTF8);
    optional group choices {
        optional group text (LIST) { repeated group list { optional binary element (UTF8); } }
        optional group label (LIST) { repeated group list { optional binary element (UTF8); } }
    }
    optional binary answerKey (UTF8);
    optional int64 year;
}";

fn texts(values: &[&str]) -> Vec<ByteArray> {
    values.iter().map(|&value| ByteArray::from(value)).collect()
}

/// A question, its choices, and the label of the right one.
type Question = (&'static str, [&'static str; 3], &'static str);

fn write(path: &Path, questions: &[Question]) {
    let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
    let properties = Arc::new(WriterProperties::new());
    let mut writer =
        SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let rows = questions.len();
    // Definition 4: nothing on the way to an element is missing. Repetition 0 begins a row.
    let (defined, repeated) = (vec![4; 3 * rows], [0, 1, 1].repeat(rows));
    let of = |part: fn(&Question) -> Vec<ByteArray>| -> Vec<ByteArray> {
        questions.iter().flat_map(part).collect()
    };
    let columns = [
        of(|(question, _, _)| texts(&[question])),
        of(|(_, choices, _)| texts(choices)),
        of(|_| texts(&["A", "B", "C"])),
        of(|(_, _, key)| texts(&[key])),
    ];
    for values in columns {
        let mut column = group.next_column().unwrap().unwrap();
        let typed = column.typed::<ByteArrayType>();
        if values.len() == rows {
            typed.write_batch(&values, Some(&vec![1; rows]), None)
        } else {
            typed.write_batch(&values, Some(&defined), Some(&repeated))
        }
        .unwrap();
        column.close().unwrap();
    }
    let mut column = group.next_column().unwrap().unwrap();
    let typed = column.typed::<Int64Type>();
    typed
        .write_batch(&vec![2018; rows], Some(&vec![1; rows]), None)
        .unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
}

#[test]
fn rows_are_the_objects_that_they_stand_for() {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let arc = Task::named("arc_easy", &tasks()).unwrap();
    write(
        &at("arc_easy_test.parquet"),
        &[
            ("Why?", ["é", "", "c"], "C"),
            ("Who?", ["x", "y", "z"], "A"),
        ],
    );
    fs::write(
        at("same.jsonl"),
        r#"{"question":"Why?","choices":{"text":["é","","c"],"label":["A","B","C"]},"answerKey":"C","year":2018}
{"question":"Who?","choices":{"text":["x","y","z"],"label":["A","B","C"]},"answerKey":"A","year":2018}
"#,
    )
    .unwrap();
    let found = arc.items(&arc.file_in(place.path()).unwrap()).unwrap();
    assert_eq!(found, arc.items(&at("same.jsonl")).unwrap());
    assert_eq!(found[0].gold, Some(2));

    // The second row's key is none of its labels; a file that is no Parquet; one cut short.
    write(
        &at("wrong.parquet"),
        &[
            ("Why?", ["a", "b", "c"], "C"),
            ("Who?", ["x", "y", "z"], "D"),
        ],
    );
    let error = arc.items(&at("wrong.parquet")).unwrap_err();
    assert!(matches!(error, EvalError::Row { row: 2, .. }), "{error}");
    let whole = fs::read(at("wrong.parquet")).unwrap();
    for (name, bytes) in [
        ("cut.parquet", &whole[..whole.len() / 2]),
        ("text.parquet", b"question"),
    ] {
        fs::write(at(name), bytes).unwrap();
        let error = arc.items(&at(name)).unwrap_err();
        assert!(error.to_string().contains("not a Parquet file"), "{error}");
    }
}

/// A column of a negative length, for one: the library's own check of it is a panic.
#[test]
fn damaged_metadata_of_a_parquet_file_breaks_nothing_off() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("arc_easy_test.parquet");
    write(&path, &[("Why?", ["a", "b", "c"], "C")]);
    let arc = Task::named("arc_easy", &tasks()).unwrap();
    let whole = fs::read(&path).unwrap();
    // The metadata, its length in four bytes, four of magic.
    let end = whole.len() - 8;
    let length = u32::from_le_bytes(whole[end..end + 4].try_into().unwrap()) as usize;
    let mut broken_off = 0;
    for at in end - length..end {
        let mut damaged = whole.clone();
        // In these numbers the last bit is the sign.
        damaged[at] ^= 1;
        fs::write(&path, damaged).unwrap();
        if let Err(error) = arc.items(&path) {
            broken_off += usize::from(error.to_string().contains("breaks off"));
        }
    }
    assert!(broken_off > 0, "the test reaches no panic of the library");
}

/// The library asks for as much memory as a dictionary names values.
#[test]
fn a_dictionary_that_names_more_values_than_its_bytes_hold() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("arc_easy_test.parquet");
    write(&path, &[("Why?", ["a", "b", "c"], "C")]);
    let arc = Task::named("arc_easy", &tasks()).unwrap();
    let mut bytes = fs::read(&path).unwrap();
    // The header's field of a dictionary, a structure whose first number is 3; then it is 63.
    let header = [0x4c, 0x15, 6];
    let at = bytes.windows(3).position(|bytes| bytes == header).unwrap();
    bytes[at + 2] = 126;
    fs::write(&path, bytes).unwrap();
    let error = arc.items(&path).unwrap_err();
    assert!(matches!(error, EvalError::Row { row: 1, .. }), "{error}");
    assert!(
        error.to_string().contains("does not hold the 63 values"),
        "{error}"
    );
}
