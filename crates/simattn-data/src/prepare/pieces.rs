//! Where a long document may be cut for encoding.

use crate::tokenizer::Tokenizer;
use serde_json::Value;

/// Bytes after which a piece ends at the next place where that changes no id.
const PIECE: usize = 32 << 10;
/// Bytes that a piece has at most.
pub(super) const LARGEST: usize = 1 << 20;

/// Cuts documents into pieces whose ids, one after the other, are those of the whole.
///
/// Tokenizers that split text as GPT-2's does take the last character of white space before a word apart from all before it,
/// so that in front of such a line end, after 32 KiB, is such a place. For other tokenizers a document is one piece. Either way none is longer than a MiB: beyond,
/// it ends at a line end or, failing that, before white space, where the ids may differ from those of the whole; the text does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cutter {
    at_lines: bool,
}

impl Cutter {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let json: Value = serde_json::from_str(tokenizer.to_json()).unwrap_or_default();
        Self {
            at_lines: tokenizer.is_bytes() || splits_at_lines(&json),
        }
    }

    /// The ends of the pieces of `text`. What remains behind the last one waits for more, unless this is the document's `last`.
    pub(super) fn ends(self, text: &str, last: bool) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = 0;
        while let Some(length) = self.first(&text[at..]) {
            at += length;
            ends.push(at);
        }
        if last && at < text.len() {
            ends.push(text.len());
        }
        ends
    }

    /// The length of a first piece with something behind it. Depends on the first [`LARGEST`] bytes and the character after
    /// them alone, so that it does not matter how the text arrives.
    fn first(self, text: &str) -> Option<usize> {
        let within = &text[..text.floor_char_boundary(LARGEST)];
        if self.at_lines
            && let Some(end) = last_line_end(text, within.len())
        {
            return Some(end);
        }
        // More than the largest piece, by as much as a character may take.
        if text.len() < LARGEST + 4 {
            return None;
        }
        let end = within
            .rfind('\n')
            .map(|at| at + 1)
            .or_else(|| within.rfind(char::is_whitespace).filter(|&at| at > 0));
        Some(end.unwrap_or(within.len()))
    }
}

/// The place of the first line end, in [`PIECE`]`..most`, that something other than white space follows.
fn last_line_end(text: &str, most: usize) -> Option<usize> {
    let start = text.floor_char_boundary(PIECE);
    let line_ends = text[start..most].match_indices('\n');
    line_ends.map(|(at, _)| start + at).find(|at| {
        let after = text[at + 1..].chars().next();
        after.is_some_and(|after| !after.is_whitespace())
    })
}

/// Whether a tokenizer.json splits as GPT-2's, with nothing that could reach over a line end.
fn splits_at_lines(json: &Value) -> bool {
    let kind = |value: &Value| value["type"].as_str().map(str::to_owned);
    let as_gpt2 = |value: &Value| {
        kind(value).as_deref() == Some("ByteLevel")
            && value["add_prefix_space"] == Value::Bool(false)
            && value["use_regex"] != Value::Bool(false)
    };
    let before = &json["pre_tokenizer"];
    let splits = match kind(before).as_deref() {
        Some("Sequence") => before["pretokenizers"].as_array().is_some_and(|steps| {
            let mut steps = steps.iter().rev();
            steps.next().is_some_and(as_gpt2)
                && steps.all(|step| kind(step).as_deref() == Some("Digits"))
        }),
        _ => as_gpt2(before),
    };
    // Composition never reaches over a line end.
    let plain = json["normalizer"].is_null() || kind(&json["normalizer"]).as_deref() == Some("NFC");
    let added = json["added_tokens"].as_array();
    let harmless = added.is_none_or(|tokens| {
        tokens.iter().all(|token| {
            token["content"]
                .as_str()
                .is_some_and(|text| !text.contains('\n'))
                && token["lstrip"] != Value::Bool(true)
                && token["rstrip"] != Value::Bool(true)
        })
    });
    kind(&json["model"]).as_deref() == Some("BPE") && splits && plain && harmless
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Document;
    use proptest::prelude::*;
    use std::sync::LazyLock;

    static BPE: LazyLock<Tokenizer> = LazyLock::new(|| {
        let corpus = crate::corpus::Corpus::tales(3, 60_000, 1_000).unwrap();
        let lines = Document {
            name: "lines".into(),
            text: "a\nb \n c\n\n\nd\r\n".repeat(50),
        };
        let mut documents = corpus.train;
        documents.push(lines);
        Tokenizer::train_bpe(&documents, 420).unwrap()
    });

    #[test]
    fn our_tokenizers_can_be_cut_at_lines() {
        assert!(Cutter::of(&BPE).at_lines);
        assert!(Cutter::of(&Tokenizer::bytes()).at_lines);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn cutting_at_lines_changes_no_id(text in "([ab1é.'s]{1,3}(\n|\r\n| |\t|\n\n| \n|\n ){1,2}){0,40}", seed: u64) {
            // Long lines between, so that pieces are reached.
            let filler = "word and 12 more; ".repeat(seed as usize % 700);
            let text = format!("{text}{filler}x\n{text}\n{filler}y\nz{text}");
            let whole = BPE.encode(&text).unwrap();
            let mut ids = Vec::new();
            let mut start = 0;
            for end in Cutter::of(&BPE).ends(&text, true) {
                ids.extend(BPE.encode(&text[start..end]).unwrap());
                start = end;
            }
            prop_assert_eq!(start, text.len());
            prop_assert_eq!(ids, whole);
        }

        #[test]
        fn every_piece_is_short_and_the_text_is_whole(line in 1_usize..3_000_000, at_lines: bool) {
            let text = format!("{}\n{}é", "x".repeat(line), "yé ".repeat(900_000));
            let ends = Cutter { at_lines }.ends(&text, true);
            let mut start = 0;
            for &end in &ends {
                prop_assert!(end > start && end - start <= LARGEST + 3);
                start = end;
            }
            prop_assert_eq!(start, text.len());
            // What waits is what a later call would have cut off.
            let early = Cutter { at_lines }.ends(&text[..text.floor_char_boundary(2_000_000)], false);
            prop_assert_eq!(&ends[..early.len()], &early[..]);
        }
    }
}
