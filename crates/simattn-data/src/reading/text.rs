//! Documents of plain text.

use super::lines::Lines;
use super::{InputFile, Packing, Place, ReadError, Sink, Stop, stream};
use crate::error::DataError;
use std::io::{self, ErrorKind, Read};
use std::sync::Arc;

/// The line that separates documents in a file.
pub(crate) const SEPARATOR: &str = "<|endoftext|>";

/// Bytes of a line that are handed on before its end is known.
const LARGEST: usize = 1 << 20;

/// Reads a file of text: one document, or several between lines that hold only `<|endoftext|>`.
/// Nothing is changed, but for a byte-order mark, which is dropped. A line that is not UTF-8 is
/// bad.
pub(super) fn read(
    input: &InputFile,
    file: usize,
    mut lines: Lines,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    let mut buffer = Vec::new();
    // Whether the line continues from the last round, and whether it is being left out.
    let (mut inside, mut bad) = (false, false);
    loop {
        let whole = match lines.read(&mut buffer, LARGEST) {
            Ok(Some(whole)) => whole,
            Ok(None) => break,
            Err(error) => {
                unpacking(input, &lines, error, sink)?;
                break;
            }
        };
        let number = lines.line + u64::from(!whole);
        if !inside && lines.offset == buffer.len() as u64 && buffer.starts_with(b"\xef\xbb\xbf") {
            buffer.drain(..3);
        }
        if whole && !inside && buffer.trim_ascii_end() == SEPARATOR.as_bytes() {
            let (offset, line) = (lines.offset, lines.line);
            sink.end(Place { file, offset, line })?;
            buffer.clear();
            continue;
        }
        let mut kept = Vec::new();
        if !bad {
            match std::str::from_utf8(&buffer) {
                Ok(text) => sink.text(text)?,
                // A character that the limit cut in two.
                Err(error) if error.error_len().is_none() && !whole => {
                    kept = buffer.split_off(error.valid_up_to());
                    sink.text(std::str::from_utf8(&buffer).unwrap_or_default())?;
                }
                Err(error) => {
                    let problem =
                        format!("not UTF-8 at byte {} of the line", error.valid_up_to() + 1);
                    sink.bad(&input.path, "", number, problem)?;
                    bad = true;
                }
            }
        }
        buffer = kept;
        inside = !whole;
        bad &= inside;
    }
    if !buffer.is_empty() && !bad {
        let problem = "it ends within a character".to_owned();
        sink.bad(&input.path, "", lines.line + 1, problem)?;
    }
    sink.end(Place {
        file: file + 1,
        ..Place::default()
    })
}

/// Damage of a packed file is bad input, after which nothing of it can be read. A healthy one that
/// cannot be read is refused whatever is to be passed over; anything else broke on the way.
pub(super) fn unpacking(
    input: &InputFile,
    lines: &Lines,
    error: io::Error,
    sink: &mut dyn Sink,
) -> Result<(), Stop> {
    if error.kind() == ErrorKind::Unsupported {
        return Err(ReadError::input(&input.path, error.to_string()).into());
    }
    if input.packing == Packing::None || !is_damage(&error) {
        return Err(ReadError::system(&input.path, &error).into());
    }
    sink.bad(&input.path, "", lines.line + 1, damaged(&error))
}

fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof
    )
}

fn damaged(error: &io::Error) -> String {
    format!("the packed file is damaged from here on ({error})")
}

/// All of a file of text, unpacked, without its byte-order mark.
pub(crate) fn whole(input: &InputFile) -> Result<String, DataError> {
    let path = &input.path;
    let mut stream = stream::open(path, input.packing, 0, Arc::default())
        .map_err(|error| ReadError::opening(path, &error))?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).map_err(|error| {
        let packed = input.packing != Packing::None;
        match error.kind() {
            ErrorKind::Unsupported => ReadError::input(path, error.to_string()),
            _ if packed && is_damage(&error) => ReadError::input(path, damaged(&error)),
            _ => ReadError::system(path, &error),
        }
    })?;
    let mut text = String::from_utf8(bytes).map_err(|error| DataError::InvalidUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    if text.starts_with('\u{feff}') {
        text.drain(..'\u{feff}'.len_utf8());
    }
    Ok(text)
}
