//! Byte-level vocabularies in the form that Hugging Face tokenizers read: bytes are written as
//! visible characters.

use serde_json::{Map, Value, json};

/// The name of the token that closes a document.
pub(crate) const END_OF_TEXT: &str = "<|endoftext|>";

/// Its id: the bytes come first.
pub(crate) const END_OF_TEXT_ID: u32 = 256;

/// The bytes and the end of text.
pub(crate) const LEAST_VOCABULARY: usize = 257;

/// The character for a byte (Radford et al., 2019): itself where it is visible in Latin-1, else the
/// next unused code point from 256 on.
pub(crate) fn byte_characters() -> [char; 256] {
    let mut unused = 256_u32;
    std::array::from_fn(|byte| {
        let byte = byte as u8;
        match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                let stand_in = char::from_u32(unused).unwrap_or('\u{fffd}');
                unused += 1;
                stand_in
            }
        }
    })
}

/// The tokenizer.json of byte-level BPE with these merges, in the order they were learnt.
///
/// Byte `b` has id `b`, the end of text 256, and the results of the merges follow in order. Without
/// merges it is the byte tokenizer, and needs no pre-tokenization.
pub(crate) fn tokenizer_json(merges: &[(Vec<u8>, Vec<u8>)]) -> Value {
    let characters = byte_characters();
    let written = |bytes: &[u8]| -> String {
        bytes
            .iter()
            .map(|&byte| characters[usize::from(byte)])
            .collect()
    };
    let mut vocabulary = Map::new();
    for (id, character) in characters.iter().enumerate() {
        vocabulary.insert(character.to_string(), json!(id));
    }
    vocabulary.insert(END_OF_TEXT.to_owned(), json!(END_OF_TEXT_ID));
    let mut pairs = Vec::with_capacity(merges.len());
    for (left, right) in merges {
        let (left, right) = (written(left), written(right));
        let next = vocabulary.len();
        // Two pairs may spell the same token; it keeps the id of the first.
        vocabulary
            .entry(format!("{left}{right}"))
            .or_insert_with(|| json!(next));
        pairs.push(json!([left, right]));
    }
    let byte_level = |use_regex: bool| {
        json!({
            "type": "ByteLevel",
            "add_prefix_space": false,
            "trim_offsets": true,
            "use_regex": use_regex,
        })
    };
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": END_OF_TEXT_ID,
            "content": END_OF_TEXT,
            "single_word": false,
            "lstrip": false,
            "rstrip": false,
            "normalized": false,
            "special": true,
        }],
        "normalizer": null,
        "pre_tokenizer": byte_level(!merges.is_empty()),
        "post_processor": null,
        "decoder": byte_level(true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": false,
            "vocab": vocabulary,
            "merges": pairs,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_characters_are_those_of_gpt_2() {
        let characters = byte_characters();
        assert_eq!(characters[usize::from(b' ')], 'Ġ');
        assert_eq!(characters[usize::from(b'\n')], 'Ċ');
        assert_eq!(characters[usize::from(b'a')], 'a');
        assert_eq!(characters[0], 'Ā');
        let distinct: std::collections::HashSet<char> = characters.into_iter().collect();
        assert_eq!(distinct.len(), 256);
    }
}
