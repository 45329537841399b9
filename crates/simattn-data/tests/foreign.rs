//! Token files of other tools: ids as they are, or a refusal that says what the file seems to be.

use simattn_data::shards::{
    Header, ShardError, TokenShards, Width, foreign_folder, is_foreign_folder,
};
use simattn_data::{DataError, TokenSource, Tokenizer};
use std::fs;
use std::path::Path;

/// A tokenizer of words of this vocabulary; id 0 closes a document.
fn words(vocabulary: usize) -> Tokenizer {
    let ids: Vec<String> = (1..vocabulary)
        .map(|id| format!("\"w{id}\":{id}"))
        .collect();
    let json = format!(
        "{{\"version\":\"1.0\",\"truncation\":null,\"padding\":null,\"added_tokens\":[{{\"id\":0,\
         \"content\":\"<|endoftext|>\",\"single_word\":false,\"lstrip\":false,\"rstrip\":false,\
         \"normalized\":false,\"special\":true}}],\"normalizer\":null,\"pre_tokenizer\":\
         {{\"type\":\"Whitespace\"}},\"post_processor\":null,\"decoder\":null,\"model\":\
         {{\"type\":\"WordLevel\",\"vocab\":{{\"<|endoftext|>\":0,{}}},\"unk_token\":\"w1\"}}}}",
        ids.join(",")
    );
    Tokenizer::from_json(json.as_bytes(), "words").expect("a tokenizer")
}

/// Ids below `vocabulary`, large ones among them, the end of text every now and then.
fn ids(vocabulary: u32) -> Vec<u32> {
    let all = (1..401_u32).map(|n| n.wrapping_mul(2_654_435_761) % vocabulary);
    all.enumerate()
        .map(|(n, id)| if n % 20 == 19 { 0 } else { id })
        .collect()
}

macro_rules! stored {
    ($ids:expr, $kind:ty, $order:ident) => {
        $ids.iter()
            .flat_map(|&id| (id as $kind).$order())
            .collect::<Vec<u8>>()
    };
}

fn read(path: &Path, tokenizer: &Tokenizer) -> Result<Vec<u32>, DataError> {
    let set = TokenShards::foreign(&[path.to_owned()], tokenizer)?;
    let mut all = vec![0; set.tokens() as usize];
    set.read(0, &mut all)?;
    Ok(all)
}

#[test]
fn the_width_of_bare_ids_follows_from_the_vocabulary() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("train.bin");
    let (small, large) = (words(50_257), words(70_000));
    fs::write(&path, stored!(ids(70_000), u32, to_le_bytes)).unwrap();
    assert_eq!(read(&path, &large).unwrap(), ids(70_000));
    fs::write(&path, stored!(ids(50_257), u16, to_le_bytes)).unwrap();
    assert_eq!(read(&path, &small).unwrap(), ids(50_257));
    // The last vocabulary that 16 bits hold.
    let edge = words(65_536);
    let all: Vec<u32> = (65_000..65_536).collect();
    fs::write(&path, stored!(all, u16, to_le_bytes)).unwrap();
    assert_eq!(read(&path, &edge).unwrap(), all);
}

#[test]
fn token_files_of_another_layout_are_refused_with_what_they_seem_to_be() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("train.bin");
    let (small, large) = (words(50_257), words(70_000));
    let (few, many) = (ids(50_257), ids(70_000));
    let text = "A text that somebody named train.bin, of a few words and more.".repeat(9);
    let header = |bytes: &[u8]| [bytes, &[7; 200]].concat();
    for (bytes, tokenizer, said) in [
        (stored!(few, u32, to_le_bytes), &small, "32-bit numbers"),
        (stored!(many, u32, to_le_bytes), &small, "32-bit numbers"),
        (stored!(few, i64, to_le_bytes), &small, "64-bit numbers"),
        (stored!(many, i64, to_le_bytes), &large, "64-bit numbers"),
        (stored!(few, u16, to_be_bytes), &small, "big-endian"),
        (stored!(few, u32, to_be_bytes), &small, "big-endian"),
        (stored!(many, u32, to_be_bytes), &large, "big-endian"),
        (stored!(few, i64, to_be_bytes), &small, "big-endian"),
        (stored!(few, f32, to_le_bytes), &small, "floating-point"),
        (stored!(few, f64, to_le_bytes), &small, "floating-point"),
        (stored!(many, f32, to_le_bytes), &large, "floating-point"),
        (stored!(few, u16, to_le_bytes), &large, "16-bit numbers"),
        (vec![0; 800], &small, "nothing but zeros"),
        (
            vec![7; 401],
            &small,
            "401 bytes are not a whole number of 16-bit ids",
        ),
        (
            vec![1; 402],
            &large,
            "402 bytes are not a whole number of 32-bit ids",
        ),
        (
            header(b"\x93NUMPY\x01\0v\0{'descr': '<u2'"),
            &small,
            "NumPy",
        ),
        (header(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"), &small, "gzip"),
        (header(b"\x28\xb5\x2f\xfd"), &small, "Zstandard"),
        (header(b"PK\x03\x04"), &small, "zip"),
        (header(b"PAR1"), &small, "Parquet"),
        (header(b"\x89HDF\r\n\x1a\n"), &small, "HDF5"),
        (header(b"ARROW1\0\0"), &small, "Arrow"),
        (header(b"GGUF"), &small, "GGUF"),
        (
            header(b"\x40\0\0\0\0\0\0\0{\"w\":{\"dtype\":"),
            &small,
            "safetensors",
        ),
        (header(b"MMIDIDX\0\0\x01"), &small, "Megatron"),
        (
            header(&20_240_326_i32.to_le_bytes()),
            &small,
            "llm.c's model weights",
        ),
        (
            b"\x80\x04\x95\xff\0\0\0\0\0\0\0]\x94(K\x01K\x02e.".to_vec(),
            &small,
            "pickle",
        ),
        (text.clone().into_bytes(), &small, "begins with text"),
        (text.into_bytes(), &large, "begins with text"),
    ] {
        fs::write(&path, &bytes).unwrap();
        let line = read(&path, tokenizer).expect_err(said).to_string();
        assert!(line.contains(said), "{said}: {line}");
        assert!(line.contains("train.bin") && !line.contains('\n'), "{line}");
    }
}

#[test]
fn a_llm_c_header_that_says_16_bits_of_32_bit_ids_is_not_believed() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("train.bin");
    let ids = stored!(ids(50_257), u32, to_le_bytes);
    let mut bytes = stored!([20_240_520, 1, ids.len() as i32 / 2], i32, to_le_bytes);
    bytes.resize(1024, 0);
    fs::write(&path, [bytes, ids].concat()).unwrap();
    let line = read(&path, &words(50_257)).unwrap_err().to_string();
    assert!(
        line.contains("that its header promises, it seems to hold 32-bit"),
        "{line}"
    );
}

#[test]
fn the_index_of_a_megatron_data_set_tells_the_width() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x_train_document.bin");
    let index = |code: u8| {
        let start = [&b"MMIDIDX\0\0"[..], &1_u64.to_le_bytes(), &[code]].concat();
        fs::write(path.with_extension("idx"), [&start[..], &[0; 64]].concat()).unwrap();
    };
    fs::write(&path, stored!(ids(50_257), u16, to_le_bytes)).unwrap();
    let tokenizer = words(50_257);
    index(8);
    assert_eq!(read(&path, &tokenizer).unwrap(), ids(50_257));
    for (code, said) in [
        (4, "32-bit"),
        (5, "64-bit"),
        (1, "8-bit"),
        (6, "floating-point"),
    ] {
        index(code);
        let line = read(&path, &tokenizer).unwrap_err().to_string();
        assert!(line.contains(said) && line.contains("Megatron"), "{line}");
    }
}

#[test]
fn an_id_beyond_the_vocabulary_is_found_in_every_file() {
    let place = tempfile::tempdir().unwrap();
    let tokenizer = words(50_257);
    // In the last place of the last of three files, behind more than a megabyte.
    let long: Vec<u32> = ids(50_257).into_iter().cycle().take(700_000).collect();
    let paths = ["a", "b", "c"].map(|name| place.path().join(name));
    for path in &paths {
        fs::write(path, stored!(long, u16, to_le_bytes)).unwrap();
    }
    TokenShards::foreign(&paths, &tokenizer).unwrap();
    let last: Vec<u32> = long.iter().copied().chain([50_257]).collect();
    fs::write(&paths[2], stored!(last, u16, to_le_bytes)).unwrap();
    let line = TokenShards::foreign(&paths, &tokenizer)
        .unwrap_err()
        .to_string();
    assert!(
        line.contains("token 700000 is id 50257") && line.contains("/c:"),
        "{line}"
    );
}

#[test]
fn a_shard_of_ours_among_other_files_must_be_of_the_same_tokenizer() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("train.bin");
    let bytes = stored!(ids(200), u16, to_le_bytes);
    let header = Header {
        width: Width::U16,
        tokens: 400,
        documents: 1,
        bytes: 400,
        vocabulary: 257,
        end_of_text: 0,
        tokenizer: Tokenizer::bytes().fingerprint(),
        sha256: {
            use sha2::{Digest, Sha256};
            Sha256::digest(&bytes).into()
        },
    };
    fs::write(&path, [&header.to_bytes()[..], &bytes].concat()).unwrap();
    assert!(read(&path, &Tokenizer::bytes()).is_ok());
    let error = read(&path, &words(50_257)).unwrap_err();
    assert!(
        matches!(error, DataError::Shard(ShardError::Tokenizer { .. })),
        "{error}"
    );
}

#[test]
fn words_of_a_name_tell_its_part_and_not_letters_within_them() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let write = |name: &str| fs::write(folder.join(name), [1, 0, 2, 0]).unwrap();
    for name in [
        "medieval_train_1.bin",
        "medieval_train_2.bin",
        "medieval_val_0.bin",
    ] {
        write(name);
    }
    // Nothing of a part in their names.
    write("test.bin");
    write("meta.bin");
    assert!(is_foreign_folder(folder));
    let (train, validation) = foreign_folder(folder).unwrap();
    let names = |paths: Vec<std::path::PathBuf>| -> Vec<String> {
        let name = |path: &std::path::PathBuf| path.file_name()?.to_str().map(str::to_owned);
        paths.iter().filter_map(name).collect()
    };
    assert_eq!(
        names(train),
        ["medieval_train_1.bin", "medieval_train_2.bin"]
    );
    assert_eq!(names(validation), ["medieval_val_0.bin"]);
    for (name, said) in [
        ("train_val_3.bin", "says training and validation"),
        ("medieval_3.bin", "only within a longer word"),
        ("mytrain.bin", "only within a longer word"),
    ] {
        write(name);
        let line = foreign_folder(folder).unwrap_err().to_string();
        assert!(line.contains(said) && line.contains(name), "{line}");
        fs::remove_file(folder.join(name)).unwrap();
    }
}
