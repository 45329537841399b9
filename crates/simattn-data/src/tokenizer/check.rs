//! What a tokenizer.json must not ask for: what the `tokenizers` crate is known to break off on, to
//! overflow its stack with, or to take time and memory for that no text is worth.

use super::merge::sides;
use serde_json::Value;

/// JSON within JSON in a normalizer and the like: each level may be read twice by the crate, as one
/// form and as another.
const DEEPEST: usize = 16;
/// How many times longer its steps may make a text, in sum.
const LARGEST_GROWTH: f64 = 4096.0;
/// Bytes of one piece of a Unigram model: a tree of pieces is as deep, and is taken down by
/// recursion.
const LONGEST_PIECE: usize = 1024;
/// Bytes in front of or behind every token of a word.
const LONGEST_AFFIX: usize = 1024;
/// Characters of a word that WordPiece looks up every part of.
const LONGEST_WORD: u64 = 10_000;
/// Bytes of a regular expression.
const LONGEST_PATTERN: usize = 1 << 16;
/// Rounds that the counts of a regular expression ask for, one within another.
const MOST_ROUNDS: f64 = 1e6;
/// Steps of one kind.
const MOST_STEPS: usize = 64;

/// Refuses what is known to go wrong.
///
/// # Errors
///
/// What it is.
pub(super) fn refuse(value: &Value) -> Result<(), String> {
    let mut growth = [1.0; 2];
    for (part, kind) in [
        ("normalizer", 0),
        ("pre_tokenizer", 0),
        ("decoder", 1),
        ("post_processor", 1),
    ] {
        if depth(&value[part]) > DEEPEST {
            return Err(format!("its {part} is nested more than {DEEPEST} deep"));
        }
        let mut steps = Vec::new();
        collect(&value[part], &mut steps);
        if steps.len() > MOST_STEPS {
            return Err(format!("its {part} has more than {MOST_STEPS} steps"));
        }
        for step in steps {
            growth[kind] *=
                check_step(step, part == "decoder").map_err(|why| format!("its {part}: {why}"))?;
        }
    }
    if growth.iter().any(|growth| *growth > LARGEST_GROWTH) {
        return Err(format!(
            "its steps may make a text more than {LARGEST_GROWTH} times as long"
        ));
    }
    check_model(&value["model"])
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(list) => list.iter().map(depth).max(),
        Value::Object(map) => map.values().map(depth).max(),
        _ => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// The steps of a normalizer or the like, those of sequences one by one.
fn collect<'a>(value: &'a Value, steps: &mut Vec<&'a Value>) {
    let within = ["normalizers", "pretokenizers", "decoders", "processors"];
    let lists = within.iter().filter_map(|field| value[field].as_array());
    let before = steps.len();
    for list in lists {
        for step in list {
            collect(step, steps);
        }
    }
    if steps.len() == before && value.is_object() {
        steps.push(value);
    }
}

/// Checks one step; gives how many times longer it may make a text.
fn check_step(step: &Value, decodes: bool) -> Result<f64, String> {
    let length = |field: &str| step[field].as_str().map_or(0, str::len);
    let pattern = Pattern::of(&step["pattern"])?;
    match step["type"].as_str().unwrap_or("") {
        "Precompiled" => charsmap(step["precompiled_charsmap"].as_str().unwrap_or("")),
        "Replace" => match pattern {
            Some(Pattern { length: 0, .. }) => Err("Replace has an empty pattern".to_owned()),
            Some(Pattern {
                length: matched,
                fixed: true,
            }) => Ok((length("content") as f64 / matched as f64).max(1.0)),
            _ => Ok(1.0 + length("content") as f64),
        },
        "Prepend" if length("prepend") == 0 => {
            Err("Prepend has nothing to put in front".to_owned())
        }
        "Prepend" => Ok(1.0 + length("prepend") as f64),
        "Split" if pattern.is_some_and(|pattern| pattern.length == 0) => {
            Err("Split has an empty pattern".to_owned())
        }
        "FixedLength" if step["length"].as_u64() == Some(0) => {
            Err("FixedLength has a length of 0".to_owned())
        }
        "Metaspace" => Ok(1.0 + length("replacement") as f64),
        "ByteLevel" if !decodes => Ok(2.0),
        _ => Ok(1.0),
    }
}

/// A pattern to look for.
struct Pattern {
    /// Bytes that it is written with.
    length: usize,
    /// Whether it is found as it is written.
    fixed: bool,
}

impl Pattern {
    fn of(value: &Value) -> Result<Option<Self>, String> {
        let (text, fixed) = match (value["String"].as_str(), value["Regex"].as_str()) {
            (Some(text), _) => (text, true),
            (None, Some(text)) => (text, false),
            (None, None) => return Ok(None),
        };
        if text.len() > LONGEST_PATTERN {
            return Err(format!("a pattern is longer than {LONGEST_PATTERN} bytes"));
        }
        if !fixed && rounds(text) > MOST_ROUNDS {
            return Err("a pattern asks for more than a million repetitions".to_owned());
        }
        Ok(Some(Self {
            length: text.len(),
            fixed,
        }))
    }
}

/// The product of a pattern's counts, as though each stood within the next.
fn rounds(pattern: &str) -> f64 {
    let counts = pattern.split('{').skip(1);
    counts
        .filter_map(|rest| {
            let (count, _) = rest.split_once('}')?;
            let numbers = count
                .split(',')
                .map(|number| number.trim().parse::<f64>().unwrap_or(1.0));
            numbers.reduce(f64::max)
        })
        .map(|count| count.max(1.0))
        .product()
}

/// Checks a character map of SentencePiece: the length of a table in bytes, the table, and texts
/// that end with zeros. Gives the longest text.
fn charsmap(text: &str) -> Result<f64, String> {
    let broken = |what: &str| format!("Precompiled has a character map {what}");
    let bytes = base64(text).ok_or_else(|| broken("that is not base64"))?;
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else {
        return Err(broken("of fewer than 4 bytes"));
    };
    let length = u32::from_le_bytes(*length) as usize;
    if length < 4 || !length.is_multiple_of(4) || length > rest.len() {
        return Err(broken(&format!(
            "with a table of {length} bytes in {} bytes",
            rest.len()
        )));
    }
    let texts =
        std::str::from_utf8(&rest[length..]).map_err(|_| broken("whose texts are not UTF-8"))?;
    let longest = texts.split('\0').map(str::len).max().unwrap_or(0);
    Ok(longest.max(1) as f64)
}

/// Plain base64 with its padding.
fn base64(text: &str) -> Option<Vec<u8>> {
    let value = |byte: u8| {
        Some(u32::from(match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        }))
    };
    let digits = text.trim_end_matches('=').as_bytes();
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 3);
    for group in digits.chunks(4) {
        let mut bits = 0;
        for &digit in group {
            bits = bits << 6 | value(digit)?;
        }
        let missing = 4 - group.len();
        bits <<= 6 * missing;
        bytes.extend_from_slice(&bits.to_be_bytes()[1..4 - missing.min(3)]);
    }
    Some(bytes)
}

fn check_model(model: &Value) -> Result<(), String> {
    let prefix = model["continuing_subword_prefix"].as_str().unwrap_or("");
    let suffix = model["end_of_word_suffix"].as_str().unwrap_or("");
    if prefix.len().max(suffix.len()) > LONGEST_AFFIX {
        return Err(format!(
            "its prefix or suffix of tokens is longer than {LONGEST_AFFIX} bytes"
        ));
    }
    if model["max_input_chars_per_word"]
        .as_u64()
        .is_some_and(|most| most > LONGEST_WORD)
    {
        return Err(format!(
            "its max_input_chars_per_word is above {LONGEST_WORD}"
        ));
    }
    // A vocabulary that is a list is Unigram's.
    if let Some(pieces) = model["vocab"].as_array() {
        let long = |piece: &Value| {
            piece[0]
                .as_str()
                .is_some_and(|text| text.len() > LONGEST_PIECE)
        };
        if let Some(id) = pieces.iter().position(long) {
            return Err(format!(
                "its piece {id} is longer than {LONGEST_PIECE} bytes"
            ));
        }
    }
    // The crate takes the prefix off a merge's right side unseen, though it may stand in the middle
    // of a character.
    if !prefix.is_empty() {
        let merges = model["merges"].as_array().map_or(&[][..], Vec::as_slice);
        let wrong = |merge: &Value| {
            sides(merge).is_some_and(|(_, right)| right.get(prefix.len()..).is_none())
        };
        if let Some(place) = merges.iter().position(wrong) {
            return Err(format!(
                "the right side of its merge {} does not have the continuing_subword_prefix",
                place + 1
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("+/8=", &[0xfb, 0xff]),
        ] {
            assert_eq!(base64(text).unwrap(), bytes, "{text}");
        }
        assert!(base64("Zm9v!").is_none());
        assert!(base64("Z m").is_none());
    }

    #[test]
    fn counts_of_patterns_multiply() {
        assert_eq!(rounds(r"\p{N}{1,3}| {2,}"), 6.0);
        assert_eq!(rounds("a{10}{20}"), 200.0);
        assert_eq!(rounds("a{,5}b{"), 5.0);
    }
}
