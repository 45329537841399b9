//! References to the Hub.
//!
//! reader: crates/simattn-hub/src/reference.rs
#![no_main]

use simattn_hub::{DatasetReference, ModelReference, is_reference};

fn seeds() -> Vec<Vec<u8>> {
    [
        "hf://openai-community/gpt2",
        "hf://models/EleutherAI/pythia-14m@step3000",
        "hf://datasets/allenai/ai2_arc@refs%2Fconvert%2Fparquet/ARC-Easy/test/*.parquet",
        "hf://datasets/a/b/c",
        "hf:gpt2",
        "text/books",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let known = is_reference(text);
    match text.parse::<ModelReference>() {
        Ok(reference) => {
            assert!(known);
            let repository = &reference.repository;
            assert!(!repository.id().contains("..") && !repository.revision().contains(".."));
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
    match text.parse::<DatasetReference>() {
        Ok(reference) => {
            assert!(known);
            assert!(reference.pattern.split('/').all(|part| part != ".."));
            assert_eq!(reference.to_string().parse(), Ok(reference));
        }
        Err(error) => simattn_fuzz::refused(&error),
    }
}

simattn_fuzz::target!(seeds, run);
