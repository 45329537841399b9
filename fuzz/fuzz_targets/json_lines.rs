//! JSON lines through `prepare`.
//!
//! reader: crates/simattn-data/src/reading/jsonl.rs except pass
//! reader: crates/simattn-data/src/reading/lines.rs
//! reader: crates/simattn-data/src/prepare/feed.rs
#![no_main]

use serde_json::Value;
use simattn_data::Tokenizer;
use simattn_data::prepare::OnBadInput;
use simattn_fuzz::prepared::prepared;
use simattn_fuzz::{Place, parts};

fn seeds() -> Vec<Vec<u8>> {
    let files: [&[u8]; 6] = [
        b"{\"text\": \"one\"}\n{\"text\": \"two\\n\\u00e9\", \"id\": 3}\n\n",
        b"\xef\xbb\xbf{\"id\": {\"text\": [1, null, 1e5]}, \"text\": \"deep\"}\r\n",
        b"{\"text\": 3}\n{\"id\": 1}\n[1]\nnot JSON\n{\"text\": \"a\", \"text\": \"b\"}\n",
        b"{\"text\": \"\\ud83d\\ude00 \\ud83d\"}\n{\"text\": \" \"}\n{\"text\": \"\"}",
        b"{\"text\": \"\xff\"}\n{\"text\": \"x\", \"nan\": NaN}\n",
        b"{\"text\": \"<|endoftext|>\\n\\u0000\\f\"} trailing\n",
    ];
    let seed = |switches: &'static [u8]| {
        files.map(move |file| parts::join(&[switches, &b"text"[..], file]))
    };
    [seed(b"0"), seed(b"1")].concat()
}

fn run(data: &[u8]) {
    let (switches, [field, lines]) = parts::parts(data);
    let field = parts::text(field);
    let place = Place::fresh();
    let file = place.write("in/a.jsonl", lines);
    let inputs = [file];
    let tokenizer = Tokenizer::bytes();
    let skipped = prepared(&place, &inputs, &field, &tokenizer, OnBadInput::Skip);
    if let Some(outcome) = &skipped
        && outcome.bad == 0
    {
        // What serde_json refuses in fields that are not asked for is read all the same.
        let (expected, all) = expected(lines, &field);
        let mut found = outcome.documents.iter();
        let there = expected.iter().all(|text| found.any(|other| other == text));
        assert!(there, "another text");
        assert!(
            !all || expected.len() == outcome.documents.len(),
            "more text"
        );
    }
    if switches.on(0) {
        let failed = prepared(&place, &inputs, &field, &tokenizer, OnBadInput::Fail);
        assert_eq!(
            failed.is_some(),
            skipped.is_some_and(|outcome| outcome.bad == 0)
        );
    }
}

/// The documents of a file without bad lines, by the whole of it, and whether serde_json reads
/// every line.
fn expected(lines: &[u8], field: &str) -> (Vec<Vec<u32>>, bool) {
    let mut all = true;
    let texts = lines.split(|&byte| byte == b'\n').filter_map(|line| {
        let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        let value = serde_json::from_slice::<Value>(line);
        all &= value.is_ok() || line.trim_ascii().is_empty();
        value.ok()?.get(field)?.as_str().map(str::to_owned)
    });
    let documents = texts
        .filter(|text| !text.trim().is_empty())
        .map(|text| text.bytes().map(u32::from).collect())
        .collect();
    (documents, all)
}

simattn_fuzz::target!(seeds, run);
