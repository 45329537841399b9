//! tokenizer.json: reading it, then text to ids and ids to text.
//!
//! reader: crates/simattn-data/src/tokenizer/load.rs except from_file from_file_with read
//! reader: crates/simattn-data/src/tokenizer/check.rs
//! reader: crates/simattn-data/src/tokenizer/control.rs
//! reader: crates/simattn-data/src/tokenizer/merge.rs
//! reader: crates/simattn-data/src/tokenizer/foreign.rs except letters_apart_from keeps_letters
//! reader: crates/simattn-data/src/tokenizer/probe.rs
//! reader: crates/simattn-data/src/tokenizer/mod.rs except save fmt letters_apart_from keeps_letters
#![no_main]

use simattn_data::{Document, Tokenizer};
use simattn_fuzz::{parts, tokenizers};

const TEXT: &str = "a b  ab </s> Once upon 12 été\n\n▁ <|endoftext|>\t’s don't";

fn seeds() -> Vec<Vec<u8>> {
    let ids: Vec<u8> = (0..16).collect();
    let written = tokenizers::written()
        .into_iter()
        .map(|json| json.to_string());
    let ours = [tokenizers::learnt(), Tokenizer::bytes()].map(|made| made.to_json().to_owned());
    let seed = |json: String| parts::join(&[json.as_bytes(), TEXT.as_bytes(), &ids]);
    written.chain(ours).map(seed).collect()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let text = parts::text(all.get(1).copied().unwrap_or_default());
    let tokenizer = match Tokenizer::from_json(all[0], "tokenizer.json") {
        Ok(tokenizer) => tokenizer,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    assert!((tokenizer.end_of_text() as usize) < tokenizer.vocabulary());
    let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), "what was just written")
        .expect("what was just written");
    assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    match (tokenizer.encode(&text), again.encode(&text)) {
        (Ok(ids), Ok(same)) => {
            assert_eq!(ids, same, "two readings of one file");
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
            if let Err(error) = tokenizer.decode(&ids) {
                simattn_fuzz::refused(&error);
            }
        }
        (Err(error), _) | (_, Err(error)) => simattn_fuzz::refused(&error),
    }
    let document = Document {
        name: "text".to_owned(),
        text: text.into_owned(),
    };
    if let Err(error) = tokenizer.encode_documents(&[document]) {
        simattn_fuzz::refused(&error);
    }
    tokenizer.token_id("</s>");
    let ids = all.get(2).copied().unwrap_or_default();
    let ids: Vec<u32> = ids.iter().map(|&byte| byte.into()).collect();
    if let Err(error) = tokenizer.decode(&ids) {
        simattn_fuzz::refused(&error);
    }
}

simattn_fuzz::target!(seeds, run);
