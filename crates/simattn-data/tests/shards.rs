//! Shards are read whole or refused by name, and the token space is 64 bits wide.

use proptest::prelude::*;
use simattn_data::prepare::{Job, OnBadInput, prepare};
use simattn_data::shards::{
    Entry, HEADER_BYTES, Header, INDEX, Index, IndexedTokenizer, Part, Shard, ShardError,
    TokenShards, Width, foreign_folder, is_foreign_folder,
};
use simattn_data::{Cursor, DataError, Loader, Permutation, Position, TokenSource, Tokenizer};
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of a few small shards of bytes.
fn prepared(place: &Path) -> PathBuf {
    let text = place.join("text.jsonl");
    let lines: Vec<String> = (0..40)
        .map(|n| format!("{{\"text\":\"document {n} with some words\"}}\n"))
        .collect();
    fs::write(&text, lines.concat()).unwrap();
    let out = place.join("shards");
    prepare(
        &Job {
            inputs: &[text],
            validation: &[],
            tokenizer: &Tokenizer::bytes(),
            out: &out,
            field: "text",
            validation_fraction: 0.3,
            seed: 1,
            shard_tokens: 300,
            on_bad_input: OnBadInput::Fail,
        },
        &mut (),
    )
    .unwrap();
    out
}

/// Opens and verifies everything.
fn read_all(folder: &Path) -> Result<u64, ShardError> {
    let index = Index::read(folder)?;
    let mut tokens = 0;
    for part in [&index.train, &index.validation] {
        let set = TokenShards::of_part(folder, &index, part)?;
        set.verify()?;
        tokens += set.tokens();
    }
    Ok(tokens)
}

#[test]
fn any_damage_of_a_shard_is_refused_by_name() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path());
    let tokens = read_all(&folder).unwrap();
    assert_eq!(
        tokens,
        Index::read(&folder).unwrap().train.tokens
            + Index::read(&folder).unwrap().validation.tokens
    );
    let victim = folder.join("train-00001.bin");
    let whole = fs::read(&victim).unwrap();
    let refused = || {
        let line = read_all(&folder).unwrap_err().to_string();
        assert!(line.contains("train-00001.bin"), "{line}");
        assert!(!line.contains('\n'), "{line}");
        line
    };
    for at in 0..whole.len() {
        for mask in [1, 0x80] {
            let mut bytes = whole.clone();
            bytes[at] ^= mask;
            fs::write(&victim, &bytes).unwrap();
            let line = refused();
            let said = match at {
                0..8 => "not a shard of token ids",
                8..HEADER_BYTES => "its header is damaged",
                _ => "do not match their checksum",
            };
            assert!(line.contains(said), "byte {at}: {line}");
        }
    }
    for length in (0..whole.len()).step_by(7) {
        fs::write(&victim, &whole[..length]).unwrap();
        refused();
    }
    fs::write(&victim, [&whole[..], b"x"].concat()).unwrap();
    assert!(refused().contains("promises"));
    // A shard of the same folder under another's name.
    fs::copy(folder.join("train-00000.bin"), &victim).unwrap();
    assert!(refused().contains("not the shard that index.json lists"));
    fs::remove_file(&victim).unwrap();
    assert!(refused().contains("no such file"));
    fs::write(&victim, &whole).unwrap();
    assert_eq!(read_all(&folder).unwrap(), tokens);
}

#[test]
fn a_damaged_index_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let folder = prepared(place.path());
    let path = folder.join(INDEX);
    let text = fs::read_to_string(&path).unwrap();
    for (from, to, said) in [
        ("\"format\": 1", "\"format\": 2", "version 2"),
        ("train-00000.bin", "../train-00000.bin", "shard name"),
        ("\"tokens\": 3", "\"tokens\": 4", "not an index of shards"),
        ("{", "[", "not an index of shards"),
        ("\"u16\"", "\"u32\"", "ids of 2 bytes"),
    ] {
        let wrong = text.replacen(from, to, 1);
        assert_ne!(wrong, text, "{from}");
        fs::write(&path, wrong).unwrap();
        let line = read_all(&folder).unwrap_err().to_string();
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn strangers_are_refused_with_a_hint() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("data.bin");
    for (bytes, said) in [
        (&b"PAR1rest"[..], "give it to `simattn prepare` instead"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"{\"text\"", "JSON"),
        (b"\x93NUMPY", "NumPy"),
        (b"hello world", "the bytes 68 65 6c"),
        (b"", "empty shard"),
        (b"SIMATTN\x1a", "8 bytes where its header promises 128"),
    ] {
        fs::write(&path, bytes).unwrap();
        let line = Shard::open(&path).unwrap_err().to_string();
        assert!(line.contains(said) && line.contains("data.bin"), "{line}");
    }
    // llm.c's magic with wrong versions, numbers and lengths.
    let header = |numbers: [i32; 3], rest: usize| {
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.resize(1024 + rest, 0);
        bytes
    };
    for (bytes, said) in [
        (header([20_240_520, 2, 4], 8), "version 2"),
        (header([20_240_520, 1, -4], 8), "-4 tokens"),
        (header([20_240_520, 1, 5], 8), "promises 1034"),
        (header([20_240_520, 1, 0], 0), "empty shard"),
        (header([20_240_801, 1, 2], 8), "version 1"),
    ] {
        fs::write(&path, bytes).unwrap();
        let line = Shard::open(&path).unwrap_err().to_string();
        assert!(line.contains(said), "{line}");
    }
}

#[test]
fn files_of_other_tools_are_read() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    assert!(!is_foreign_folder(folder));
    let ids: Vec<u32> = "one\u{0}two"
        .bytes()
        .map(u32::from)
        .chain([256])
        .cycle()
        .take(80)
        .collect();
    let narrow: Vec<u8> = ids
        .iter()
        .flat_map(|&id| (id as u16).to_le_bytes())
        .collect();
    let wide: Vec<u8> = ids.iter().flat_map(|id| id.to_le_bytes()).collect();
    let header = |magic: i32, version: i32| {
        let numbers = [magic, version, ids.len() as i32];
        let mut bytes: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
        bytes.resize(1024, 0);
        bytes
    };
    let llm_c = [header(20_240_520, 1), narrow.clone()].concat();
    let llama = [header(20_240_801, 7), wide].concat();
    fs::write(folder.join("x_train_000001.bin"), &llm_c).unwrap();
    let line = foreign_folder(folder).unwrap_err().to_string();
    assert!(line.contains("no tokens for validation"), "{line}");
    fs::write(folder.join("x_train_000002.bin"), &llama).unwrap();
    fs::write(folder.join("x_val_000000.bin"), &llm_c).unwrap();
    fs::write(folder.join("train.bin"), &narrow).unwrap();
    assert!(is_foreign_folder(folder));
    let (train, validation) = foreign_folder(folder).unwrap();
    assert_eq!((train.len(), validation.len()), (3, 1));

    let tokenizer = Tokenizer::bytes();
    let set = TokenShards::foreign(&train, &tokenizer).unwrap();
    assert_eq!(set.tokens(), 240);
    let mut all = vec![0; 240];
    set.read(0, &mut all).unwrap();
    assert_eq!(all, [&ids[..], &ids, &ids].concat());
    assert_eq!((set.bytes(), set.documents()), (210, 30));
    let documents: Vec<Vec<u32>> = set.read_documents(256).map(Result::unwrap).collect();
    assert_eq!(documents.len(), 30);
    assert!(
        documents
            .iter()
            .all(|document| tokenizer.decode(document).unwrap() == "one\0two")
    );

    // An id beyond the vocabulary, and an odd length.
    fs::write(folder.join("train.bin"), [&narrow[..], &[1, 2]].concat()).unwrap();
    let line = TokenShards::foreign(&[folder.join("train.bin")], &tokenizer).unwrap_err();
    let line = line.to_string();
    assert!(
        line.contains("token 80 is id 513, beyond the tokenizer's vocabulary of 257"),
        "{line}"
    );
    fs::write(folder.join("train.bin"), &narrow[1..]).unwrap();
    assert!(TokenShards::foreign(&[folder.join("train.bin")], &tokenizer).is_err());
}

/// A sparse shard of 2³² + 1000 tokens whose last 1000 count, behind a small one.
#[test]
fn tokens_beyond_32_bits_are_reached() {
    let place = tempfile::tempdir().unwrap();
    let beyond = (1_u64 << 32) + 1000;
    let header = |tokens: u64| Header {
        width: Width::U16,
        tokens,
        documents: 1,
        bytes: tokens,
        vocabulary: 257,
        end_of_text: 256,
        tokenizer: Tokenizer::bytes().fingerprint(),
        sha256: [0; 32],
    };
    let mut entries = Vec::new();
    for (file, tokens) in [("train-00000.bin", 500), ("train-00001.bin", beyond)] {
        let mut shard = File::create(place.path().join(file)).unwrap();
        shard.write_all(&header(tokens).to_bytes()).unwrap();
        shard.set_len(HEADER_BYTES as u64 + 2 * tokens).unwrap();
        let last = tokens.min(1000);
        shard
            .seek(SeekFrom::Start(HEADER_BYTES as u64 + 2 * (tokens - last)))
            .unwrap();
        let ids: Vec<u8> = (0..last)
            .flat_map(|id| (id as u16 % 200).to_le_bytes())
            .collect();
        shard.write_all(&ids).unwrap();
        entries.push(Entry {
            file: file.to_owned(),
            tokens,
            documents: 1,
            bytes: tokens,
            sha256: "0".repeat(64),
        });
    }
    let part = Part {
        tokens: 500 + beyond,
        documents: 2,
        bytes: 500 + beyond,
        shards: entries,
    };
    let index = Index {
        format: 1,
        tool: String::new(),
        tokenizer: IndexedTokenizer {
            fingerprint: Tokenizer::bytes().fingerprint(),
            vocabulary: 257,
            end_of_text: 256,
        },
        width: Width::U16,
        train: part.clone(),
        validation: Part::default(),
        bad_inputs: 0,
        job: serde_json::Value::Null,
    };
    let set = Arc::new(TokenShards::of_part(place.path(), &index, &part).unwrap());
    assert_eq!(set.tokens(), 500 + beyond);
    let mut last = vec![0; 1000];
    set.read(500 + (1 << 32), &mut last).unwrap();
    let expected: Vec<u32> = (0..1000).map(|id| id % 200).collect();
    assert_eq!(last, expected);
    assert!(set.read(501 + (1 << 32), &mut last).is_err());
    // Across the seam of the two.
    let mut seam = vec![9; 4];
    set.read(498, &mut seam).unwrap();
    assert_eq!(seam, [98, 99, 0, 0]);

    // The loader's last window, wherever its order puts it.
    let context = 1 << 20;
    let mut loader = Loader::new(set.clone(), 1, context, 5).unwrap();
    let windows = loader.windows()[0];
    assert_eq!(windows, (500 + beyond).div_ceil(context as u64));
    let order = Permutation::new(windows, 5, "windows/epoch-0");
    let place = (0..windows).find(|&place| order.get(place) == Some(windows - 1));
    let cursor = Cursor {
        epoch: 0,
        window: place.unwrap(),
        rows: 0,
    };
    loader
        .seek(&Position {
            sources: vec![cursor],
        })
        .unwrap();
    let batch = loader.next_batch().unwrap();
    let start = (windows - 1) * context as u64;
    assert!(start >= 1 << 32);
    let count = (set.tokens() - start) as usize;
    let mut ids = vec![0; count];
    set.read(start, &mut ids).unwrap();
    assert!(ids.contains(&199));
    assert!(
        batch.targets.iter().take(count).eq(ids
            .iter()
            .map(|&id| id as i32)
            .collect::<Vec<_>>()
            .iter())
    );
}

proptest! {
    #[test]
    fn any_bytes_are_refused_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), ours: bool) {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("x.bin");
        let bytes = if ours { [&b"SIMATTN\x1a"[..], &bytes].concat() } else { bytes };
        fs::write(&path, &bytes).unwrap();
        prop_assert!(Shard::open(&path).is_err());
        fs::write(place.path().join(INDEX), &bytes).unwrap();
        prop_assert!(Index::read(place.path()).is_err());
        // Two random bytes an id are ids of someone's vocabulary, but not of 257.
        if let Err(error) = TokenShards::foreign(&[path], &Tokenizer::bytes()) {
            let one_line = matches!(error, DataError::Shard(_)) && !error.to_string().contains('\n');
            prop_assert!(one_line);
        }
    }
}
