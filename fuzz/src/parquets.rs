//! Parquet files, for seeds.

use std::sync::Arc;

use parquet::basic::{Compression, Encoding};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, ByteArrayType, FixedLenByteArray, Int64Type, Int96};
use parquet::file::properties::{WriterProperties, WriterVersion};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};

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

/// A column of each kind, by the name that a row has of it.
const KINDS: &str = "message schema {
    required binary text (UTF8);
    required binary raw;
    required group group { required boolean truth; optional int32 byte (INT_8); }
    required int32 short (INT_16);
    required int32 date (DATE);
    required int32 ubyte (UINT_8);
    required int32 ushort (UINT_16);
    required int32 uint (UINT_32);
    required int64 ulong (UINT_64);
    required int64 long;
    required int32 int;
    required float float;
    required double double;
    required fixed_len_byte_array(3) fixed;
    required int96 moment;
    repeated int32 list;
}";

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Dictionary,
    Plain,
    /// As differences; of texts, their lengths.
    Deltas,
    /// Texts as what they do not share with the one before.
    Suffixes,
    /// Byte for byte, the first of all, then the second of all.
    Split,
}

impl Coding {
    pub const ALL: [Self; 5] = [
        Self::Dictionary,
        Self::Plain,
        Self::Deltas,
        Self::Suffixes,
        Self::Split,
    ];

    /// `None`: as the writer chooses.
    fn of(self, column: &str) -> Option<Encoding> {
        let text = matches!(
            column,
            "text"
                | "raw"
                | "answerKey"
                | "choices.text.list.element"
                | "choices.label.list.element"
        );
        let number = matches!(column, "year" | "long" | "int" | "list" | "short");
        match self {
            Self::Deltas if text => Some(Encoding::DELTA_LENGTH_BYTE_ARRAY),
            Self::Deltas if number => Some(Encoding::DELTA_BINARY_PACKED),
            Self::Suffixes if text || column == "fixed" => Some(Encoding::DELTA_BYTE_ARRAY),
            Self::Split if number || matches!(column, "float" | "double" | "fixed") => {
                Some(Encoding::BYTE_STREAM_SPLIT)
            }
            _ => None,
        }
    }
}

fn settings(compression: Compression, version: WriterVersion, coding: Coding) -> WriterProperties {
    let mut settings = WriterProperties::builder()
        .set_compression(compression)
        .set_writer_version(version)
        .set_dictionary_enabled(coding == Coding::Dictionary);
    for column in [
        "text",
        "raw",
        "answerKey",
        "choices.text.list.element",
        "choices.label.list.element",
        "year",
        "long",
        "int",
        "list",
        "short",
        "float",
        "double",
        "fixed",
    ] {
        if let Some(encoding) = coding.of(column) {
            let path = ColumnPath::new(column.split('.').map(str::to_owned).collect());
            settings = settings.set_column_encoding(path, encoding);
        }
    }
    settings.build()
}

/// A few rows with a column of each kind.
///
/// # Panics
/// Where the writer refuses it.
pub fn kinds(version: WriterVersion, coding: Coding) -> Vec<u8> {
    const ROWS: usize = 3;
    let schema = Arc::new(parse_message_type(KINDS).expect("a schema"));
    let described = SchemaDescriptor::new(schema.clone());
    let mut columns = described.columns().iter();
    let settings = settings(Compression::UNCOMPRESSED, version, coding);
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::new(settings)).expect("a schema");
    let mut group = writer.next_row_group().expect("memory");
    // Levels are taken where a column has them: a value each, in lists two a row.
    let (defined, repeated) = ([1; 2 * ROWS], [0, 1].repeat(ROWS));
    while let Some(mut column) = group.next_column().expect("memory") {
        let levels = columns.next().expect("as many columns");
        let lists = levels.max_rep_level() > 0;
        let count = if lists { 2 * ROWS } else { ROWS };
        let defined = (levels.max_def_level() > 0).then_some(&defined[..count]);
        let repeated = lists.then_some(&repeated[..]);
        match column.untyped() {
            ColumnWriter::BoolColumnWriter(column) => {
                column.write_batch(&vec![true; count], defined, repeated)
            }
            ColumnWriter::Int32ColumnWriter(column) => {
                column.write_batch(&vec![7; count], defined, repeated)
            }
            ColumnWriter::Int64ColumnWriter(column) => {
                column.write_batch(&vec![7; count], defined, repeated)
            }
            ColumnWriter::Int96ColumnWriter(column) => {
                column.write_batch(&vec![Int96::from(vec![1, 2, 3]); count], defined, repeated)
            }
            ColumnWriter::FloatColumnWriter(column) => {
                column.write_batch(&vec![0.5; count], defined, repeated)
            }
            ColumnWriter::DoubleColumnWriter(column) => {
                column.write_batch(&vec![0.5; count], defined, repeated)
            }
            ColumnWriter::ByteArrayColumnWriter(column) => {
                let values: Vec<_> = (0..count)
                    .map(|at| ByteArray::from(format!("text {at}").as_str()))
                    .collect();
                column.write_batch(&values, defined, repeated)
            }
            ColumnWriter::FixedLenByteArrayColumnWriter(column) => {
                let values = vec![FixedLenByteArray::from(vec![1, 2, 3]); count];
                column.write_batch(&values, defined, repeated)
            }
        }
        .expect("memory");
        column.close().expect("memory");
    }
    group.close().expect("memory");
    writer.close().expect("memory");
    file
}

/// Two groups of rows; every third text is missing where there are `holes`.
///
/// # Panics
/// Where the writer refuses it.
pub fn questions(
    compression: Compression,
    version: WriterVersion,
    coding: Coding,
    holes: bool,
) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(SCHEMA).expect("a schema"));
    let settings = settings(compression, version, coding);
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
