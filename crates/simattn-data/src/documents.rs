//! Documents from files.
//!
//! The rules are told where users meet them: `Corpus::from_path`.

use crate::error::DataError;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// A piece of text that stays in one piece: it is wholly trained on or wholly held out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it came from: a path, with `#` and a number when the file holds several.
    pub name: String,
    /// The text.
    pub text: String,
}

/// The line that separates documents in a file.
pub(crate) const SEPARATOR: &str = "<|endoftext|>";

/// Extensions of files that are passed over in folders, in lower case.
const BINARY: &[&str] = &[
    "7z",
    "a",
    "avi",
    "avif",
    "bin",
    "bmp",
    "br",
    "bz2",
    "class",
    "ckpt",
    "db",
    "dll",
    "dmg",
    "doc",
    "docx",
    "dylib",
    "eps",
    "epub",
    "exe",
    "flac",
    "gguf",
    "gif",
    "gz",
    "h5",
    "ico",
    "iso",
    "jar",
    "jpeg",
    "jpg",
    "lz4",
    "mkv",
    "mobi",
    "mov",
    "mp3",
    "mp4",
    "mpk",
    "npy",
    "npz",
    "o",
    "odt",
    "ogg",
    "onnx",
    "otf",
    "parquet",
    "pdf",
    "pickle",
    "pkl",
    "png",
    "ppt",
    "pptx",
    "ps",
    "pt",
    "pth",
    "pyc",
    "rar",
    "rlib",
    "safetensors",
    "so",
    "sqlite",
    "tar",
    "tgz",
    "tif",
    "tiff",
    "ttf",
    "wasm",
    "wav",
    "webm",
    "webp",
    "whl",
    "woff",
    "woff2",
    "xls",
    "xlsx",
    "xz",
    "zip",
    "zst",
];

/// The documents at a path, at least one, in the order of the text: for evaluation on all of it. What counts as a
/// document is told at [`Corpus::from_path`](crate::Corpus::from_path).
///
/// # Errors
///
/// A path that is missing, unreadable or empty, or text that is not UTF-8.
pub fn read_documents(path: &Path) -> Result<Vec<Document>, DataError> {
    let kind = fs::metadata(path).map_err(|error| refusal(path, &error))?;
    if !kind.is_dir() {
        let text = read_text(path)?;
        let pieces = cut(&text);
        if pieces.is_empty() {
            return Err(DataError::EmptyFile {
                path: path.to_owned(),
            });
        }
        return Ok(pieces
            .into_iter()
            .enumerate()
            .map(|(index, piece)| Document {
                name: format!("{}#{index}", path.display()),
                text: piece.to_owned(),
            })
            .collect());
    }
    let mut files = Vec::new();
    collect(path, &mut files)?;
    let mut documents = Vec::with_capacity(files.len());
    for file in files {
        let text = read_text(&file)?;
        let trimmed = trim(&text);
        if !trimmed.is_empty() {
            documents.push(Document {
                name: file.display().to_string(),
                text: trimmed.to_owned(),
            });
        }
    }
    if documents.is_empty() {
        return Err(DataError::EmptyFolder {
            path: path.to_owned(),
        });
    }
    Ok(documents)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let entries = fs::read_dir(folder).map_err(|error| refusal(folder, &error))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(|error| refusal(folder, &error))?.file_name());
    }
    // The file system's own order differs from machine to machine.
    names.sort_unstable();
    for name in names {
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = folder.join(name);
        let kind = fs::symlink_metadata(&path).map_err(|error| refusal(&path, &error))?;
        if kind.is_dir() {
            collect(&path, files)?;
        } else if !is_binary(&path) {
            let target = fs::metadata(&path).map_err(|error| refusal(&path, &error))?;
            if target.is_file() {
                files.push(path);
            }
        }
    }
    Ok(())
}

/// Whether a folder's file is passed over for its extension.
pub(crate) fn is_binary(path: &Path) -> bool {
    path.extension()
        .and_then(|extension| extension.to_str())
        .is_some_and(|extension| BINARY.contains(&extension.to_ascii_lowercase().as_str()))
}

fn read_text(path: &Path) -> Result<String, DataError> {
    let bytes = fs::read(path).map_err(|error| refusal(path, &error))?;
    let text = String::from_utf8(bytes).map_err(|error| DataError::InvalidUtf8 {
        path: path.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    Ok(match text.strip_prefix('\u{feff}') {
        Some(rest) => rest.to_owned(),
        None => text,
    })
}

fn refusal(path: &Path, error: &io::Error) -> DataError {
    if error.kind() == io::ErrorKind::NotFound {
        DataError::Missing {
            path: path.to_owned(),
        }
    } else {
        DataError::Unreadable {
            path: path.to_owned(),
            problem: error.to_string(),
        }
    }
}

/// Without the line breaks at both ends; empty when nothing but white space is left.
fn trim(text: &str) -> &str {
    let trimmed = text.trim_matches(['\n', '\r']);
    if trimmed.trim().is_empty() {
        ""
    } else {
        trimmed
    }
}

/// The documents of a single file, in order.
fn cut(text: &str) -> Vec<&str> {
    let is_separator = |line: &str| line.trim_end_matches(['\n', '\r']) == SEPARATOR;
    let marked = text.contains('\u{c}')
        || (text.contains(SEPARATOR) && text.split_inclusive('\n').any(is_separator));
    let pieces = if marked {
        cut_at_marks(text, is_separator)
    } else {
        cut_between_paragraphs(text)
    };
    pieces
        .into_iter()
        .map(trim)
        .filter(|piece| !piece.is_empty())
        .collect()
}

fn cut_at_marks(text: &str, is_separator: impl Fn(&str) -> bool) -> Vec<&str> {
    let mut pieces = Vec::new();
    for page in text.split('\u{c}') {
        let (mut start, mut position) = (0, 0);
        for line in page.split_inclusive('\n') {
            let end = position + line.len();
            if is_separator(line) {
                pieces.push(&page[start..position]);
                start = end;
            }
            position = end;
        }
        pieces.push(&page[start..]);
    }
    pieces
}

fn cut_between_paragraphs(text: &str) -> Vec<&str> {
    let least = (text.len() / 200).clamp(256, 4096);
    let (mut start, mut position) = (0, 0);
    let mut pieces = Vec::new();
    for line in text.split_inclusive('\n') {
        position += line.len();
        let length = position - start;
        if (length >= least && line.trim().is_empty()) || length >= 4 * least {
            pieces.push(&text[start..position]);
            start = position;
        }
    }
    pieces.push(&text[start..]);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn marks_separate_documents() {
        assert_eq!(
            cut("one\ntwo\n<|endoftext|>\nthree\r\n<|endoftext|>\r\n\n<|endoftext|>"),
            ["one\ntwo", "three"]
        );
        assert_eq!(cut("page\n\u{c}other page"), ["page", "other page"]);
        // Inside a line it is text.
        assert_eq!(
            cut("the mark <|endoftext|> is text"),
            ["the mark <|endoftext|> is text"]
        );
    }

    #[test]
    fn paragraphs_are_grouped() {
        let paragraph = format!("{}\n\n", "words and words\n".repeat(10));
        let text = paragraph.repeat(1000);
        let pieces = cut(&text);
        assert!(pieces.len() > 100, "{}", pieces.len());
        for piece in &pieces[..pieces.len() - 1] {
            assert!((800..1400).contains(&piece.len()), "{}", piece.len());
            assert!(piece.starts_with("words") && piece.ends_with("words"));
        }
    }

    #[test]
    fn lines_are_grouped_where_no_line_is_blank() {
        let text = "a line of text\n".repeat(1000);
        assert!(cut(&text).len() > 10);
    }

    proptest! {
        #[test]
        fn cutting_keeps_every_visible_character(text in "[a-z \n]{0,4000}") {
            let visible = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(visible(&cut(&text).concat()), visible(&text));
            prop_assert!(cut(&text).iter().all(|piece| !piece.trim().is_empty()));
        }

        #[test]
        fn any_text_can_be_cut(text: String) {
            let pieces = cut(&text);
            prop_assert!(pieces.iter().map(|piece| piece.len()).sum::<usize>() <= text.len());
        }
    }
}
