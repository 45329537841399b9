//! Documents of plain text.

use super::Place;
use super::error::PrepareError;
use super::feed::{Feed, Stop};
use super::inputs::{InputFile, Packing};
use super::lines::Lines;
use super::pieces::LARGEST;
use crate::documents::SEPARATOR;
use std::io;

/// Reads a file of text: one document, or several between lines that hold only `<|endoftext|>`. Nothing is changed, but for a
/// byte-order mark, which is dropped. A line that is not UTF-8 is bad.
pub(super) fn read(
    input: &InputFile,
    file: usize,
    mut lines: Lines,
    feed: &mut Feed,
) -> Result<(), Stop> {
    let mut buffer = Vec::new();
    // Whether the line goes on from the last round, and whether it is being left out.
    let (mut inside, mut bad) = (false, false);
    loop {
        let whole = match lines.read(&mut buffer, LARGEST) {
            Ok(Some(whole)) => whole,
            Ok(None) => break,
            Err(error) => {
                unpacking(input, &lines, error, feed)?;
                break;
            }
        };
        let number = lines.line + u64::from(!whole);
        if !inside && lines.offset == buffer.len() as u64 && buffer.starts_with(b"\xef\xbb\xbf") {
            buffer.drain(..3);
        }
        if whole && !inside && buffer.trim_ascii_end() == SEPARATOR.as_bytes() {
            let (offset, line) = (lines.offset, lines.line);
            feed.end(Place { file, offset, line })?;
            buffer.clear();
            continue;
        }
        let mut kept = Vec::new();
        if !bad {
            match std::str::from_utf8(&buffer) {
                Ok(text) => feed.text(text)?,
                // A character that the limit cut in two.
                Err(error) if error.error_len().is_none() && !whole => {
                    kept = buffer.split_off(error.valid_up_to());
                    feed.text(std::str::from_utf8(&buffer).unwrap_or_default())?;
                }
                Err(error) => {
                    let problem =
                        format!("not UTF-8 at byte {} of the line", error.valid_up_to() + 1);
                    feed.bad(&input.path, "", number, problem)?;
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
        feed.bad(&input.path, "", lines.line + 1, problem)?;
    }
    feed.end(Place {
        file: file + 1,
        ..Place::default()
    })
}

/// Damage of a packed file is bad input, after which nothing of it can be read; anything else broke on the way.
pub(super) fn unpacking(
    input: &InputFile,
    lines: &Lines,
    error: io::Error,
    feed: &mut Feed,
) -> Result<(), Stop> {
    let damage = matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::UnexpectedEof
    );
    if input.packing == Packing::None || !damage {
        return Err(PrepareError::system(&input.path, &error).into());
    }
    let problem = format!("the packed file is damaged from here on ({error})");
    feed.bad(&input.path, "", lines.line + 1, problem)
}
