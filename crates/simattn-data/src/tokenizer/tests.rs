use super::learn::sample;
use super::*;
use crate::corpus::Corpus;
use proptest::prelude::*;
use std::sync::LazyLock;

static TALES: LazyLock<Corpus> = LazyLock::new(|| Corpus::tales(1, 60_000, 1_000).unwrap());
static BPE: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train_bpe(&TALES.train, 400).unwrap());

fn document(text: &str) -> Document {
    Document {
        name: "t".into(),
        text: text.into(),
    }
}

proptest! {
    #[test]
    fn text_survives_the_round_trip(text: String) {
        for tokenizer in [&Tokenizer::bytes(), &*BPE] {
            let ids = tokenizer.encode(&text).unwrap();
            prop_assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
            prop_assert!(!ids.contains(&tokenizer.end_of_text()));
            prop_assert_eq!(tokenizer.decode(&ids).unwrap(), text.as_str());
        }
    }

    #[test]
    fn any_known_ids_decode_and_others_are_refused(ids in proptest::collection::vec(0_u32..500, 0..40)) {
        for tokenizer in [&Tokenizer::bytes(), &*BPE] {
            let known = ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary());
            prop_assert_eq!(tokenizer.decode(&ids).is_ok(), known);
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_tokenizer(json in proptest::collection::vec(any::<u8>(), 0..200)) {
        prop_assert!(Tokenizer::from_json(&json, "t").is_err());
    }

    #[test]
    fn samples_keep_to_the_cap(texts in proptest::collection::vec("[aé𐍈]{0,9}", 0..9), cap in 0_u64..60) {
        let documents: Vec<Document> = texts.iter().map(|text| document(text)).collect();
        let total: usize = texts.iter().map(String::len).sum();
        let taken: usize = sample(&documents, cap).iter().map(|text| text.len()).sum();
        prop_assert!(taken as u64 <= cap && taken <= total);
        // At most one character of four bytes is cut off, and then nothing shorter is fitted in.
        prop_assert!(taken as u64 + 3 >= cap.min(total as u64));
    }
}

#[test]
fn the_spelled_end_of_text_is_text() {
    for tokenizer in [&Tokenizer::bytes(), &*BPE] {
        let ids = tokenizer.encode("a<|endoftext|>b").unwrap();
        assert!(!ids.contains(&tokenizer.end_of_text()));
        assert_eq!(tokenizer.decode(&ids).unwrap(), "a<|endoftext|>b");
        assert_eq!(tokenizer.decode(&[97, 256, 98]).unwrap(), "ab");
    }
}

#[test]
fn bytes_through_hugging_face_have_the_same_ids() {
    let bytes = Tokenizer::bytes();
    let mut hugging_face = tokenizers::Tokenizer::from_bytes(bytes.to_json()).unwrap();
    hugging_face.set_encode_special_tokens(true);
    for text in ["Hello  world\n", "naïve 𐍈", "<|endoftext|>", ""] {
        let ids = hugging_face.encode(text, false).unwrap();
        assert_eq!(ids.get_ids(), bytes.encode(text).unwrap());
        assert_eq!(hugging_face.decode(ids.get_ids(), true).unwrap(), text);
    }
}

#[test]
fn files_give_the_same_tokenizer_back() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for tokenizer in [&Tokenizer::bytes(), &*BPE] {
        tokenizer.save(&path).unwrap();
        let read = Tokenizer::from_file(&path).unwrap();
        assert_eq!(read.fingerprint(), tokenizer.fingerprint());
        assert_eq!(read.vocabulary(), tokenizer.vocabulary());
        assert_eq!(read.end_of_text(), 256);
        assert_eq!(
            read.encode(&TALES.validation[0].text).unwrap(),
            tokenizer.encode(&TALES.validation[0].text).unwrap()
        );
    }
    assert_ne!(Tokenizer::bytes().fingerprint(), BPE.fingerprint());
}

#[test]
fn learning_does_not_depend_on_threads_or_order() {
    let with_threads = |threads| {
        rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap()
            .install(|| {
                Tokenizer::train_bpe(&TALES.train, 400)
                    .unwrap()
                    .fingerprint()
            })
    };
    assert_eq!(with_threads(1), BPE.fingerprint());
    assert_eq!(with_threads(5), BPE.fingerprint());
    let mut reversed = TALES.train.clone();
    reversed.reverse();
    assert_eq!(
        Tokenizer::train_bpe(&reversed, 400).unwrap().fingerprint(),
        BPE.fingerprint()
    );
}

#[test]
fn bpe_shortens_text_and_fills_its_vocabulary() {
    assert_eq!(BPE.vocabulary(), 400);
    let set = BPE.encode_documents(&TALES.validation).unwrap();
    assert!(set.bytes_per_token() > 2.0, "{}", set.bytes_per_token());
}

#[test]
fn documents_are_closed_by_the_end_of_text() {
    let set = Tokenizer::bytes()
        .encode_documents(&[document("ab"), document("c")])
        .unwrap();
    assert_eq!(set.ids, [97, 98, 256, 99, 256]);
    assert_eq!((set.bytes, set.documents), (3, 2));
}

#[test]
fn vocabularies_that_cannot_be_are_refused() {
    let error = Tokenizer::train_bpe(&[document("abab")], 256).unwrap_err();
    assert!(matches!(error, DataError::VocabularyTooSmall { .. }));
    let error = Tokenizer::train_bpe(&[document("abab")], 300).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the text supports a vocabulary of at most 258, not 300; ask for bpe:258 or give more text"
    );
    assert!(Tokenizer::train_bpe(&[document("abab abab")], 259).is_ok());
}

#[test]
fn a_tokenizer_without_end_of_text_is_refused() {
    let mut json = tokenizer_json(&[]);
    json["added_tokens"] = serde_json::json!([]);
    let error = Tokenizer::from_json(json.to_string().as_bytes(), "t.json").unwrap_err();
    assert!(error.to_string().starts_with("t.json: no end of text"));
}

#[test]
fn the_bytes_of_tokens_are_the_text_that_they_add() {
    let files = samples::all().into_iter().map(|(name, value)| {
        let json = value.to_string();
        (name, Tokenizer::from_json(json.as_bytes(), name).unwrap())
    });
    let ours = [("bytes", Tokenizer::bytes()), ("bpe", BPE.clone())];
    for (name, tokenizer) in files.chain(ours) {
        for text in [
            "the cat sat on a mat",
            "it is — a cat\n the the",
            "on  mat é",
        ] {
            let ids = tokenizer.encode(text).unwrap();
            let (first, rest) = ids.split_at(1);
            let bytes = rest.iter().map(|&id| tokenizer.token_bytes(id).unwrap());
            let bytes: Vec<u8> = bytes.collect::<Vec<_>>().concat();
            let added = tokenizer.continuation(first, rest).unwrap();
            assert_eq!(String::from_utf8_lossy(&bytes), added, "{name}: {text}");
        }
        for special in tokenizer.special_tokens() {
            assert_eq!(
                tokenizer.token_bytes(special.id),
                Some(Vec::new()),
                "{name}"
            );
            assert_eq!(
                tokenizer.token_id(&special.name),
                Some(special.id),
                "{name}"
            );
        }
        assert_eq!(tokenizer.token_bytes(u32::MAX), None, "{name}");
    }
}
