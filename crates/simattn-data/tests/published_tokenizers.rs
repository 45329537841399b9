//! Ids that GPT-2 and GPT-NeoX are known to give, where their tokenizers lie in the shared folder.

use simattn_data::Tokenizer;
use std::path::PathBuf;

/// The tokenizer.json of a published tokenizer; `None`, with a word why, where it is not there.
fn published(name: &str) -> Option<Tokenizer> {
    let shared = std::env::var_os("SIMATTN_SHARED").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
        PathBuf::from,
    );
    let path = shared
        .join("data/tokenizers")
        .join(name)
        .join("tokenizer.json");
    if !path.is_file() {
        println!("skipped because {} is absent", path.display());
        return None;
    }
    Some(Tokenizer::from_file(path).unwrap())
}

fn check(name: &str, hello_world: &[u32], vocabulary: usize, end_of_text: u32) {
    let Some(tokenizer) = published(name) else {
        return;
    };
    assert_eq!(tokenizer.encode("Hello world").unwrap(), hello_world);
    assert_eq!(tokenizer.vocabulary(), vocabulary);
    assert_eq!(tokenizer.end_of_text(), end_of_text);
    for text in ["Hello world", "naïve 𐍈\n\n    x", "<|endoftext|>"] {
        let ids = tokenizer.encode(text).unwrap();
        assert!(!ids.contains(&end_of_text), "{text:?} is text");
        assert_eq!(tokenizer.decode(&ids).unwrap(), text);
    }
    let again = Tokenizer::from_json(tokenizer.to_json().as_bytes(), name).unwrap();
    assert_eq!(again.fingerprint(), tokenizer.fingerprint());
    assert_eq!(again.encode("Hello world").unwrap(), hello_world);
}

#[test]
fn gpt2() {
    check("gpt2", &[15496, 995], 50257, 50256);
}

#[test]
fn gpt_neox() {
    check("gpt-neox-20b", &[12092, 1533], 50277, 0);
}
