//! What a file is: by its name, and where that leaves it open, by its first lines.

use super::binary::is_binary;
use super::format::{Format, Packing};
use super::jsonl::{LONGEST, is_object, text_of};
use super::lines::Lines;
use super::{ReadError, stream};
use std::fs::FileType;
use std::path::Path;
use std::sync::Arc;

/// What is to be done with a file.
#[derive(Debug)]
pub(super) enum Kind {
    /// It is read.
    Read(Format, Packing),
    /// Known to hold no text.
    Binary,
    /// It may hold text, but not in a way that is read: why, and what to do.
    Unread(String),
}

/// Packings that are not read. What is in them may well be text.
const OTHER_PACKINGS: &[&str] = &[
    "7z", "br", "bz2", "lz4", "lzma", "rar", "tar", "tgz", "xz", "z", "zip",
];

/// What the file at `path` is. The text is looked for in `field`.
pub(super) fn of(path: &Path, field: &str) -> Result<Kind, ReadError> {
    let packing = match extension(path).as_deref() {
        Some("gz" | "gzip") => Packing::Gzip,
        Some("zst" | "zstd") => Packing::Zstandard,
        Some(other) if OTHER_PACKINGS.contains(&other) => {
            let problem = "compressed in an unsupported way; decompress it, or use .gz or .zst";
            return Ok(Kind::Unread(problem.to_owned()));
        }
        _ => Packing::None,
    };
    let inner = match packing {
        Packing::None => path.to_owned(),
        _ => path.with_extension(""),
    };
    Ok(match extension(&inner).as_deref() {
        Some("jsonl" | "ndjson") => Kind::Read(Format::JsonLines, packing),
        Some("json") => match no_json_lines(path, packing, field)? {
            None => Kind::Read(Format::JsonLines, packing),
            Some(problem) => Kind::Unread(problem),
        },
        Some("parquet") if packing == Packing::None => Kind::Read(Format::Parquet, packing),
        Some("parquet" | "tar") if packing != Packing::None => {
            Kind::Unread("compressed twice; decompress it first".to_owned())
        }
        _ if is_binary(&inner) => Kind::Binary,
        _ => Kind::Read(Format::Text, packing),
    })
}

/// Why a `.json` file is not JSON lines; `None` where it is. The first line decides: an object that
/// ends with it, and that has the field where it is the only one.
fn no_json_lines(path: &Path, packing: Packing, field: &str) -> Result<Option<String>, ReadError> {
    let stream = stream::open(path, packing, 0, Arc::default())
        .map_err(|error| ReadError::opening(path, &error))?;
    let mut lines = Lines::new(stream, 0, 0);
    let Some(first) = next(&mut lines) else {
        return Ok(None);
    };
    let line = first.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&first);
    let text = text_of(line, field);
    let whole = is_object(line);
    let what = match line.trim_ascii_start().first() {
        Some(b'[') => "a JSON list",
        Some(b'{') if !whole => "a JSON object over several lines",
        Some(b'{') if text.is_err() && next(&mut lines).is_none() => {
            return Ok(Some(format!(
                "a single JSON object without a text in \"{field}\"; for JSON lines, write one \
                 object per line, each with that field"
            )));
        }
        Some(b'{') => return Ok(None),
        _ => "no JSON object",
    };
    Ok(Some(format!(
        "{what}, not JSON lines; write one object per line, each with the field \"{field}\""
    )))
}

/// The next line that is not blank; `None` at the end, and where it cannot be read, which will be
/// said by who reads on.
fn next(lines: &mut Lines) -> Option<Vec<u8>> {
    let mut line = Vec::new();
    while let Ok(Some(true)) = lines.read(&mut line, LONGEST) {
        let start = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
        if !start.trim_ascii().is_empty() {
            return Some(line);
        }
        line.clear();
    }
    None
}

/// What is no regular file, with what to do.
pub(super) fn special(kind: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe, which can be read only once; write its output to a file";
        }
        if kind.is_socket() {
            return "a socket, not a file; give a file with text in it";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device, not a file; give a file with text in it";
        }
    }
    let _ = kind;
    "not a regular file; give a file with text in it"
}

/// In lower case.
fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}
