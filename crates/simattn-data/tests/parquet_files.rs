//! Numbers in a Parquet file are held against its bytes before memory is asked for by them.
#![cfg(feature = "parquet")]

use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::{ByteArray, FixedLenByteArray};
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataWriter, RowGroupMetaData,
};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::record::Row;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, SchemaDescriptor};
use simattn_data::prepare::{Job, OnBadInput, prepare};
use simattn_data::{ParquetFile, Tokenizer};
use std::fs::File;
use std::io::{Seek, Write};
use std::sync::Arc;

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file.rewind().unwrap();
    file
}

/// The rows up to the first error.
fn rows(bytes: &[u8]) -> Result<Vec<Row>, String> {
    let file = ParquetFile::open(file_of(bytes)).map_err(|error| error.to_string())?;
    let mut all = Vec::new();
    for group in 0..file.num_groups() {
        let rows = file.rows(group, None).map_err(|error| error.to_string())?;
        for row in rows {
            all.push(row.map_err(|error| error.to_string())?);
        }
    }
    Ok(all)
}

const COLUMNS: &str = "message m {
    required binary a (UTF8);
    optional binary b (UTF8);
    required int32 i;
    optional int64 j;
    required float f;
    required double d;
    required boolean t;
    required fixed_len_byte_array(3) x;
    optional group l (LIST) { repeated group list { optional binary element (UTF8); } }
    repeated int32 r;
}";

/// Two groups of more rows than are read at once, with lists of none to many values.
fn healthy(settings: WriterPropertiesBuilder) -> Vec<u8> {
    const ROWS: usize = 2500;
    let schema = Arc::new(parse_message_type(COLUMNS).unwrap());
    let mut bytes = Vec::new();
    let settings = Arc::new(settings.set_data_page_row_count_limit(700).build());
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, settings).unwrap();
    let text = |at: usize| ByteArray::from(format!("text {}", at * at % 97).as_str());
    for _ in 0..2 {
        let mut group = writer.next_row_group().unwrap();
        let optional: Vec<i16> = (0..ROWS).map(|row| i16::from(row % 5 != 3)).collect();
        let there: Vec<usize> = (0..ROWS).filter(|row| row % 5 != 3).collect();
        // Lists of 0 to 6; the list itself is missing in every eleventh row, one of its values in
        // every seventh.
        let (mut defined, mut repeated, mut listed) = (Vec::new(), Vec::new(), Vec::new());
        let (mut defined_plain, mut numbers) = (Vec::new(), Vec::new());
        for row in 0..ROWS {
            let length = row % 7;
            for at in 0..length.max(1) {
                repeated.push(i16::from(at > 0));
                defined_plain.push(i16::from(length > 0));
                defined.push(match (row % 11, length, at) {
                    (0, ..) => 0,
                    (_, 0, _) => 1,
                    (_, _, 3) => 2,
                    _ => 3,
                });
                if defined.last() == Some(&3) {
                    listed.push(text(row + at));
                }
                if length > 0 {
                    numbers.push((row * at) as i32);
                }
            }
        }
        let mut name = 'a';
        while let Some(mut column) = group.next_column().unwrap() {
            match (column.untyped(), name) {
                (ColumnWriter::ByteArrayColumnWriter(column), 'a') => {
                    let values: Vec<_> = (0..ROWS).map(text).collect();
                    column.write_batch(&values, None, None)
                }
                (ColumnWriter::ByteArrayColumnWriter(column), 'b') => {
                    let values: Vec<_> = there.iter().map(|&row| text(row)).collect();
                    column.write_batch(&values, Some(&optional), None)
                }
                (ColumnWriter::Int32ColumnWriter(column), 'c') => {
                    let values: Vec<_> = (0..ROWS as i32).map(|row| row * 7 % 300).collect();
                    column.write_batch(&values, None, None)
                }
                (ColumnWriter::Int64ColumnWriter(column), 'd') => {
                    let values: Vec<_> = there.iter().map(|&row| row as i64 - 9).collect();
                    column.write_batch(&values, Some(&optional), None)
                }
                (ColumnWriter::FloatColumnWriter(column), 'e') => {
                    let values: Vec<_> = (0..ROWS).map(|row| row as f32 / 3.0).collect();
                    column.write_batch(&values, None, None)
                }
                (ColumnWriter::DoubleColumnWriter(column), 'f') => {
                    let values: Vec<_> = (0..ROWS).map(|row| (row % 50) as f64).collect();
                    column.write_batch(&values, None, None)
                }
                (ColumnWriter::BoolColumnWriter(column), 'g') => {
                    let values: Vec<_> = (0..ROWS).map(|row| row % 3 == 0).collect();
                    column.write_batch(&values, None, None)
                }
                (ColumnWriter::FixedLenByteArrayColumnWriter(column), 'h') => {
                    let values: Vec<_> = (0..ROWS)
                        .map(|row| FixedLenByteArray::from(vec![row as u8, 0, 1]))
                        .collect();
                    column.write_batch(&values, None, None)
                }
                (ColumnWriter::ByteArrayColumnWriter(column), 'i') => {
                    // What is missing with its list has one place.
                    let keep: Vec<usize> = (0..defined.len())
                        .filter(|&at| defined[at] > 0 || repeated[at] == 0)
                        .collect();
                    let defined: Vec<i16> = keep.iter().map(|&at| defined[at]).collect();
                    let repeated: Vec<i16> = keep.iter().map(|&at| repeated[at]).collect();
                    column.write_batch(&listed, Some(&defined), Some(&repeated))
                }
                (ColumnWriter::Int32ColumnWriter(column), 'j') => {
                    column.write_batch(&numbers, Some(&defined_plain), Some(&repeated))
                }
                _ => unreachable!("column {name}"),
            }
            .unwrap();
            column.close().unwrap();
            name = char::from(name as u8 + 1);
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
    bytes
}

#[test]
fn healthy_files_of_every_encoding_read_as_the_library_reads_them() {
    let encodings: [&[(&str, Encoding)]; 4] = [
        // By dictionary.
        &[],
        &[("a", Encoding::PLAIN)],
        &[
            ("a", Encoding::DELTA_BYTE_ARRAY),
            ("b", Encoding::DELTA_LENGTH_BYTE_ARRAY),
            ("i", Encoding::DELTA_BINARY_PACKED),
            ("j", Encoding::DELTA_BINARY_PACKED),
            ("f", Encoding::BYTE_STREAM_SPLIT),
            ("d", Encoding::BYTE_STREAM_SPLIT),
            ("t", Encoding::RLE),
            ("x", Encoding::DELTA_BYTE_ARRAY),
            ("l.list.element", Encoding::DELTA_BYTE_ARRAY),
            ("r", Encoding::DELTA_BINARY_PACKED),
        ],
        &[
            ("b", Encoding::DELTA_BYTE_ARRAY),
            ("x", Encoding::BYTE_STREAM_SPLIT),
            ("l.list.element", Encoding::DELTA_LENGTH_BYTE_ARRAY),
        ],
    ];
    let packings = [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ];
    for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
        for packing in packings {
            for encoding in encodings {
                let mut settings = WriterProperties::builder()
                    .set_writer_version(version)
                    .set_compression(packing)
                    .set_dictionary_enabled(encoding.is_empty());
                for (column, encoding) in encoding {
                    let parts = column.split('.').map(str::to_owned).collect();
                    settings = settings.set_column_encoding(ColumnPath::new(parts), *encoding);
                }
                let bytes = healthy(settings);
                let library = SerializedFileReader::new(file_of(&bytes)).unwrap();
                let expected: Vec<Row> = library
                    .get_row_iter(None)
                    .unwrap()
                    .map(Result::unwrap)
                    .collect();
                assert_eq!(expected.len(), 5000);
                let read = rows(&bytes);
                assert!(
                    read.as_ref() == Ok(&expected),
                    "{version:?} {packing} {encoding:?}: {:?}",
                    read.err()
                );
            }
        }
    }
}

/// Pages that grow about as much as their packing can make them.
#[test]
fn one_letter_over_and_over_is_no_damage() {
    for packing in [
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::try_new(9).unwrap()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::try_new(22).unwrap()),
    ] {
        let schema = Arc::new(parse_message_type("message m { required binary a; }").unwrap());
        let mut bytes = Vec::new();
        let settings = WriterProperties::builder()
            .set_compression(packing)
            .set_dictionary_enabled(false);
        let mut writer =
            SerializedFileWriter::new(&mut bytes, schema, Arc::new(settings.build())).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column
            .typed::<parquet::data_type::ByteArrayType>()
            .write_batch(&[ByteArray::from(vec![b'a'; 8 << 20])], None, None)
            .unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();
        assert_eq!(rows(&bytes).map(|rows| rows.len()), Ok(1), "{packing}");
    }
}

const PLAIN: i64 = 0;
const RLE: i64 = 3;
const DELTA_LENGTH_BYTE_ARRAY: i64 = 6;
const DELTA_BYTE_ARRAY: i64 = 7;
const RLE_DICTIONARY: i64 = 8;
const BYTE_STREAM_SPLIT: i64 = 9;

const HUGE: i64 = i32::MAX as i64;

fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}

/// Numbers that are fields one after the other, as Thrift writes them.
fn fields(numbers: &[i64]) -> Vec<u8> {
    let field = |&number: &i64| [vec![0x15], varint((number << 1 ^ number >> 63) as u64)].concat();
    numbers.iter().flat_map(field).collect()
}

/// A page: what its header says, and its bytes.
fn page(kind: i64, unpacked: i64, step: u8, numbers: &[i64], body: &[u8]) -> Vec<u8> {
    [
        fields(&[kind, unpacked, body.len() as i64]),
        vec![step << 4 | 12],
        fields(numbers),
        vec![0, 0],
        body.to_vec(),
    ]
    .concat()
}

fn dictionary(count: i64, body: &[u8]) -> Vec<u8> {
    page(2, body.len() as i64, 4, &[count, PLAIN], body)
}

fn data(count: i64, coded: i64, body: &[u8]) -> Vec<u8> {
    page(0, body.len() as i64, 2, &[count, coded, RLE, RLE], body)
}

/// Levels in front of a page's values.
fn levels(run: u64, level: u8) -> Vec<u8> {
    let run = [varint(run << 1), vec![level]].concat();
    [(run.len() as u32).to_le_bytes().to_vec(), run].concat()
}

/// A file of one column with these pages.
fn file(column: &str, packing: Compression, rows: i64, pages: &[u8]) -> Vec<u8> {
    let schema = parse_message_type(&format!("message m {{ {column} }}")).unwrap();
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let chunk = ColumnChunkMetaData::builder(schema.column(0))
        .set_compression(packing)
        .set_data_page_offset(4)
        .set_dictionary_page_offset(Some(4))
        .set_num_values(rows)
        .set_total_compressed_size(pages.len() as i64)
        .set_total_uncompressed_size(pages.len() as i64)
        .build()
        .unwrap();
    let group = RowGroupMetaData::builder(schema.clone())
        .set_num_rows(rows)
        .set_column_metadata(vec![chunk])
        .build()
        .unwrap();
    let about = FileMetaData::new(1, rows, None, None, schema, None);
    let metadata = ParquetMetaData::new(about, vec![group]);
    let mut bytes = [b"PAR1", pages].concat();
    ParquetMetaDataWriter::new(&mut bytes, &metadata)
        .finish()
        .unwrap();
    bytes
}

const TEXT: &str = "required binary text (UTF8);";
const LIST: &str = "repeated binary text (UTF8);";

#[track_caller]
fn refused(bytes: &[u8], said: &str) {
    let error = rows(bytes).map(|rows| rows.len()).unwrap_err();
    assert!(
        error.contains(said) && !error.contains("breaks off"),
        "{error}"
    );
}

#[test]
fn a_file_put_together_by_hand_is_read() {
    let none = Compression::UNCOMPRESSED;
    let dictionary = dictionary(2, b"\x01\0\0\0a\x01\0\0\0b");
    // Indices of one bit: three times the second value.
    let pages = [dictionary, data(3, RLE_DICTIONARY, &[1, 6, 1])].concat();
    assert_eq!(rows(&file(TEXT, none, 3, &pages)).unwrap().len(), 3);
}

/// 19 GB were asked for by a file of 1.6 kB.
#[test]
fn a_dictionary_that_names_more_values_than_its_bytes_hold() {
    let none = Compression::UNCOMPRESSED;
    for (column, body, count) in [
        (TEXT, &b"\x01\0\0\0a\x01\0\0\0b"[..], HUGE),
        ("required int32 n;", &[0; 12], 4),
        ("required int64 n;", &[0; 12], 2),
        ("required double n;", &[0; 24], HUGE),
        ("required int96 n;", &[0; 12], 2),
        ("required boolean n;", &[0; 1], 9),
        ("required fixed_len_byte_array(4) n;", &[0; 12], HUGE),
        ("required fixed_len_byte_array(0) n;", &[], HUGE),
    ] {
        let pages = [dictionary(count, body), data(3, RLE_DICTIONARY, &[1, 6, 1])].concat();
        let said = format!("does not hold the {count} values that it names");
        refused(&file(column, none, 3, &pages), &said);
    }

    // The same through `prepare`.
    let place = tempfile::tempdir().unwrap();
    let (input, out) = ([place.path().join("a.parquet")], place.path().join("out"));
    let pages = dictionary(HUGE, b"\x01\0\0\0a");
    std::fs::write(&input[0], file(TEXT, none, 3, &pages)).unwrap();
    let job = Job {
        inputs: &input,
        validation: &[],
        tokenizer: &Tokenizer::bytes(),
        out: &out,
        field: "text",
        validation_fraction: 0.0,
        seed: 1,
        shard_tokens: 1 << 20,
        on_bad_input: OnBadInput::Fail,
    };
    let error = prepare(&job, &mut ()).unwrap_err().to_string();
    assert!(error.contains("a.parquet:row 1: damaged"), "{error}");
    assert!(error.contains("names") && !out.exists(), "{error}");
}

#[test]
fn a_page_that_names_more_bytes_than_its_packed_ones_become() {
    for packing in [
        Compression::SNAPPY,
        Compression::GZIP(GzipLevel::default()),
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
    ] {
        let pages = page(0, HUGE, 2, &[3, PLAIN, RLE, RLE], &[0; 20]);
        let said = "a page of 20 packed bytes does not become the 2147483647 that it names";
        refused(&file(TEXT, packing, 3, &pages), said);
    }
    let pages = page(0, 12, 2, &[3, PLAIN, RLE, RLE], &[0; 20]);
    let bytes = file(
        TEXT,
        Compression::UNCOMPRESSED,
        3,
        &pages[..pages.len() - 1],
    );
    refused(&bytes, "a page of 20 bytes where 19 are left");
}

/// The library unpacks gzip to its end: a page of 2 MB could fill 2 GB.
#[test]
fn a_gzip_page_that_becomes_more_than_it_names() {
    use flate2::{Compression as Level, write::GzEncoder};
    // Noise, so that the page is large enough to be looked at.
    let mut state = 1_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(1_100_000)
    .collect();
    let mut packed = GzEncoder::new(Vec::new(), Level::fast());
    packed.write_all(&noise).unwrap();
    let packed = packed.finish().unwrap();
    let gzip = Compression::GZIP(GzipLevel::default());
    let pages = page(0, 1000, 2, &[3, PLAIN, RLE, RLE], &packed);
    refused(
        &file(TEXT, gzip, 3, &pages),
        "does not become the 1000 that it names",
    );
    // The second version has its levels in front, unpacked.
    let body = [&[2, 1, 2, 1], &packed[..]].concat();
    let pages = page(3, 1000, 5, &[3, 0, 3, PLAIN, 2, 2], &body);
    refused(
        &file(LIST, gzip, 3, &pages),
        "does not become the 1000 that it names",
    );
}

#[test]
fn a_page_that_lists_more_lengths_than_it_has_values() {
    let none = Compression::UNCOMPRESSED;
    // Blocks of 128 in 4 parts, then the count, the first length, and one block without
    // differences.
    let lengths = |count: u64, first: u64| {
        let head = [varint(128), varint(4), varint(count), varint(first << 1)].concat();
        [head, vec![0; 5]].concat()
    };
    let pages = data(3, DELTA_LENGTH_BYTE_ARRAY, &lengths(1 << 40, 1));
    refused(
        &file(TEXT, none, 3, &pages),
        "lists the lengths of 1099511627776",
    );
    let pages = data(3, DELTA_BYTE_ARRAY, &lengths(1 << 40, 1));
    refused(
        &file(TEXT, none, 3, &pages),
        "lists the lengths of 1099511627776",
    );
    let pages = [lengths(3, 0), lengths(1 << 40, 1)].concat();
    let pages = data(3, DELTA_BYTE_ARRAY, &pages);
    refused(
        &file(TEXT, none, 3, &pages),
        "lists the lengths of 1099511627776",
    );
    // As many as there are values, which are too many themselves.
    let pages = data(HUGE, DELTA_LENGTH_BYTE_ARRAY, &lengths(HUGE as u64, 0));
    refused(
        &file(TEXT, none, HUGE, &pages),
        "lists the lengths of 2147483647",
    );
    // Values that have a billion bytes in common with the ones before them.
    let pages = [lengths(3, 1 << 29), lengths(3, 1), b"abc".to_vec()].concat();
    let pages = data(3, DELTA_BYTE_ARRAY, &pages);
    refused(&file(TEXT, none, 3, &pages), "makes 1610612736 of them");
    // Of a healthy one nothing is refused.
    let pages = [lengths(3, 0), lengths(3, 1), b"abc".to_vec()].concat();
    let pages = data(3, DELTA_BYTE_ARRAY, &pages);
    assert_eq!(
        rows(&file(TEXT, none, 3, &pages)).map(|rows| rows.len()),
        Ok(3)
    );
}

#[test]
fn rows_that_hold_more_values_than_fit_into_memory() {
    let none = Compression::UNCOMPRESSED;
    let said = "hold more values than fit into memory at once";
    // One row of two billion missing values.
    let body = [levels(HUGE as u64, 1), levels(HUGE as u64, 0)].concat();
    refused(&file(LIST, none, 1, &data(HUGE, PLAIN, &body)), said);
    // A value of a megabyte, five thousand times in one row.
    let text = [&(1_u32 << 20).to_le_bytes()[..], &vec![b'a'; 1 << 20]].concat();
    let (first, rest) = (levels(1, 0), levels(4999, 1));
    let repeated = [&first[4..], &rest[4..]].concat();
    let body = [
        (repeated.len() as u32).to_le_bytes().to_vec(),
        repeated,
        levels(5000, 1),
        vec![1],
        varint(5000 << 1),
        vec![0],
    ]
    .concat();
    let pages = [dictionary(1, &text), data(5000, RLE_DICTIONARY, &body)].concat();
    refused(&file(LIST, none, 1, &pages), said);
    // Three values of a gigabyte each, of which the page holds nothing.
    let column = "required fixed_len_byte_array(1000000000) n;";
    refused(
        &file(column, none, 3, &data(3, BYTE_STREAM_SPLIT, &[])),
        said,
    );
    // Levels packed in bits, as nobody writes them any more.
    let body = [vec![0xff; 64 << 20], levels(512 << 20, 0)].concat();
    let numbers = [512 << 20, PLAIN, RLE, 4];
    let pages = page(0, body.len() as i64, 2, &numbers, &body);
    refused(&file(LIST, none, 1, &pages), said);
}

/// Beyond the end of an optional column the library gives rows without a value.
#[test]
fn a_group_that_names_more_rows_than_its_column_has() {
    let none = Compression::UNCOMPRESSED;
    let column = "optional binary text (UTF8);";
    let body = [levels(3, 1), b"\x01\0\0\0a\x01\0\0\0b\x01\0\0\0c".to_vec()].concat();
    let pages = data(3, PLAIN, &body);
    assert_eq!(
        rows(&file(column, none, 3, &pages)).map(|rows| rows.len()),
        Ok(3)
    );
    let said = "it has 3 rows of the 4611686018427387904 that its group names";
    refused(&file(column, none, 1 << 62, &pages), said);
    refused(&file(column, none, -1, &pages), "a group of -1 rows");
}

/// The library takes a page without values for the end of its column.
#[test]
fn rows_behind_a_page_without_values_are_read() {
    let none = Compression::UNCOMPRESSED;
    let one = data(1, PLAIN, b"\x01\0\0\0a");
    let pages = [&one[..], &data(0, PLAIN, b""), &one].concat();
    assert_eq!(
        rows(&file(TEXT, none, 2, &pages)).map(|rows| rows.len()),
        Ok(2)
    );
}

#[test]
fn a_structure_that_names_more_than_its_bytes_hold() {
    let none = Compression::UNCOMPRESSED;
    // A field that nobody knows: two billion truths, which the library counts one by one.
    let list = [vec![0x59, 0xf1], varint(HUGE as u64)].concat();
    let pages = [fields(&[0, 3, 3]), list, vec![0]].concat();
    refused(
        &file(TEXT, none, 3, &pages),
        "names 2147483647 bytes where 1 are left",
    );
    // A string where a page's size belongs.
    let pages = [fields(&[0]), vec![0x18, 1, b'a'], fields(&[3]), vec![0]].concat();
    refused(&file(TEXT, none, 3, &pages), "no numbers where they belong");
    // The same list at the end of the metadata, whose last byte is a zero.
    let whole = file(TEXT, none, 3, &data(3, PLAIN, b""));
    let end = whole.len() - 8;
    let length = u32::from_le_bytes(whole[end..][..4].try_into().unwrap());
    let deep = vec![0x1c; 100];
    for (more, said) in [
        (
            [vec![0xf9, 0xf1], varint(HUGE as u64)].concat(),
            "names 2147483647 bytes",
        ),
        (deep, "too deep"),
    ] {
        let mut bytes = whole[..end - 1].to_vec();
        bytes.extend(&more);
        bytes.push(0);
        bytes.extend((length + more.len() as u32).to_le_bytes());
        bytes.extend(b"PAR1");
        refused(&bytes, said);
    }
}

/// The library makes room for as many columns as one names within it, and goes down into them by
/// calling itself: the first asked for 16 GB, the second ended the process.
#[test]
fn a_tree_of_columns_that_is_too_wide_or_too_deep() {
    let column = |children: i64| {
        // Repetition, name and children.
        let fields = [vec![0x35, 0, 0x18, 1, b'a'], fields(&[children]), vec![0]];
        fields.concat()
    };
    let metadata = |columns: Vec<Vec<u8>>| {
        let list = [vec![0x19, 0xfc], varint(columns.len() as u64)].concat();
        // No rows and no groups of them.
        let metadata = [
            fields(&[1]),
            list,
            columns.concat(),
            vec![0x16, 0, 0x19, 0x0c, 0],
        ];
        let metadata = metadata.concat();
        let length = (metadata.len() as u32).to_le_bytes();
        [b"PAR1", &metadata[..], &length, b"PAR1"].concat()
    };
    assert_eq!(
        rows(&metadata(vec![column(2), column(0), column(1), column(0)])),
        Ok(vec![])
    );
    refused(
        &metadata(vec![column(HUGE), column(0)]),
        "names 2147483647 others",
    );
    let mut deep = vec![column(1); 50_000];
    deep.push(column(0));
    refused(&metadata(deep), "nested too deep");
    // Beside each other they are as many as they like.
    let mut wide = vec![column(3000)];
    wide.extend(vec![column(0); 3000]);
    assert_eq!(rows(&metadata(wide)), Ok(vec![]));
}
