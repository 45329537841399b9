//! Tokenizers from elsewhere: what they are asked for, what they must not do, and what is done with
//! broken ones.

use super::samples::{WORDS, all, named, to_base64};
use super::*;
use crate::text_settings::TextSettings;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRng, TestRunner};
use serde_json::{Value, json};

fn read(value: &Value) -> Result<Tokenizer, DataError> {
    Tokenizer::from_json(value.to_string().as_bytes(), "t.json")
}

fn sample(name: &str) -> Tokenizer {
    read(&named(name)).unwrap()
}

/// The ids of a whole text by the crate itself, without what is switched off.
pub(crate) fn by_the_crate(value: &Value, text: &str) -> Vec<u32> {
    let mut value = value.clone();
    value["truncation"] = Value::Null;
    value["padding"] = Value::Null;
    if value["model"]["dropout"].is_number() {
        value["model"]["dropout"] = Value::Null;
    }
    let mut model = tokenizers::Tokenizer::from_bytes(value.to_string()).unwrap();
    model.set_encode_special_tokens(true);
    model.encode_fast(text, false).unwrap().get_ids().to_vec()
}

#[test]
fn every_kind_gives_the_ids_of_its_library() {
    for (name, value) in all() {
        let tokenizer = read(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
        for text in [
            "the cat sat on a mat. it is",
            " a  cat\n\nab ＡＢ é xy z",
            "",
        ] {
            assert_eq!(
                tokenizer.encode(text).unwrap(),
                by_the_crate(&value, text),
                "{name}: {text}"
            );
        }
    }
}

#[test]
fn a_spelled_end_of_text_is_text_for_every_kind_of_model() {
    for (name, value) in all() {
        let tokenizer = read(&value).unwrap();
        assert_eq!(tokenizer.end_of_text(), 2, "{name}");
        assert_eq!(tokenizer.token_id("</s>"), Some(2), "{name}");
        for text in [
            "</s>",
            "the </s> cat",
            "a</s>b",
            " </s>",
            "<s> </s> <s>",
            "▁</s>",
        ] {
            let ids = tokenizer.encode(text).unwrap();
            assert!(
                !ids.contains(&2) && !ids.contains(&1),
                "{name}: {text:?} gives {ids:?}"
            );
            let ids = tokenizer.encode_rest(text).unwrap();
            assert!(!ids.contains(&2), "{name}: {text:?} gives {ids:?}");
        }
        assert_eq!(tokenizer.decode(&[2, 1]).unwrap(), "", "{name}");
    }
}

#[test]
fn an_end_of_text_that_is_not_marked_special_is_not_read_from_text_either() {
    for (name, mut value) in all() {
        for token in value["added_tokens"].as_array_mut().unwrap() {
            token["special"] = json!(false);
        }
        let tokenizer = read(&value).unwrap();
        let ids = tokenizer.encode("the </s> cat</s>").unwrap();
        assert!(!ids.contains(&2), "{name}: {ids:?}");
    }
    // Known from the configuration alone, and not an added token at all.
    let mut value = named("words");
    value["added_tokens"] = json!([]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, value.to_string()).unwrap();
    let error = Tokenizer::from_file(&path).unwrap_err().to_string();
    assert!(
        error.contains("eos_token_id") && !error.contains('\n'),
        "{error}"
    );
    fs::write(
        folder.path().join("config.json"),
        r#"{"eos_token_id": [2, 1]}"#,
    )
    .unwrap();
    for tokenizer in [
        Tokenizer::from_file(&path).unwrap(),
        Tokenizer::from_file_with(&path, &TextSettings::ending_with(2)).unwrap(),
    ] {
        assert_eq!(tokenizer.end_of_text(), 2);
        assert!(!tokenizer.names_end_of_text());
        assert_eq!(tokenizer.encode("the </s> cat").unwrap(), [8, 0, 9]);
        assert_eq!(tokenizer.decode(&[8, 2, 9]).unwrap(), "the cat");
        assert_eq!(tokenizer.token_id("</s>"), Some(2));
    }
}

#[test]
fn dropout_truncation_and_padding_are_switched_off() {
    let text = "the cat sat on a mat ".repeat(20);
    for (name, value) in all() {
        let tokenizer = read(&value).unwrap();
        let first = tokenizer.encode(&text).unwrap();
        for _ in 0..5 {
            assert_eq!(tokenizer.encode(&text).unwrap(), first, "{name}");
        }
        assert!(first.len() > 32, "{name}");
        assert!(tokenizer.encode("a").unwrap().len() < 16, "{name}");
    }
}

#[test]
fn a_continuation_keeps_its_first_space() {
    for name in [
        "llama 2",
        "metaspace, in words",
        "metaspace, whole",
        "unigram",
    ] {
        let tokenizer = sample(name);
        let ids = |text: &str| tokenizer.encode(text).unwrap();
        let (prompt, word) = (ids("the cat"), ids("sat"));
        assert_eq!(
            tokenizer.continuation(&prompt, &word).unwrap(),
            " sat",
            "{name}"
        );
        let letters = [
            tokenizer.token_id("s").unwrap(),
            tokenizer.token_id("t").unwrap(),
        ];
        assert_eq!(
            tokenizer.continuation(&prompt, &letters).unwrap(),
            "st",
            "{name}"
        );
        assert_eq!(tokenizer.continuation(&prompt, &[]).unwrap(), "", "{name}");
    }
    let pieces = sample("word pieces");
    let ids = |text: &str| pieces.token_id(text).unwrap();
    let prompt = [ids("the")];
    assert_eq!(pieces.continuation(&prompt, &[ids("cat")]).unwrap(), " cat");
    assert_eq!(pieces.continuation(&prompt, &[ids("##s")]).unwrap(), "s");
}

#[test]
fn an_id_without_a_token_and_half_a_character_leave_the_rest() {
    let tokenizer = sample("llama 2");
    let prompt = tokenizer.encode("the é").unwrap();
    let byte = tokenizer.token_id("<0xC3>").unwrap();
    let word = tokenizer.encode("cat").unwrap();
    let beyond = u32::try_from(tokenizer.vocabulary()).unwrap() + 7;
    let new = [&word[..], &[beyond, u32::MAX], &word, &[byte]].concat();
    let text = tokenizer.continuation(&prompt, &new).unwrap();
    assert_eq!(text, " cat cat\u{fffd}");
    assert_eq!(
        tokenizer.continuation(&prompt, &[byte]).unwrap(),
        "\u{fffd}"
    );
    assert!(!tokenizer.has_token(beyond));
    let bytes = Tokenizer::bytes();
    assert_eq!(
        bytes
            .continuation(b"ab".map(u32::from).as_slice(), &[99, 256, 300, 0xc3])
            .unwrap(),
        "c\u{fffd}"
    );
}

/// A change at one place.
fn with(mut value: Value, place: &str, new: Value) -> Value {
    *value.pointer_mut(place).unwrap() = new;
    value
}

#[test]
fn files_that_make_the_library_panic_are_refused_in_one_line() {
    let map = |bytes: &[u8]| {
        with(
            named("unigram"),
            "/normalizer/normalizers/0/precompiled_charsmap",
            json!(to_base64(bytes)),
        )
    };
    let llama = |place: &str, new: Value| with(named("llama 2"), place, new);
    let mut nested = json!({ "type": "Lowercase" });
    for _ in 0..40 {
        nested = json!({ "type": "Sequence", "normalizers": [nested] });
    }
    let doubling = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" });
    let cases = [
        ("a map of nothing", map(b"")),
        ("a map of 3 bytes", map(b"abc")),
        ("a map of an empty table", map(&[0, 0, 0, 0, b'a', 0])),
        (
            "a map that asks for 8.6 GB",
            map(&[0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
        ),
        (
            "a map that points outside",
            map(&[4, 0, 0, 0, 0, 0xff, 0xff, 0x7f, b'a', 0]),
        ),
        (
            "a prefix longer than a right side",
            llama("/model/continuing_subword_prefix", json!("##########")),
        ),
        ("a prefix that ends within a character", {
            let value = llama("/model/continuing_subword_prefix", json!("#"));
            with(
                with(value, "/model/merges", json!([["a", "é"]])),
                "/model/vocab",
                json!({"<unk>": 0, "a": 1, "é": 2}),
            )
        }),
        (
            "nothing to replace",
            llama("/normalizer/normalizers/1/pattern/String", json!("")),
        ),
        (
            "an empty pattern to replace",
            llama("/normalizer/normalizers/1/pattern", json!({ "Regex": "" })),
        ),
        (
            "nothing in front",
            llama("/normalizer/normalizers/0/prepend", json!("")),
        ),
        (
            "nothing in the decoder",
            llama("/decoder/decoders/0/pattern/String", json!("")),
        ),
        (
            "a length of 0",
            with(named("fixed lengths"), "/pre_tokenizer/length", json!(0)),
        ),
        ("steps within steps", llama("/normalizer", nested)),
        (
            "text without end",
            llama("/normalizer/normalizers", vec![doubling; 60].into()),
        ),
        (
            "a billion rounds",
            llama(
                "/normalizer/normalizers/1/pattern",
                json!({ "Regex": "(?:(?=a)){1000000000}" }),
            ),
        ),
        (
            "a piece as deep as the stack",
            with(
                named("unigram"),
                "/model/vocab/5/0",
                json!("a".repeat(200_000)),
            ),
        ),
    ];
    for (what, value) in cases {
        let error = match read(&value) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("{what} was taken"),
        };
        assert!(
            error.starts_with("t.json: not a usable tokenizer.json: "),
            "{what}: {error}"
        );
        assert!(
            !error.contains('\n') && error.len() < 500,
            "{what}: {error}"
        );
    }
}

#[test]
fn a_panic_on_a_text_is_an_error() {
    let panics = foreign::contained(|| -> tokenizers::Result<()> { panic!("so\nit is") });
    assert_eq!(
        panics.unwrap_err(),
        "the tokenizers library breaks off on it (so it is)"
    );
    assert_eq!(foreign::contained(|| Ok(3)), Ok(3));
}

/// A value elsewhere in the file becomes another one, of another kind as a rule.
fn mutate(value: &mut Value, rng: &mut TestRng) {
    let mut places = Vec::new();
    walk(value, String::new(), &mut places);
    // Vocabularies have by far the most places; each kind of place is to come.
    let few: Vec<&String> = places
        .iter()
        .filter(|place| !place.starts_with("/model/vocab") && !place.starts_with("/model/merges"))
        .collect();
    let from: Vec<&String> = if rng.random_bool(0.7) {
        few
    } else {
        places.iter().collect()
    };
    let place = from[rng.random_range(0..from.len())].clone();
    let new = match rng.random_range(0..14) {
        0 => Value::Null,
        1 => json!(0),
        2 => json!(-1),
        3 => json!(u32::MAX),
        4 => json!(u64::MAX),
        5 => json!(""),
        6 => json!("a".repeat(rng.random_range(1..3000))),
        7 => json!("é"),
        8 => json!([]),
        9 => json!({}),
        10 => json!(true),
        11 => json!(0.5),
        12 => {
            let other = &places[rng.random_range(0..places.len())];
            value.pointer(other).unwrap().clone()
        }
        _ => {
            let (parent, key) = place.rsplit_once('/').unwrap();
            match value.pointer_mut(parent) {
                Some(Value::Object(map)) => drop(map.remove(key)),
                Some(Value::Array(list)) => drop(list.remove(key.parse().unwrap())),
                _ => {}
            }
            return;
        }
    };
    *value.pointer_mut(&place).unwrap() = new;
}

fn walk(value: &Value, place: String, places: &mut Vec<String>) {
    let escaped = |key: &str| key.replace('~', "~0").replace('/', "~1");
    match value {
        Value::Object(map) => {
            for (key, within) in map {
                // A removal needs the plain name.
                if !key.contains(['~', '/']) {
                    walk(within, format!("{place}/{}", escaped(key)), places);
                }
            }
        }
        Value::Array(list) => {
            for (index, within) in list.iter().enumerate() {
                walk(within, format!("{place}/{index}"), places);
            }
        }
        _ => {}
    }
    if !place.is_empty() {
        places.push(place);
    }
}

#[test]
fn no_mutated_tokenizer_panics() {
    let mut runner = TestRunner::new_with_rng(
        Config::default(),
        TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    let rng = runner.rng();
    let text = format!("{} </s> é漢 ab1\n\n  x", WORDS.join(" "));
    let (mut taken, mut refused) = (0, 0);
    for (_, sample) in all() {
        for _ in 0..60 {
            let mut value = sample.clone();
            for _ in 0..rng.random_range(1..4) {
                mutate(&mut value, rng);
            }
            let Ok(tokenizer) = read(&value) else {
                refused += 1;
                continue;
            };
            taken += 1;
            // Errors are fine.
            let ids = tokenizer.encode(&text).unwrap_or_default();
            let _ = tokenizer.encode_rest(&text);
            let _ = tokenizer.decode(&ids);
            let _ = tokenizer.continuation(&ids, &[5, 3, 300, 7]);
        }
    }
    assert!(
        taken > 50 && refused > 50,
        "{taken} taken, {refused} refused"
    );
}

proptest! {
    #![proptest_config(Config::with_cases(60))]
    #[test]
    fn no_byte_changed_makes_a_panic(kind in 0_usize..11, changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = all()[kind].1.to_string().into_bytes();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(tokenizer) = Tokenizer::from_json(&bytes, "t.json") {
            let _ = tokenizer.encode("the cat </s> sat");
        }
    }
}
