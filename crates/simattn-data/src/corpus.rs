//! Texts as lists of documents, split into a training and a validation part by document.

use crate::documents::{Document, training_documents};
use crate::error::DataError;
use crate::hash::{seeded_hash, stable_hash};
use crate::reading::{TEXT_FIELD, content_key};
use crate::tales::{Part, Tales};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// The largest share of the bytes that may be held out.
const LARGEST_FRACTION: f64 = 0.5;

/// By how much a document may take the validation part beyond its share before it goes to training
/// instead.
const OVERSHOOT: f64 = 1.25;

/// Documents to train on, and documents to validate on that share none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Corpus {
    /// Documents to train on.
    pub train: Vec<Document>,
    /// Documents held out; no text is on both sides.
    pub validation: Vec<Document>,
    /// Where the text came from: "tales", or the path.
    pub name: String,
    /// What the user should know: what was passed over in a folder, and what was left
    /// out of training.
    pub notes: Vec<String>,
}

impl Corpus {
    /// The embedded corpus: the first stories of the training and the validation part of [`Tales`]
    /// that fill the bytes.
    ///
    /// # Errors
    ///
    /// [`DataError::NoTales`] when either part is asked to be empty.
    pub fn tales(seed: u64, train_bytes: u64, validation_bytes: u64) -> Result<Self, DataError> {
        let take = |part, name, bytes| {
            if bytes == 0 {
                return Err(DataError::NoTales { part: name });
            }
            let mut filled = 0;
            Ok(Tales::new(seed, part)
                .enumerate()
                .map(|(index, text)| Document {
                    name: format!("tales/{name}/{index}"),
                    text,
                })
                .take_while(|story| {
                    let wanted = filled < bytes;
                    filled += story.text.len() as u64;
                    wanted
                })
                .collect())
        };
        Ok(Self {
            train: take(Part::Train, "training", train_bytes)?,
            validation: take(Part::Validation, "validation", validation_bytes)?,
            name: "tales".to_owned(),
            notes: Vec::new(),
        })
    }

    /// A file, or a folder of files, with about `validation_fraction` of the bytes held out.
    ///
    /// **A folder** is read recursively, its entries sorted by name, linked folders last and each
    /// folder once; a file of several names is read once. Files are JSON lines (`.jsonl`,
    /// `.ndjson`, and `.json` whose first line is a whole object), each line a document, the string
    /// of its field `text`; Parquet, in a build that reads it, likewise; and text, one document a
    /// file: everything except hidden files (whose names begin with a dot), empty ones and those
    /// whose extension names a binary format. All but Parquet may be packed as `.gz` or `.zst`.
    /// Text must be UTF-8. What may have been meant and is not read is in [`Corpus::notes`].
    ///
    /// **A single file** is one of these. One of text is cut into documents at form feeds and at
    /// lines that hold only `<|endoftext|>`. Without any it is cut between paragraphs: a document
    /// ends at the first blank line after it has grown to a 200th of the file, at least 256 bytes
    /// and at most 4 KiB, or, where no line is blank, at the first line end after four times that.
    ///
    /// Of text, a byte-order mark is dropped, and line breaks at both ends of a document are
    /// trimmed. Documents of white space alone are left out. Nothing else is changed.
    ///
    /// **The split.** Documents are taken into the validation part in the order of a hash of their
    /// text and the seed, never by window, until the part has its share of the bytes. A document
    /// that would take it beyond 1.25 times the share is passed over, so that one huge book cannot
    /// swallow the part; if that leaves none, the shortest document is held out. Documents of equal
    /// text go to the same side; one that differs from a document held out only in its line ends or
    /// in white space at both ends is left out of training, with a note.
    ///
    /// # Errors
    ///
    /// A path that is missing, unreadable or empty, text that is not UTF-8, fewer than two
    /// different documents, or a fraction outside (0, 0.5].
    pub fn from_path(
        path: impl AsRef<Path>,
        validation_fraction: f64,
        seed: u64,
    ) -> Result<Self, DataError> {
        let path = path.as_ref();
        let (texts, whole_ones) = training_documents(path, TEXT_FIELD)?;
        let name = path.display().to_string();
        let mut corpus = Self::from_documents(name, texts.documents, validation_fraction, seed)?;
        let passed_over = texts.passed_over.iter().map(ToString::to_string);
        corpus.notes.extend(passed_over);
        if whole_ones {
            corpus.leave_out_held_out();
        }
        if corpus.train.is_empty() {
            Err(DataError::OneDocument {
                source_name: corpus.name,
            })
        } else {
            Ok(corpus)
        }
    }

    /// Takes out of training what is held out in another layout.
    fn leave_out_held_out(&mut self) {
        let key = |document: &Document| content_key(&document.text);
        let held_out: HashSet<[u8; 16]> = self.validation.iter().map(key).collect();
        let notes = &mut self.notes;
        self.train.retain(|document| {
            let again = held_out.contains(&key(document));
            if again {
                notes.push(format!(
                    "{}: held out under another name; left out of training",
                    document.name
                ));
            }
            !again
        });
    }

    /// Splits documents that are in memory, as [`Corpus::from_path`] does. Both parts keep the
    /// order of the documents.
    ///
    /// # Errors
    ///
    /// Fewer than two different documents, or a fraction outside (0, 0.5].
    pub fn from_documents(
        name: String,
        documents: Vec<Document>,
        validation_fraction: f64,
        seed: u64,
    ) -> Result<Self, DataError> {
        if !(validation_fraction > 0.0 && validation_fraction <= LARGEST_FRACTION) {
            return Err(DataError::ValidationFraction {
                fraction: validation_fraction,
            });
        }
        let held_out = choose_held_out(&documents, validation_fraction, seed).ok_or_else(|| {
            DataError::OneDocument {
                source_name: name.clone(),
            }
        })?;
        let (mut train, mut validation) = (Vec::new(), Vec::new());
        for document in documents {
            if held_out[&stable_hash(document.text.as_bytes())] {
                validation.push(document);
            } else {
                train.push(document);
            }
        }
        Ok(Self {
            train,
            validation,
            name,
            notes: Vec::new(),
        })
    }
}

/// Whether the documents of each content hash are held out; `None` when fewer than two contents
/// differ.
fn choose_held_out(documents: &[Document], fraction: f64, seed: u64) -> Option<HashMap<u64, bool>> {
    struct Content {
        bytes: u64,
        order: (u64, u64),
    }
    // Equal texts are one content, and so are texts of equal hash: they may share a side, never
    // straddle the split.
    let mut contents: HashMap<u64, Content> = HashMap::new();
    for document in documents {
        let text = document.text.as_bytes();
        let hash = stable_hash(text);
        let bytes = text.len() as u64;
        contents
            .entry(hash)
            .and_modify(|content| content.bytes += bytes)
            .or_insert_with(|| Content {
                bytes,
                order: (seeded_hash(seed, &hash.to_le_bytes()), hash),
            });
    }
    if contents.len() < 2 {
        return None;
    }
    let mut ordered: Vec<Content> = contents.into_values().collect();
    ordered.sort_unstable_by_key(|content| content.order);

    let total: u64 = ordered.iter().map(|content| content.bytes).sum();
    let share = total as f64 * fraction;
    let mut filled = 0_u64;
    let mut sides = HashMap::with_capacity(ordered.len());
    for content in &ordered {
        // At most 1.25 · 0.5 of the bytes are held out, so training is never left empty.
        let taken = (filled as f64) < share && (filled + content.bytes) as f64 <= share * OVERSHOOT;
        if taken {
            filled += content.bytes;
        }
        sides.insert(content.order.1, taken);
    }
    if filled == 0 {
        let shortest = ordered
            .iter()
            .min_by_key(|content| (content.bytes, content.order))?;
        sides.insert(shortest.order.1, true);
    }
    Some(sides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    fn documents(texts: &[String]) -> Vec<Document> {
        texts
            .iter()
            .enumerate()
            .map(|(index, text)| Document {
                name: index.to_string(),
                text: text.clone(),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn a_split_loses_nothing_and_never_leaks(
            texts in proptest::collection::vec("[a-d]{1,40}", 2..60),
            fraction in 0.001_f64..=0.5,
            seed: u64,
        ) {
            let distinct: HashSet<&String> = texts.iter().collect();
            let corpus = Corpus::from_documents("t".into(), documents(&texts), fraction, seed);
            if distinct.len() < 2 {
                let one = matches!(corpus, Err(DataError::OneDocument { .. }));
                prop_assert!(one);
                return Ok(());
            }
            let corpus = corpus.unwrap();
            prop_assert!(!corpus.train.is_empty() && !corpus.validation.is_empty());
            prop_assert_eq!(corpus.train.len() + corpus.validation.len(), texts.len());
            let held: HashSet<&str> = corpus.validation.iter().map(|d| d.text.as_str()).collect();
            prop_assert!(corpus.train.iter().all(|d| !held.contains(d.text.as_str())));
            // Both sides in the order they came.
            for side in [&corpus.train, &corpus.validation] {
                let order: Vec<usize> = side.iter().map(|d| d.name.parse().unwrap()).collect();
                prop_assert!(order.is_sorted());
            }
        }
    }

    #[test]
    fn the_held_out_share_is_a_share_of_bytes() {
        let texts: Vec<String> = (0..400)
            .map(|i| format!("{i} ").repeat(1 + i % 50))
            .collect();
        let corpus = Corpus::from_documents("t".into(), documents(&texts), 0.1, 3).unwrap();
        let bytes = |side: &[Document]| side.iter().map(|d| d.text.len()).sum::<usize>() as f64;
        let share = bytes(&corpus.validation) / (bytes(&corpus.train) + bytes(&corpus.validation));
        assert!((0.1..0.125).contains(&share), "{share}");
    }

    #[test]
    fn a_huge_document_is_trained_on() {
        let mut texts: Vec<String> = (0..20).map(|i| format!("short text {i}")).collect();
        texts.push("long ".repeat(100_000));
        for seed in 0..50 {
            let corpus = Corpus::from_documents("t".into(), documents(&texts), 0.1, seed).unwrap();
            assert!(corpus.validation.iter().all(|d| d.text.len() < 100));
        }
    }

    #[test]
    fn another_seed_holds_out_other_documents() {
        let texts: Vec<String> = (0..200).map(|i| format!("document {i}")).collect();
        let held = |seed| {
            Corpus::from_documents("t".into(), documents(&texts), 0.2, seed)
                .unwrap()
                .validation
        };
        assert_eq!(held(1), held(1));
        assert_ne!(held(1), held(2));
    }

    #[test]
    fn fractions_outside_are_refused() {
        for fraction in [0.0, -0.1, 0.51, f64::NAN, f64::INFINITY] {
            let texts = ["a".to_owned(), "b".to_owned()];
            let error = Corpus::from_documents("t".into(), documents(&texts), fraction, 0);
            assert!(matches!(error, Err(DataError::ValidationFraction { .. })));
        }
    }

    #[test]
    fn tales_fill_the_bytes_and_no_more_than_a_story_beyond() {
        let corpus = Corpus::tales(7, 20_000, 3_000).unwrap();
        let bytes = |side: &[Document]| side.iter().map(|d| d.text.len()).sum::<usize>();
        assert!((20_000..21_000).contains(&bytes(&corpus.train)));
        assert!((3_000..4_000).contains(&bytes(&corpus.validation)));
        assert!(matches!(
            Corpus::tales(7, 1, 0),
            Err(DataError::NoTales { part: "validation" })
        ));
    }
}
