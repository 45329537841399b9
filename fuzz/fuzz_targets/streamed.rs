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
        .chain(tokenizers::of_the_tests())
        .filter_map(|json| Tokenizer::from_json(json.to_string().as_bytes(), "a seed").ok());
    [tokenizers::learnt(), Tokenizer::bytes()]
        .into_iter()
        .chain(written)
        .collect()
});

/// Bytes from which a document is cut, and bytes that a piece has at most. Most texts are short:
/// then there is time for many.
const LENGTHS: [usize; 8] = [
    1 << 12,
    40 << 10,
    70 << 10,
    (1 << 20) + 4096,
    40 << 10,
    70 << 10,
    1 << 10,
    100 << 10,
];

/// A line of this alone ends a document.
const END: &str = "<|endoftext|>";

fn seeds() -> Vec<Vec<u8>> {
    let fragments: [&[u8]; 6] = [
        b"one two\n",
        b" \n a\r\n\n\tb",
        b"x",
        b"<|endoftext|>\n",
        "é▁</s>  12".as_bytes(),
        "don't \u{3000}\n".as_bytes(),
    ];
    let words: [&[u8]; 3] = [b"the cat sat on a mat. ", b"it is", b" x y"];
    let bytes: [&[u8]; 5] = [
        b"\xef\xbb\xbfone\n",
        b"two\xff\n",
        b"<|endoftext|> \r\n",
        b"\xc3",
        b"  \n",
    ];
    let mut seeds = Vec::new();
    for tokenizer in 0..TOKENIZERS.len() as u8 {
        for length in 0..4 {
            let switches = [b'0' + tokenizer, b'0' + length, b'0'];
            let mut seed = |order: &[u8], fragments: &[&[u8]]| {
                let all = [&[&switches[..], order], fragments].concat();
                seeds.push(parts::join(&all));
            };
            seed(b"0001112", &fragments);
            seed(b"0000001", &words);
        }
        let mut all: Vec<&[u8]> = vec![b"", b"01234"];
        all.extend(bytes);
        let switches = [b'0' + tokenizer, b'0', b'1'];
        all[0] = &switches;
        seeds.push(parts::join(&all));
    }
    seeds
}

/// The fragments in the order that a part says, over and over.
fn text(fragments: &[&[u8]], order: &[u8], length: usize) -> Vec<u8> {
    let mut text = Vec::new();
    for byte in order.iter().cycle().take(length) {
        text.extend_from_slice(fragments[usize::from(*byte) % fragments.len()]);
        if text.len() >= length {
            break;
        }
    }
    text
}

/// The documents of a file, and its lines that are no UTF-8 and left out.
fn documents(file: &[u8]) -> (Vec<String>, u64) {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file);
    let (mut all, mut bad) = (vec![String::new()], 0);
    for line in file.split_inclusive(|&byte| byte == b'\n') {
        match std::str::from_utf8(line) {
            Ok(line) if line.trim_ascii_end() == END => all.push(String::new()),
            Ok(line) => all.last_mut().expect("one at least").push_str(line),
            Err(_) => bad += 1,
        }
    }
    all.retain(|document| !document.trim().is_empty());
    (all, bad)
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
    if switches.on(2) {
        as_it_is(tokenizer, &text(fragments, order, length.min(100 << 10)));
    } else {
        one_document(tokenizer, &text(fragments, order, length));
    }
}

/// A file of any bytes, bad lines left out.
fn as_it_is(tokenizer: &Tokenizer, file: &[u8]) {
    let (documents, bad) = documents(file);
    let whole: Result<Vec<Vec<u32>>, _> = documents
        .iter()
        .map(|document| tokenizer.encode(document))
        .collect();
    let place = Place::fresh();
    let path = place.write("in/a.txt", file);
    let streamed = prepared(&place, &[path], "text", tokenizer, OnBadInput::Skip);
    match (streamed, whole) {
        (Some(streamed), Ok(whole)) => {
            assert_eq!(streamed.bad, bad);
            let end = tokenizer.end_of_text();
            let ids = |documents: Vec<Vec<u32>>| documents.into_iter().flatten();
            assert!(ids(streamed.documents).eq(ids(whole).filter(|&id| id != end)));
        }
        (None, Ok(whole)) => assert!(whole.is_empty()),
        _ => {}
    }
}

/// A text as one document.
fn one_document(tokenizer: &Tokenizer, bytes: &[u8]) {
    // A line of the end alone, and a mark at the beginning, are no text.
    let text = parts::text(bytes).replace(END, "<|endoftext|");
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
