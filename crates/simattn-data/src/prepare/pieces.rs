//! Where a long document may be cut for encoding.

use super::seams;
use crate::tokenizer::Tokenizer;
use serde_json::Value;

/// Bytes after which a piece ends at the next place where that changes no id.
const PIECE: usize = 32 << 10;
/// Bytes from which on a document is looked through for such places.
pub(super) const LARGEST: usize = 1 << 20;

/// Cuts documents into pieces whose ids, one after the other, are those of the whole.
///
/// It cuts only where that is certain, see [`seams`]: in front of a line end, or of a space between
/// two letters. Under tokenizers of which neither is known, a document is one piece, however long;
/// of bytes, a piece ends anywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cutter {
    /// Between any two characters.
    anywhere: bool,
    /// In front of a line end that something other than white space follows.
    at_lines: bool,
    /// In front of a space between two letters, of which the first is one of these.
    after: Vec<u8>,
}

impl Cutter {
    pub(super) fn of(tokenizer: &Tokenizer) -> Self {
        let json: Value = serde_json::from_str(tokenizer.to_json()).unwrap_or_default();
        Self {
            anywhere: tokenizer.is_bytes(),
            at_lines: tokenizer.is_bytes() || seams::at_lines(&json),
            after: seams::at_spaces(&json, tokenizer),
        }
    }

    /// The ends of the pieces of `text`, and how far it need not be looked through again. What
    /// remains behind the last end waits for more, unless this is the document's `last`; `seen` is
    /// what an earlier call gave for the same start.
    pub(super) fn ends(&self, text: &str, seen: usize, last: bool) -> (Vec<usize>, usize) {
        let mut ends = Vec::new();
        let (mut at, mut seen) = (0, seen);
        loop {
            match self.first(&text[at..], seen) {
                Ok(length) => {
                    at += length;
                    ends.push(at);
                    seen = 0;
                }
                Err(_) if last => {
                    if at < text.len() {
                        ends.push(text.len());
                    }
                    return (ends, 0);
                }
                Err(seen) => return (ends, seen),
            }
        }
    }

    /// The length of a first piece with something behind it, or how far there is certainly none.
    /// Places are taken in their order, so that it hardly matters how the text arrives.
    fn first(&self, text: &str, seen: usize) -> Result<usize, usize> {
        let from = PIECE.max(seen);
        if self.at_lines
            && let Some(end) = seams::line_end(text, from, text.floor_char_boundary(LARGEST))
        {
            return Ok(end);
        }
        if (self.at_lines || self.anywhere) && text.len() < LARGEST + 4 {
            return Err(0);
        }
        if self.anywhere {
            return Ok(text.floor_char_boundary(LARGEST));
        }
        let space = seams::space(text, from, &self.after);
        let line = if self.at_lines {
            seams::line_end(text, from.max(LARGEST), text.len())
        } else {
            None
        };
        // The characters around a place have to be there.
        let none = text.len().saturating_sub(1);
        space.into_iter().chain(line).min().ok_or(none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Document;
    use crate::tokenizer::foreign_tests::by_the_crate;
    use crate::tokenizer::samples;
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

    /// Texts of the words that the samples know, with all that a seam could stumble over between.
    fn text(parts: &[String], filler: usize) -> String {
        let filler = "the cat sat on a mat. it is 12 xy z, Abc ".repeat(filler);
        parts.iter().map(|part| format!("{part}{filler}")).collect()
    }

    #[test]
    fn tokenizers_of_known_kinds_are_cut_and_others_are_not() {
        for (name, value) in samples::all() {
            let tokenizer = Tokenizer::from_json(value.to_string().as_bytes(), name).unwrap();
            let cutter = Cutter::of(&tokenizer);
            let unknown = ["fixed lengths", "bytes, by another pattern"].contains(&name);
            assert_eq!(cutter.after.is_empty(), unknown, "{name}");
        }
        // A token reaches from y over a space.
        let tokenizer =
            Tokenizer::from_json(samples::named("llama 2").to_string().as_bytes(), "t").unwrap();
        assert!(!Cutter::of(&tokenizer).after.contains(&b'y'));
    }

    #[test]
    fn steps_that_could_reach_over_a_seam_make_a_document_one_piece() {
        let strip = serde_json::json!({ "type": "Strip", "strip_left": true, "strip_right": true });
        let token = serde_json::json!({ "id": 900, "content": "<x>", "single_word": false, "lstrip": true, "rstrip": false, "normalized": false, "special": false });
        for (place, new) in [("/normalizer", strip), ("/added_tokens/0", token)] {
            for (name, mut value) in samples::all() {
                *value.pointer_mut(place).unwrap() = new.clone();
                if let Ok(tokenizer) = Tokenizer::from_json(value.to_string().as_bytes(), name) {
                    let cutter = Cutter::of(&tokenizer);
                    assert!(
                        cutter.after.is_empty() && !cutter.at_lines,
                        "{name}: {place}"
                    );
                }
            }
        }
    }

    #[test]
    fn our_tokenizers_can_be_cut_at_lines() {
        assert!(Cutter::of(&BPE).at_lines);
        assert!(Cutter::of(&BPE).after.contains(&b'e'));
        assert!(Cutter::of(&Tokenizer::bytes()).anywhere);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(6))]
        #[test]
        fn documents_in_pieces_have_the_ids_of_the_whole(
            parts in proptest::collection::vec("(the|cat|x|xy|é|e\u{301}| |  |\n|</s>|<unk>|▁|1|[.]|'s){0,12}", 4..9),
            filler in 100_usize..400,
        ) {
            let text = text(&parts, filler);
            for (name, value) in samples::all() {
                let tokenizer = Tokenizer::from_json(value.to_string().as_bytes(), name).unwrap();
                let (ends, _) = Cutter::of(&tokenizer).ends(&text, 0, true);
                let (mut ids, mut start) = (Vec::new(), 0);
                for &end in &ends {
                    let piece = &text[start..end];
                    ids.extend(match start {
                        0 => tokenizer.encode(piece).unwrap(),
                        _ => tokenizer.encode_rest(piece).unwrap(),
                    });
                    start = end;
                }
                prop_assert_eq!(start, text.len());
                prop_assert_eq!(&ids, &tokenizer.encode(&text).unwrap(), "{}", name);
                if !text.contains("</s>") && !text.contains("<unk>") {
                    prop_assert_eq!(ids, by_the_crate(&value, &text), "{}", name);
                }
            }
        }
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
            for end in Cutter::of(&BPE).ends(&text, 0, true).0 {
                ids.extend(BPE.encode(&text[start..end]).unwrap());
                start = end;
            }
            prop_assert_eq!(start, text.len());
            prop_assert_eq!(ids, whole);
        }

        #[test]
        fn bytes_come_in_short_pieces_and_the_text_is_whole(line in 1_usize..3_000_000) {
            let text = format!("{}\n{}é", "x".repeat(line), "yé ".repeat(900_000));
            let cutter = Cutter::of(&Tokenizer::bytes());
            let (ends, _) = cutter.ends(&text, 0, true);
            let mut start = 0;
            for &end in &ends {
                prop_assert!(end > start && end - start <= LARGEST + 3);
                start = end;
            }
            prop_assert_eq!(start, text.len());
            // What waits is what a later call would have cut off.
            let early = cutter.ends(&text[..text.floor_char_boundary(2_000_000)], 0, false).0;
            prop_assert_eq!(&ends[..early.len()], &early[..]);
        }
    }
}
