//! Parquet files, for seeds.

use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

/// The layout of the published ARC, whose text is a column beside nested ones.
const SCHEMA: &str = "message schema {
    optional binary text (UTF8);
    optional group choices {
        optional group text (LIST) { repeated group list { optional binary element (UTF8); } }
        optional group label (LIST) { repeated group list { optional binary element (UTF8); } }
    }
    optional binary answerKey (UTF8);
    optional int64 year;
}";

/// Two groups of rows; every third text is missing where there are `holes`.
///
/// # Panics
/// Where the writer refuses it.
pub fn questions(compression: Compression, version: WriterVersion, holes: bool) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let settings = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .build();
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::new(settings)).expect("a schema");
    for _ in 0..2 {
        group(&mut writer, holes);
    }
    writer.close().expect("memory");
    file
}

fn group(writer: &mut SerializedFileWriter<&mut Vec<u8>>, holes: bool) {
    const ROWS: usize = 5;
    let mut group = writer.next_row_group().expect("memory");
    let there: Vec<i16> = (0..ROWS)
        .map(|row| i16::from(!holes || row % 3 != 2))
        .collect();
    let count = there.iter().filter(|&&there| there == 1).count();
    // Definition 4: nothing on the way to an element is missing. Repetition 0 begins a row.
    let (defined, repeated) = (vec![4; 2 * ROWS], [0, 1].repeat(ROWS));
    let nested = (Some(&defined[..]), Some(&repeated[..]));
    let columns = [
        (
            vec![ByteArray::from("Once upon a time\n"); count],
            (Some(&there[..]), None),
        ),
        (vec![ByteArray::from("day"); 2 * ROWS], nested),
        (
            ["A", "B"]
                .repeat(ROWS)
                .into_iter()
                .map(ByteArray::from)
                .collect(),
            nested,
        ),
        (
            vec![ByteArray::from("B"); ROWS],
            (Some(&[1; ROWS][..]), None),
        ),
    ];
    for (values, (defined, repeated)) in columns {
        let mut column = group.next_column().expect("memory").expect("a column");
        let typed = column.typed::<ByteArrayType>();
        typed
            .write_batch(&values, defined, repeated)
            .expect("memory");
        column.close().expect("memory");
    }
    let mut column = group.next_column().expect("memory").expect("a column");
    let typed = column.typed::<Int64Type>();
    typed
        .write_batch(&[2000; ROWS], Some(&[1; ROWS]), None)
        .expect("memory");
    column.close().expect("memory");
    group.close().expect("memory");
}
