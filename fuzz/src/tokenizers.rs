//! Small tokenizers of every kind that a tokenizer.json may hold, for seeds.

use serde_json::{Value, json};
use simattn_data::{Corpus, Tokenizer};

/// Byte-level BPE learnt from the embedded stories.
///
/// # Panics
/// Where it cannot be learnt.
pub fn learnt() -> Tokenizer {
    let corpus = Corpus::tales(3, 20_000, 1_000).expect("stories");
    Tokenizer::train_bpe(&corpus.train, 300).expect("a text of some length")
}

fn whole(model: Value, parts: &[(&str, Value)]) -> Value {
    let mut json = json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 8, "strategy": "LongestFirst",
                        "stride": 0 },
        "padding": null,
        "added_tokens": [
            { "id": 0, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
              "normalized": false, "special": true },
            { "id": 1, "content": "  ", "single_word": false, "lstrip": true, "rstrip": false,
              "normalized": true, "special": false },
        ],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": model,
    });
    for (name, part) in parts {
        json[*name] = part.clone();
    }
    json
}

fn normalizers() -> Value {
    json!({ "type": "Sequence", "normalizers": [
        { "type": "NFKC" }, { "type": "Lowercase" }, { "type": "StripAccents" },
        { "type": "Strip", "strip_left": true, "strip_right": false },
        { "type": "Prepend", "prepend": "▁" },
        { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
        { "type": "Replace", "pattern": { "Regex": "b+" }, "content": "b" },
        { "type": "Nmt" },
    ] })
}

fn pre_tokenizers() -> Value {
    json!({ "type": "Sequence", "pretokenizers": [
        { "type": "Split", "pattern": { "Regex": "\\s+(?!\\S)|\\s+" }, "behavior": "Isolated",
          "invert": false },
        { "type": "Digits", "individual_digits": true },
        { "type": "Punctuation", "behavior": "Isolated" },
        { "type": "CharDelimiterSplit", "delimiter": "-" },
        { "type": "UnicodeScripts" },
    ] })
}

/// 4,096 bytes of a trie that maps nothing, and their number before them, in base 64.
fn charsmap() -> String {
    format!("ABAA{}AAA=", "A".repeat(4 * 1365))
}

/// One tokenizer.json each: models, and the steps before and after them.
pub fn written() -> Vec<Value> {
    let words = json!({ "</s>": 0, "  ": 1, "[UNK]": 2, "a": 3, "b": 4, "ab": 5, "##b": 6,
                        "<0x61>": 7, "▁": 8, "▁a": 9 });
    let metaspace = json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first",
                            "split": true });
    let bpe = |merges: Value, more: Value| {
        let mut model = json!({
            "type": "BPE", "dropout": null, "unk_token": "[UNK]",
            "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": true,
            "byte_fallback": true, "ignore_merges": false, "vocab": words, "merges": merges,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            model[name] = value.clone();
        }
        model
    };
    let llama = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
        { "type": "ByteFallback" }, { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ] });
    let template = json!({ "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "</s>", "type_id": 0 } },
                   { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } },
                 { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { "</s>": { "id": "</s>", "ids": [0], "tokens": ["</s>"] } } });
    vec![
        whole(
            bpe(json!(["a b"]), json!({})),
            &[("normalizer", normalizers()), ("decoder", llama)],
        ),
        whole(
            bpe(
                json!([["a", "##b"]]),
                json!({ "continuing_subword_prefix": "##" }),
            ),
            &[
                ("pre_tokenizer", pre_tokenizers()),
                (
                    "decoder",
                    json!({ "type": "BPEDecoder",
               "suffix": "</w>" }),
                ),
            ],
        ),
        whole(
            bpe(
                json!([]),
                json!({ "dropout": 0.5, "end_of_word_suffix": "b" }),
            ),
            &[
                (
                    "pre_tokenizer",
                    json!({ "type": "ByteLevel", "add_prefix_space": true,
               "trim_offsets": true, "use_regex": true }),
                ),
                (
                    "post_processor",
                    json!({ "type": "ByteLevel", "add_prefix_space": true,
               "trim_offsets": false, "use_regex": true }),
                ),
                ("decoder", json!({ "type": "ByteLevel" })),
            ],
        ),
        whole(
            json!({ "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                    "max_input_chars_per_word": 100, "vocab": words }),
            &[
                (
                    "normalizer",
                    json!({ "type": "BertNormalizer", "clean_text": true,
               "handle_chinese_chars": true, "strip_accents": null, "lowercase": true }),
                ),
                ("pre_tokenizer", json!({ "type": "BertPreTokenizer" })),
                (
                    "decoder",
                    json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
                ),
                (
                    "post_processor",
                    json!({ "type": "BertProcessing", "sep": ["</s>", 0],
               "cls": ["</s>", 0] }),
                ),
            ],
        ),
        whole(
            json!({ "type": "Unigram", "unk_id": 2, "byte_fallback": true,
                    "vocab": [["</s>", 0.0], ["  ", -1.0], ["<unk>", 0.0], ["▁", -2.0],
                              ["a", -3.0], ["▁a", -2.5], ["<0x62>", -9.0]] }),
            &[
                ("pre_tokenizer", metaspace.clone()),
                ("decoder", metaspace),
                (
                    "normalizer",
                    json!({ "type": "Precompiled", "precompiled_charsmap": charsmap() }),
                ),
                ("post_processor", template),
            ],
        ),
        whole(
            json!({ "type": "WordLevel", "unk_token": "[UNK]", "vocab": words }),
            &[
                ("pre_tokenizer", json!({ "type": "Whitespace" })),
                (
                    "decoder",
                    json!({ "type": "CTC", "pad_token": "a", "word_delimiter_token": "b",
               "cleanup": true }),
                ),
            ],
        ),
        whole(
            json!({ "type": "WordLevel", "unk_token": "[UNK]", "vocab": words }),
            &[(
                "pre_tokenizer",
                json!({ "type": "FixedLength", "length": 3 }),
            )],
        ),
    ]
}

/// Those of the reader's own tests: under most of them a text may be cut.
pub fn of_the_tests() -> Vec<Value> {
    crate::samples::all()
        .into_iter()
        .map(|(_, json)| json)
        .collect()
}

/// A tokenizer with more ids than 16 bits hold.
///
/// # Panics
/// Where it is none.
pub fn wide() -> Tokenizer {
    let mut json: Value = serde_json::from_str(Tokenizer::bytes().to_json()).expect("JSON");
    json["model"]["vocab"]["far"] = 70_000.into();
    Tokenizer::from_json(json.to_string().as_bytes(), "wide").expect("a tokenizer")
}
