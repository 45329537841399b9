//! Which tokenizers may be given a text in pieces, and where those may end.
//!
//! The ids of two pieces are those of the whole where (1) normalization changes nothing across the
//! seam, (2) splitting into words puts a boundary there whatever comes before and after, or,
//! without words, no token of the vocabulary reaches over it, and (3) nothing is put in front of a
//! piece that is not in front of a text. Each step of a tokenizer.json for which that was shown is
//! listed here; one that is not makes a document one piece.

use crate::tokenizer::Tokenizer;
use serde_json::Value;

/// Stands for a space in the vocabularies of SentencePiece.
const LOW_LINE: char = '\u{2581}';

/// Splits into words in which a letter is never followed by a space, as Llama 3 and Qwen have them.
const WORDS: [&str; 2] = [
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
];

/// The place of the first line end, in `from..most`, that something other than white space follows.
pub(super) fn line_end(text: &str, from: usize, most: usize) -> Option<usize> {
    let start = text.floor_char_boundary(from.min(most));
    let line_ends = text[start..most].match_indices('\n');
    line_ends.map(|(at, _)| start + at).find(|at| {
        let after = text[at + 1..].chars().next();
        after.is_some_and(|after| !after.is_whitespace())
    })
}

/// The place of the first space, from `from` on, between one of the letters `after` and any letter.
pub(super) fn space(text: &str, from: usize, after: &[u8]) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut places = from.max(1)..bytes.len().saturating_sub(1);
    places.find(|&at| {
        bytes[at] == b' ' && bytes[at + 1].is_ascii_alphabetic() && after.contains(&bytes[at - 1])
    })
}

fn kind(value: &Value) -> &str {
    value["type"].as_str().unwrap_or("")
}

/// The steps of a normalizer or pre-tokenizer, a sequence's one by one; `None` where it is neither.
fn steps<'a>(value: &'a Value, list: &str) -> Option<Vec<&'a Value>> {
    match value {
        Value::Null => Some(Vec::new()),
        Value::Object(_) if kind(value) == "Sequence" => {
            let nested: Option<Vec<_>> = (value[list].as_array()?.iter())
                .map(|step| steps(step, list))
                .collect();
            Some(nested?.concat())
        }
        Value::Object(_) => Some(vec![value]),
        _ => None,
    }
}

/// Whether a tokenizer.json splits as GPT-2's, with nothing that could reach over a line end: that
/// takes the last character of white space before a word apart from all before it.
pub(super) fn at_lines(json: &Value) -> bool {
    let as_gpt2 = |value: &Value| {
        kind(value) == "ByteLevel"
            && value["add_prefix_space"] == Value::Bool(false)
            && value["use_regex"] != Value::Bool(false)
    };
    let Some((last, others)) = steps(&json["pre_tokenizer"], "pretokenizers").and_then(|steps| {
        let (last, others) = steps.split_last()?;
        Some((*last, others.to_vec()))
    }) else {
        return false;
    };
    let splits = as_gpt2(last) && others.iter().all(|step| kind(step) == "Digits");
    // Composition never reaches over a line end.
    let plain = json["normalizer"].is_null() || kind(&json["normalizer"]) == "NFC";
    let added = json["added_tokens"].as_array();
    let harmless = added.is_none_or(|tokens| {
        tokens.iter().all(|token| {
            let content = token["content"].as_str();
            content.is_some_and(|text| !text.contains('\n')) && is_plain(token)
        })
    });
    kind(&json["model"]) == "BPE" && splits && plain && harmless
}

/// Whether an added token takes no white space beside it, and does not look at what is there.
fn is_plain(token: &Value) -> bool {
    let asks = |field: &str| token[field] == Value::Bool(true);
    !asks("lstrip") && !asks("rstrip") && !asks("single_word")
}

/// The letters behind which, in front of a space that a letter follows, a text may be cut.
pub(super) fn at_spaces(json: &Value, tokenizer: &Tokenizer) -> Vec<u8> {
    let Some(normal) = normalizer(&json["normalizer"]) else {
        return Vec::new();
    };
    if !added_tokens(&json["added_tokens"], normal.prefix) || !tokenizer.keeps_letters() {
        return Vec::new();
    }
    let space = if normal.spaces { LOW_LINE } else { ' ' };
    match words(&json["pre_tokenizer"], space) {
        None => Vec::new(),
        Some(true) => (b'A'..=b'Z').chain(b'a'..=b'z').collect(),
        // No words: then no token may reach over the seam, in either case of the letter.
        Some(false) => {
            let model = &json["model"];
            let absent = |field: &str| model[field].as_str().is_none_or(str::is_empty);
            let bare = kind(model) == "BPE"
                && model["ignore_merges"] != Value::Bool(true)
                && absent("continuing_subword_prefix")
                && absent("end_of_word_suffix");
            let metaspace = kind(&json["pre_tokenizer"]) == "Metaspace";
            if !bare || !(metaspace || space == LOW_LINE) {
                return Vec::new();
            }
            let apart = tokenizer.letters_apart_from(LOW_LINE);
            let both = |letter: &u8| {
                apart.contains(&letter.to_ascii_lowercase())
                    && apart.contains(&letter.to_ascii_uppercase())
            };
            apart.iter().copied().filter(both).collect()
        }
    }
}

/// What a normalizer does to a space between two letters.
struct Normal {
    /// It becomes [`LOW_LINE`].
    spaces: bool,
    /// Something is put in front of a text.
    prefix: bool,
}

/// `None` for a step of which it is not known that it leaves letter, space and letter side by side.
fn normalizer(value: &Value) -> Option<Normal> {
    let mut normal = Normal {
        spaces: false,
        prefix: false,
    };
    for step in steps(value, "normalizers")? {
        match kind(step) {
            // Marks compose with the letter before them; a space and a letter compose with nothing
            // before them.
            "NFC" | "NFD" | "NFKC" | "NFKD" | "Nmt" | "Lowercase" | "StripAccents"
            | "BertNormalizer" => {}
            "Prepend" => normal.prefix = true,
            "Replace" => {
                let content = step["content"].as_str()?;
                match (
                    step["pattern"]["String"].as_str(),
                    step["pattern"]["Regex"].as_str(),
                ) {
                    (Some(" "), _) if content == "\u{2581}" => normal.spaces = true,
                    (Some(text), _)
                        if !text.contains(|c: char| {
                            c.is_ascii_alphabetic() || c == ' ' || c == LOW_LINE
                        }) => {}
                    (None, Some(" {2,}")) if matches!(content, " " | "\u{2581}") => {}
                    _ => return None,
                }
            }
            // By graphemes: whether letters and spaces stay themselves is tried.
            "Precompiled" => {}
            _ => return None,
        }
    }
    Some(normal)
}

/// Whether the text is split into words in front of a `space` between letters, or not at all;
/// `None` where that is unknown.
fn words(value: &Value, mut space: char) -> Option<bool> {
    let mut split = false;
    for step in steps(value, "pretokenizers")? {
        match kind(step) {
            "WhitespaceSplit" | "Whitespace" | "BertPreTokenizer" if space == ' ' => split = true,
            "Digits" | "Punctuation" => {}
            "ByteLevel" => {
                split |= space == ' ' && step["use_regex"] != Value::Bool(false);
                if !split {
                    return None;
                }
                space = 'Ġ';
            }
            // It puts its sign in front of a part that does not begin with a space, but never of
            // one that does.
            "Metaspace" if space != 'Ġ' && step["replacement"] == "\u{2581}" => {
                split |= step["split"] != Value::Bool(false);
                space = LOW_LINE;
            }
            "Split" if space == ' ' => {
                let pattern = step["pattern"]["Regex"].as_str();
                let known = pattern.is_some_and(|text| WORDS.contains(&text));
                let apart = step["behavior"] == "Isolated" && step["invert"] != Value::Bool(true);
                if !known || !apart {
                    return None;
                }
                split = true;
            }
            _ => return None,
        }
    }
    Some(split)
}

/// Whether no added token reaches over a space between letters, and none begins a part of its own
/// that a prefix belongs to.
fn added_tokens(value: &Value, prefix: bool) -> bool {
    let tokens = value.as_array().map_or(&[][..], Vec::as_slice);
    tokens.iter().all(|token| {
        let Some(content) = token["content"].as_str() else {
            return false;
        };
        let mut pairs = content.chars().zip(content.chars().skip(1));
        let reaches = pairs.any(|(a, b)| a.is_alphabetic() && (b == ' ' || b == LOW_LINE));
        let special = token["special"] == Value::Bool(true);
        !reaches && (special || (!prefix && is_plain(token)))
    })
}
