//! How long it takes to make tales, and to learn and apply a BPE on them or on a path.
//!
//! `cargo run --release -p simattn-data --example speed -- [bpe:1024] [PATH]`; without a path, 2 MB
//! of tales.

use simattn_data::{Corpus, DataError, TokenizerSpec};
use std::time::Instant;

fn timed<T>(what: &str, work: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    let start = Instant::now();
    let result = work()?;
    println!("{what}: {:.3} s", start.elapsed().as_secs_f64());
    Ok(result)
}

fn main() -> Result<(), DataError> {
    let mut arguments = std::env::args().skip(1);
    let spec: TokenizerSpec = arguments
        .next()
        .unwrap_or_else(|| "bpe:1024".to_owned())
        .parse()?;
    let corpus = match arguments.next() {
        Some(path) => timed("reading", || Corpus::from_path(path, 0.05, 0)),
        None => timed("making 2 MB of tales", || Corpus::tales(0, 2_000_000, 1)),
    }?;
    let bytes = |documents: &[simattn_data::Document]| -> usize {
        documents.iter().map(|document| document.text.len()).sum()
    };
    println!(
        "{}: {} training documents of {} bytes, {} validation documents of {} bytes",
        corpus.name,
        corpus.train.len(),
        bytes(&corpus.train),
        corpus.validation.len(),
        bytes(&corpus.validation),
    );
    let tokenizer = timed(&format!("building {spec}"), || spec.build(&corpus))?;
    let tokens = timed("encoding the training part", || {
        tokenizer.encode_documents(&corpus.train)
    })?;
    println!(
        "{} tokens, {:.3} bytes a token, {:.1} tokens a document; tokenizer {}",
        tokens.ids.len(),
        tokens.bytes_per_token(),
        tokens.ids.len() as f64 / tokens.documents as f64,
        tokenizer.fingerprint(),
    );
    for document in corpus.train.iter().take(3) {
        let text: String = document.text.chars().take(600).collect();
        println!("\n{}\n{text}", document.name);
    }
    Ok(())
}
