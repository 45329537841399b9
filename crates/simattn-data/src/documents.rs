//! Documents from files, in memory: to evaluate on, as they are, and to train on.
//!
//! The rules are told where users meet them: [`read_documents`] and `Corpus::from_path`.

use crate::error::DataError;
use crate::reading::{
    Format, InputFile, PassedOver, Place, ReadError, SEPARATOR, Sink, Stop, find, read, whole,
};
use std::path::Path;
use std::sync::Arc;

/// A piece of text that stays in one piece: it is wholly trained on or wholly held out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Where it came from: a path, with `#` and a number when the file holds several.
    pub name: String,
    /// The text.
    pub text: String,
}

/// Documents, and what beside them may have been meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Texts {
    /// At least one, in the order of the text.
    pub documents: Vec<Document>,
    /// What in a folder is not read and may have been meant.
    pub passed_over: Vec<PassedOver>,
}

/// The documents at a path, exactly as they stand there, for evaluation on all of them: those that
/// [`prepare`](crate::prepare::prepare) makes of it.
///
/// A file of text is one document, or several between lines that hold only `<|endoftext|>`; nothing
/// but a byte-order mark is dropped. Of JSON lines and Parquet every string of `field` is one. In a
/// folder every file is read that is of one of these kinds, packed by gzip or Zstandard or not.
///
/// # Errors
///
/// A path at which no text is, or text that cannot be read.
pub fn read_documents(path: &Path, field: &str) -> Result<Texts, DataError> {
    let found = find(&[path.to_owned()], field, None)?;
    let mut documents = Vec::new();
    for file in &found.files {
        documents.extend(as_they_are(file, field)?);
    }
    some(path, documents, found.passed_over)
}

/// The documents at a path, to train on, and whether each is a whole one, not a part of a file that
/// was cut up. What counts as a document is told at
/// [`Corpus::from_path`](crate::Corpus::from_path).
pub(crate) fn training_documents(path: &Path, field: &str) -> Result<(Texts, bool), DataError> {
    let found = find(&[path.to_owned()], field, None)?;
    let mut documents = Vec::new();
    let mut whole_ones = true;
    for file in &found.files {
        let name = file.path.display();
        match file.format {
            Format::Text if path.is_file() => {
                whole_ones = false;
                let text = whole(file)?;
                let pieces = cut(&text).into_iter().enumerate();
                documents.extend(pieces.map(|(index, piece)| Document {
                    name: format!("{name}#{index}"),
                    text: piece.to_owned(),
                }));
            }
            Format::Text => {
                let text = whole(file)?;
                let trimmed = trim(&text);
                if !trimmed.is_empty() {
                    documents.push(Document {
                        name: name.to_string(),
                        text: trimmed.to_owned(),
                    });
                }
            }
            Format::JsonLines | Format::Parquet => documents.extend(as_they_are(file, field)?),
        }
    }
    Ok((some(path, documents, found.passed_over)?, whole_ones))
}

/// Refuses an empty list.
fn some(
    path: &Path,
    documents: Vec<Document>,
    passed_over: Vec<PassedOver>,
) -> Result<Texts, DataError> {
    let at = path.to_owned();
    if !documents.is_empty() {
        return Ok(Texts {
            documents,
            passed_over,
        });
    }
    Err(if path.is_dir() {
        DataError::EmptyFolder { path: at }
    } else {
        DataError::EmptyFile { path: at }
    })
}

/// The documents of one file, as `prepare` reads them.
fn as_they_are(file: &InputFile, field: &str) -> Result<Vec<Document>, DataError> {
    let mut list = List::default();
    match read(file, Place::default(), field, &Arc::default(), &mut list) {
        Ok(()) | Err(Stop::Unheard) => {}
        Err(Stop::Error(error)) => return Err(error.into()),
    }
    let name = file.path.display();
    let several = list.texts.len() > 1;
    let texts = list.texts.into_iter().enumerate();
    Ok(texts
        .map(|(index, text)| Document {
            name: if several {
                format!("{name}#{index}")
            } else {
                name.to_string()
            },
            text,
        })
        .collect())
}

/// Documents in memory.
#[derive(Default)]
struct List {
    texts: Vec<String>,
    current: String,
}

impl Sink for List {
    fn text(&mut self, text: &str) -> Result<(), Stop> {
        self.current.push_str(text);
        Ok(())
    }

    fn end(&mut self, _: Place) -> Result<(), Stop> {
        let text = std::mem::take(&mut self.current);
        if !text.trim().is_empty() {
            self.texts.push(text);
        }
        Ok(())
    }

    fn bad(&mut self, path: &Path, unit: &str, number: u64, problem: String) -> Result<(), Stop> {
        let place = format!("{}:{unit}{number}", path.display());
        Err(ReadError::Bad { place, problem }.into())
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
