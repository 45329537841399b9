//! One reader for all who take text: `prepare`, training and evaluation.
//!
//! [`find`] says which files stand behind a path and what they are, [`read`] gives their documents
//! to a [`Sink`], a piece at a time, so that no file needs to fit into memory.

mod binary;
mod content;
mod error;
mod file_id;
mod find;
mod format;
mod gzip;
mod input_file;
mod jsonl;
mod kind;
mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod pattern;
mod place;
mod sink;
mod stream;
mod text;
mod zstandard;

pub(crate) use content::{Contents, content_key};
pub(crate) use error::ReadError;
pub(crate) use file_id::FileId;
pub use find::PassedOver;
pub(crate) use find::{Found, find};
pub(crate) use format::{Format, Packing};
pub(crate) use input_file::InputFile;
pub(crate) use place::Place;
pub(crate) use sink::{Sink, Stop};
pub(crate) use text::{SEPARATOR, whole};

use lines::Lines;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// The field of JSON lines, or the column of Parquet files, that holds the text where nobody names
/// another.
pub const TEXT_FIELD: &str = "text";

/// Gives the documents of a file, from `from` on, to `sink`. `taken` is increased by the bytes that
/// are read from the disk.
pub(crate) fn read(
    input: &InputFile,
    from: Place,
    field: &str,
    taken: &Arc<AtomicU64>,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    if input.format == Format::Parquet {
        return parquet(input, from, field, taken, sink);
    }
    let stream = stream::open(&input.path, input.packing, from.offset, taken.clone()).map_err(
        |error| match error.kind() {
            ErrorKind::UnexpectedEof => ReadError::input(
                &input.path,
                "it ends before the place recorded in prepare.json; put the file back as it was, \
                 or remove the folder and begin again",
            ),
            _ => ReadError::opening(&input.path, &error),
        },
    )?;
    let lines = Lines::new(stream, from.offset, from.line);
    match input.format {
        Format::JsonLines => jsonl::read(input, from.file, field, lines, sink),
        _ => text::read(input, from.file, lines, sink),
    }
}

#[cfg(feature = "parquet")]
use parquet::read as parquet;

#[cfg(not(feature = "parquet"))]
fn parquet(
    input: &InputFile,
    _: Place,
    _: &str,
    _: &Arc<AtomicU64>,
    _: &mut dyn Sink,
) -> Result<(), Stop> {
    Err(Stop::Error(ReadError::input(
        &input.path,
        "this program was built without Parquet; build it with --features parquet, \
         or convert the file to JSON lines",
    )))
}
