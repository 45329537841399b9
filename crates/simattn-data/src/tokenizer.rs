//! Text to token ids and back.

use crate::bpe;
use crate::byte_level::{END_OF_TEXT, END_OF_TEXT_ID, LEAST_VOCABULARY, tokenizer_json};
use crate::documents::Document;
use crate::error::DataError;
use crate::hash::stable_hash;
use crate::tokenset::TokenSet;
use rayon::prelude::*;
use std::collections::HashMap;
use std::fmt;
use std::fs;
use std::path::Path;
use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

/// Names of the token that closes a document, the first that a tokenizer has being taken.
const END_OF_TEXT_NAMES: &[&str] = &[
    "<|endoftext|>",
    "</s>",
    "<eos>",
    "<|end_of_text|>",
    "[EOS]",
    "<EOT>",
];

/// The text from which BPE is learnt at most: more does not change the frequent pairs, and takes minutes.
pub const BPE_TRAINING_BYTES: u64 = 64 << 20;

/// Text to token ids and back.
///
/// No special token is ever read from text or added to it: a text that spells `<|endoftext|>` becomes the ordinary
/// tokens of those characters. Only [`Tokenizer::encode_documents`] puts the end of text, after each document. (Added tokens that
/// a tokenizer.json does not mark as special, such as the runs of spaces of GPT-NeoX, are part of its vocabulary
/// and are used.)
#[derive(Clone)]
pub struct Tokenizer {
    /// `None` for the byte tokenizer, whose ids need no look-up.
    model: Option<Box<tokenizers::Tokenizer>>,
    json: String,
    vocabulary: usize,
    end_of_text: u32,
}

impl Tokenizer {
    /// One token a byte, and the end of text: byte `b` has id `b`, the end of text 256; a vocabulary of 257.
    pub fn bytes() -> Self {
        Self {
            model: None,
            json: tokenizer_json(&[]).to_string(),
            vocabulary: LEAST_VOCABULARY,
            end_of_text: END_OF_TEXT_ID,
        }
    }

    /// A Hugging Face tokenizer.json, or what [`Tokenizer::save`] wrote.
    ///
    /// The end of text is the first of `<|endoftext|>`, `</s>`, `<eos>`, `<|end_of_text|>`, `[EOS]` and `<EOT>` among
    /// the added tokens. Truncation and padding that the file asks for are switched off.
    ///
    /// # Errors
    ///
    /// A file that is missing, unreadable or no tokenizer.json, or a tokenizer without end of text.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => DataError::Missing {
                path: path.to_owned(),
            },
            _ => DataError::Unreadable {
                path: path.to_owned(),
                problem: error.to_string(),
            },
        })?;
        Self::from_json(&bytes, &path.display().to_string())
    }

    /// The same from the bytes of a tokenizer.json; `origin` names them in errors.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::from_file`].
    pub fn from_json(json: &[u8], origin: &str) -> Result<Self, DataError> {
        let unusable = |problem: String| DataError::TokenizerFile {
            origin: origin.to_owned(),
            problem,
        };
        let value: serde_json::Value =
            serde_json::from_slice(json).map_err(|error| unusable(error.to_string()))?;
        if value == tokenizer_json(&[]) {
            return Ok(Self::bytes());
        }
        let mut model = tokenizers::Tokenizer::from_bytes(json)
            .map_err(|error| unusable(one_line(&error.to_string())))?;
        model
            .with_truncation(None)
            .map_err(|error| unusable(one_line(&error.to_string())))?
            .with_padding(None)
            .set_encode_special_tokens(true);
        let added: HashMap<String, u32> = model
            .get_added_tokens_decoder()
            .into_iter()
            .map(|(id, token)| (token.content, id))
            .collect();
        let end_of_text = END_OF_TEXT_NAMES
            .iter()
            .find_map(|name| added.get(*name).copied())
            .ok_or_else(|| DataError::NoEndOfText {
                origin: origin.to_owned(),
                tried: END_OF_TEXT_NAMES.join(", "),
            })?;
        // Ids may have gaps; an embedding needs a row for the largest.
        let largest = model.get_vocab(true).into_values().max().unwrap_or(0);
        if largest >= i32::MAX as u32 {
            return Err(unusable(format!(
                "it has the token id {largest}, beyond 2^31"
            )));
        }
        Ok(Self {
            json: value.to_string(),
            model: Some(Box::new(model)),
            vocabulary: largest as usize + 1,
            end_of_text,
        })
    }

    /// Byte-level BPE learnt from documents, with the pre-tokenisation of GPT-2 and no prefix space.
    ///
    /// Ids 0–255 are the bytes, 256 is `<|endoftext|>`, then the merges in the order they were learnt. The same documents give the
    /// same tokenizer on every machine with any number of threads. Beyond [`BPE_TRAINING_BYTES`] of text, it is learnt from
    /// a sample: documents in the order of a hash of their text until there are so many bytes, the last one cut.
    ///
    /// # Errors
    ///
    /// [`DataError::VocabularyTooSmall`] below 257, [`DataError::VocabularyUnreachable`] when the text runs out of
    /// pairs that occur twice.
    pub fn train_bpe(documents: &[Document], vocabulary: usize) -> Result<Self, DataError> {
        if vocabulary < LEAST_VOCABULARY {
            return Err(DataError::VocabularyTooSmall {
                asked: vocabulary,
                least: LEAST_VOCABULARY,
            });
        }
        if vocabulary == LEAST_VOCABULARY {
            return Ok(Self::bytes());
        }
        let words = count_words(&sample(documents, BPE_TRAINING_BYTES))?;
        let merges = bpe::learn(&words, vocabulary);
        if merges.vocabulary() < vocabulary {
            return Err(DataError::VocabularyUnreachable {
                asked: vocabulary,
                reached: merges.vocabulary(),
            });
        }
        let json = tokenizer_json(&merges.spelled()).to_string();
        Self::from_json(json.as_bytes(), "the tokenizer learnt from the text")
    }

    /// The ids of a text, without end of text.
    ///
    /// # Errors
    ///
    /// [`DataError::Tokenizer`] when a tokenizer from a file fails on the text; the byte and BPE tokenizers never do.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, DataError> {
        let Some(model) = &self.model else {
            return Ok(text.bytes().map(u32::from).collect());
        };
        let encoding = model.encode_fast(text, false).map_err(failure)?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids. Special tokens stand for no text and are left out.
    ///
    /// Lossless for the ids of a text under byte-level tokenizers; bytes that are not UTF-8, as a model may generate, or
    /// a character cut in two leaves, become U+FFFD.
    ///
    /// # Errors
    ///
    /// [`DataError::UnknownToken`] for an id that is not in the vocabulary.
    pub fn decode(&self, ids: &[u32]) -> Result<String, DataError> {
        let unknown = |id: u32| DataError::UnknownToken {
            id,
            vocabulary: self.vocabulary,
        };
        let Some(model) = &self.model else {
            let mut bytes = Vec::with_capacity(ids.len());
            for &id in ids {
                match u8::try_from(id) {
                    Ok(byte) => bytes.push(byte),
                    Err(_) if id == END_OF_TEXT_ID => {}
                    Err(_) => return Err(unknown(id)),
                }
            }
            return Ok(String::from_utf8_lossy(&bytes).into_owned());
        };
        if let Some(&id) = ids.iter().find(|&&id| model.id_to_token(id).is_none()) {
            return Err(unknown(id));
        }
        model.decode(ids, true).map_err(failure)
    }

    /// Encodes documents one after the other, each closed by the end of text.
    ///
    /// Works in the current rayon pool, and so with no more threads than that has; the result does not depend on them.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_documents(&self, documents: &[Document]) -> Result<TokenSet, DataError> {
        let encoded: Vec<Vec<u32>> = documents
            .par_iter()
            .map(|document| self.encode(&document.text))
            .collect::<Result<_, _>>()?;
        let mut ids = Vec::with_capacity(encoded.iter().map(|part| part.len() + 1).sum());
        for part in encoded {
            ids.extend(part);
            ids.push(self.end_of_text);
        }
        Ok(TokenSet {
            ids,
            bytes: documents
                .iter()
                .map(|document| document.text.len() as u64)
                .sum(),
            documents: documents.len() as u64,
        })
    }

    /// The id of a token as the vocabulary spells it, special ones too; `None` if there is no such token. The byte tokenizer
    /// knows its end of text alone.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        match &self.model {
            Some(model) => model.token_to_id(token),
            None => (token == END_OF_TEXT).then_some(self.end_of_text),
        }
    }

    /// Whether every byte is a token of its own.
    pub(crate) fn is_bytes(&self) -> bool {
        self.model.is_none()
    }

    /// One more than the largest id: the rows that an embedding needs.
    pub fn vocabulary(&self) -> usize {
        self.vocabulary
    }

    /// The id that closes a document.
    pub fn end_of_text(&self) -> u32 {
        self.end_of_text
    }

    /// The tokenizer.json that [`Tokenizer::from_json`] reads back, and other Hugging Face software computes the same ids
    /// from; the byte tokenizer is a BPE without merges there.
    pub fn to_json(&self) -> &str {
        &self.json
    }

    /// Writes [`Tokenizer::to_json`] to a file.
    ///
    /// # Errors
    ///
    /// [`DataError::Unreadable`] when the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), DataError> {
        let path = path.as_ref();
        fs::write(path, &self.json).map_err(|error| DataError::Unreadable {
            path: path.to_owned(),
            problem: error.to_string(),
        })
    }

    /// 16 hexadecimal digits that stay the same while the tokenizer.json says the same, whatever its layout.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", stable_hash(self.json.as_bytes()))
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tokenizer")
            .field("vocabulary", &self.vocabulary)
            .field("end_of_text", &self.end_of_text)
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

/// At most `cap` bytes of the documents, whole documents in the order of a hash of their text except the last.
fn sample(documents: &[Document], cap: u64) -> Vec<&str> {
    let texts = || documents.iter().map(|document| document.text.as_str());
    if texts().map(|text| text.len() as u64).sum::<u64>() <= cap {
        return texts().collect();
    }
    let mut ordered: Vec<&str> = texts().collect();
    ordered.sort_by_cached_key(|text| stable_hash(text.as_bytes()));
    let mut left = usize::try_from(cap).unwrap_or(usize::MAX);
    ordered
        .into_iter()
        .filter(|text| !text.is_empty())
        .map_while(|text| {
            let taken = &text[..text.floor_char_boundary(left)];
            left -= taken.len();
            (!taken.is_empty()).then_some(taken)
        })
        .collect()
}

/// How often each pre-token occurs, as bytes, sorted.
fn count_words(texts: &[&str]) -> Result<Vec<(Vec<u8>, u64)>, DataError> {
    // The pre-tokenisation that `tokenizer_json` writes, so that training and encoding cut alike.
    let cut = tokenizers::pre_tokenizers::byte_level::ByteLevel::new(false, true, true);
    let characters = crate::byte_level::byte_characters();
    let byte_of: HashMap<char, u8> = characters.into_iter().zip(0..=u8::MAX).collect();
    let counts = texts
        .par_iter()
        .map(|text| {
            let mut counts: HashMap<String, u64> = HashMap::new();
            let mut pieces = PreTokenizedString::from(*text);
            cut.pre_tokenize(&mut pieces).map_err(failure)?;
            for (piece, _, _) in pieces.get_splits(OffsetReferential::Original, OffsetType::Byte) {
                match counts.get_mut(piece) {
                    Some(count) => *count += 1,
                    None => {
                        counts.insert(piece.to_owned(), 1);
                    }
                }
            }
            Ok::<_, DataError>(counts)
        })
        .try_reduce(HashMap::new, |mut larger, mut smaller| {
            if larger.len() < smaller.len() {
                std::mem::swap(&mut larger, &mut smaller);
            }
            for (word, count) in smaller {
                *larger.entry(word).or_default() += count;
            }
            Ok(larger)
        })?;
    let mut words: Vec<(Vec<u8>, u64)> = counts
        .into_iter()
        .map(|(word, count)| (word.chars().map(|c| byte_of[&c]).collect(), count))
        .collect();
    words.sort_unstable();
    Ok(words)
}

fn failure(error: tokenizers::Error) -> DataError {
    DataError::Tokenizer {
        problem: one_line(&error.to_string()),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
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
        assert!(
            error
                .to_string()
                .starts_with("t.json: no end-of-text token")
        );
    }
}
