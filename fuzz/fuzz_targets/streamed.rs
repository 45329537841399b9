//! Text encoded in pieces, as `prepare` does, against the whole text at once: the same ids.
//!
//! reader: crates/simattn-data/src/prepare/pieces.rs
//! reader: crates/simattn-data/src/prepare/seams.rs
//! reader: crates/simattn-data/src/prepare/feed.rs except bad
//! reader: crates/simattn-data/src/reading/text.rs except unpacking whole
#![no_main]

use simattn_data::Tokenizer;
use simattn_data::prepare::OnBadInput;
use simattn_fuzz::prepared::prepared;
use simattn_fuzz::{Place, parts, tokenizers};
use std::sync::LazyLock;

/// Tokenizers whose ids must not depend on how a text is cut.
static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let written = tokenizers::written()
        .into_iter()
        .filter_map(|json| Tokenizer::from_json(json.to_string().as_bytes(), "a seed").ok());
    [tokenizers::learnt(), Tokenizer::bytes()]
        .into_iter()
        .chain(written)
        .collect()
});

/// Bytes from which a document is cut, and bytes that a piece has at most.
const LENGTHS: [usize; 4] = [1 << 12, 40 << 10, 70 << 10, (1 << 20) + 4096];

fn seeds() -> Vec<Vec<u8>> {
    let fragments = [
        "one two\n",
        " \n a\r\n\n\tb",
        "x",
        "<|endoftext|>\n",
        "é▁</s>  12",
        "don't \u{3000}\n",
    ];
    let mut seeds = Vec::new();
    for tokenizer in 0..TOKENIZERS.len() as u8 {
        for length in 0..LENGTHS.len() as u8 {
            let switches = [b'0' + tokenizer, b'0' + length];
            let mut all: Vec<&[u8]> = vec![&switches[..], &b"0001112"[..]];
            all.extend(fragments.iter().map(|text| text.as_bytes()));
            seeds.push(parts::join(&all));
        }
    }
    seeds
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let switches = simattn_fuzz::Switches(all[0]);
    let tokenizer = &TOKENIZERS[switches.choose(0, TOKENIZERS.len())];
    let length = LENGTHS[switches.choose(1, LENGTHS.len())];
    let order = all.get(1).copied().unwrap_or_default();
    let fragments = all.get(2..).unwrap_or_default();
    if fragments.iter().all(|fragment| fragment.is_empty()) || order.is_empty() {
        return;
    }
    // The fragments in the order that the second part says, over and over.
    let mut text = String::new();
    for byte in order.iter().cycle().take(length) {
        let fragment = fragments[usize::from(*byte) % fragments.len()];
        text.push_str(&parts::text(fragment));
        if text.len() >= length {
            break;
        }
    }
    // A line of this alone, and a mark at the beginning, are no text.
    let text = text.replace("<|endoftext|>", "<|endoftext|");
    let text = text.trim_start_matches('\u{feff}');
    if text.trim().is_empty() {
        return;
    }
    let place = Place::fresh();
    let file = place.write("in/a.txt", text.as_bytes());
    let streamed = prepared(&place, &[file], "text", tokenizer, OnBadInput::Fail);
    match tokenizer.encode(text) {
        Ok(whole) => {
            let streamed = streamed.expect("a text that can be encoded").documents;
            let end = tokenizer.end_of_text();
            let whole: Vec<&[u32]> = whole.split(|&id| id == end).collect();
            assert!(
                streamed
                    .iter()
                    .flatten()
                    .eq(whole.iter().copied().flatten())
            );
        }
        Err(error) => {
            simattn_fuzz::refused(&error);
            assert!(streamed.is_none());
        }
    }
}

simattn_fuzz::target!(seeds, run);
