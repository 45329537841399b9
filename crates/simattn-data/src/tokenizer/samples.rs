//! Small tokenizers of every kind, for tests.

use serde_json::{Map, Value, json};

/// Words that the vocabularies have.
pub(crate) const WORDS: [&str; 8] = ["the", "cat", "sat", "on", "a", "mat", "it", "is"];

/// Names and contents of tokenizer.json files.
pub(crate) fn all() -> Vec<(&'static str, Value)> {
    let metaspace = |scheme: &str, split: bool| json!({ "type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split });
    let byte_level = |prefix: bool, regex: bool| json!({ "type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true, "use_regex": regex });
    let llama_decoder = json!({ "type": "Sequence", "decoders": [
        { "type": "Replace", "pattern": { "String": "▁" }, "content": " " },
        { "type": "ByteFallback" }, { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ]});
    let llama_normalizer = json!({ "type": "Sequence", "normalizers": [
        { "type": "Prepend", "prepend": "▁" },
        { "type": "Replace", "pattern": { "String": " " }, "content": "▁" },
    ]});
    let split = |pattern: &str| {
        json!({ "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false },
            byte_level(false, false),
        ]})
    };
    let llama3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
    let null = Value::Null;
    vec![
        (
            "llama 2",
            file(
                llama_normalizer,
                null.clone(),
                llama_decoder.clone(),
                low_lines(),
            ),
        ),
        (
            "metaspace, in words",
            file(
                null.clone(),
                metaspace("always", true),
                metaspace("always", true),
                low_lines(),
            ),
        ),
        (
            "metaspace, whole",
            file(
                null.clone(),
                metaspace("first", false),
                llama_decoder,
                low_lines(),
            ),
        ),
        (
            "unigram",
            file(
                json!({ "type": "Sequence", "normalizers": [
                    { "type": "Precompiled", "precompiled_charsmap": charsmap() },
                    { "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": "▁" },
                ]}),
                metaspace("always", true),
                metaspace("always", true),
                unigram(),
            ),
        ),
        (
            "words",
            file(
                null.clone(),
                json!({ "type": "WhitespaceSplit" }),
                null.clone(),
                words("WordLevel"),
            ),
        ),
        (
            "word pieces",
            file(
                json!({ "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true }),
                json!({ "type": "BertPreTokenizer" }),
                json!({ "type": "WordPiece", "prefix": "##", "cleanup": true }),
                words("WordPiece"),
            ),
        ),
        (
            "bytes with a prefix",
            file(
                null.clone(),
                byte_level(true, true),
                byte_level(true, true),
                bytes(),
            ),
        ),
        (
            "bytes",
            file(
                json!({ "type": "NFC" }),
                byte_level(false, true),
                byte_level(false, true),
                bytes(),
            ),
        ),
        (
            "bytes, as llama 3",
            file(
                null.clone(),
                split(llama3),
                byte_level(false, true),
                bytes(),
            ),
        ),
        (
            "bytes, by another pattern",
            file(
                null.clone(),
                split(r"\w+ \w+|.|\n"),
                byte_level(false, true),
                bytes(),
            ),
        ),
        (
            "fixed lengths",
            file(
                null.clone(),
                json!({ "type": "FixedLength", "length": 3 }),
                null,
                low_lines(),
            ),
        ),
    ]
}

/// One of [`all`].
pub(crate) fn named(name: &str) -> Value {
    let mut all = all().into_iter();
    all.find(|(other, _)| *other == name).expect("a sample").1
}

fn file(normalizer: Value, pre_tokenizer: Value, decoder: Value, model: Value) -> Value {
    let special = |id: u32, content: &str| json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
    json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 16, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 32 }, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0, "pad_type_id": 0, "pad_token": "<unk>" },
        "added_tokens": [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")],
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
        "decoder": decoder,
        "model": model,
    })
}

/// A vocabulary that begins with the special tokens, and merges for words from left to right.
fn bpe(letters: Vec<String>, words: &[String], fields: Value) -> Value {
    let mut vocabulary = Map::new();
    let mut add = |token: String| {
        let next = vocabulary.len();
        vocabulary.entry(token).or_insert_with(|| json!(next));
    };
    for token in ["<unk>", "<s>", "</s>"] {
        add(token.to_owned());
    }
    letters.into_iter().for_each(&mut add);
    let mut merges: Vec<Value> = Vec::new();
    for word in words {
        let starts: Vec<usize> = word
            .char_indices()
            .map(|(at, _)| at)
            .chain([word.len()])
            .collect();
        for window in starts.windows(2).skip(1) {
            let merge = json!([word[..window[0]], word[window[0]..window[1]]]);
            add(word[..window[1]].to_owned());
            if !merges.contains(&merge) {
                merges.push(merge);
            }
        }
    }
    let mut model = json!({ "type": "BPE", "dropout": 0.5, "unk_token": "<unk>", "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false, "ignore_merges": false,
        "vocab": vocabulary, "merges": merges });
    for (field, value) in fields.as_object().into_iter().flatten() {
        model[field] = value.clone();
    }
    model
}

/// As SentencePiece's, with bytes to fall back on, and merges that make an end of text from what
/// spells it.
fn low_lines() -> Value {
    let mut letters: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    letters.extend(
        "▁abcdefghijklmnopqrstuvwxyzABC.</>12"
            .chars()
            .map(String::from),
    );
    let mut words: Vec<String> = WORDS.iter().map(|word| format!("▁{word}")).collect();
    words.extend(["▁▁▁▁", "</s>", "xy▁"].map(String::from));
    bpe(letters, &words, json!({ "byte_fallback": true }))
}

fn bytes() -> Value {
    let letters = crate::byte_level::byte_characters()
        .map(String::from)
        .to_vec();
    let words: Vec<String> = WORDS.iter().map(|word| format!("Ġ{word}")).collect();
    bpe(
        letters,
        &words,
        json!({ "dropout": null, "unk_token": null, "ignore_merges": true }),
    )
}

fn unigram() -> Value {
    let mut pieces = vec![
        json!(["<unk>", 0.0]),
        json!(["<s>", 0.0]),
        json!(["</s>", 0.0]),
    ];
    let letters = "▁abcdefghijklmnopqrstuvwxyzABC.</>12".chars();
    pieces.extend(letters.map(|letter| json!([letter, -8.125])));
    pieces.extend(
        WORDS
            .iter()
            .map(|word| json!([format!("▁{word}"), -2.0625])),
    );
    json!({ "type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false })
}

fn words(kind: &str) -> Value {
    let mut vocabulary = Map::new();
    let special = ["<unk>", "<s>", "</s>", "<", "/", "##s", ">", "."];
    let letters = ('a'..='z').map(|letter| format!("##{letter}"));
    let letters: Vec<String> = letters.chain(('a'..='z').map(String::from)).collect();
    for token in special
        .iter()
        .chain(&WORDS)
        .map(|token| (*token).to_owned())
        .chain(letters)
    {
        let next = vocabulary.len();
        vocabulary.entry(token).or_insert_with(|| json!(next));
    }
    match kind {
        "WordLevel" => json!({ "type": kind, "vocab": vocabulary, "unk_token": "<unk>" }),
        _ => {
            json!({ "type": kind, "vocab": vocabulary, "unk_token": "<unk>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100 })
        }
    }
}

/// A character map that knows the letter ａ, which it makes an a: a double array of SentencePiece,
/// in base64.
fn charsmap() -> String {
    // Each unit: label in bits 0–7, leaf in bit 8, offset from bit 10 on; at a leaf's offset is the
    // value.
    let key = "ａ".as_bytes();
    let mut units = vec![0_u32; 2048];
    let bases = [0_usize, 512, 1024, 1536];
    units[0] = 0;
    let mut node = bases[0];
    for (place, &byte) in key.iter().enumerate() {
        node ^= usize::from(byte);
        let next = bases[place + 1];
        let leaf = u32::from(place + 1 == key.len());
        units[node] = u32::from(byte) | leaf << 8 | ((node ^ next) as u32) << 10;
        node = next;
    }
    units[node] = 1 << 31;
    let mut bytes = ((units.len() * 4) as u32).to_le_bytes().to_vec();
    bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
    bytes.extend(b"a\0");
    to_base64(&bytes)
}

/// Bytes in base64.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut bits = [0; 4];
        bits[1..=group.len()].copy_from_slice(group);
        let bits = u32::from_be_bytes(bits);
        for place in 0..4 {
            if place <= group.len() {
                text.push(char::from(DIGITS[(bits >> (18 - 6 * place)) as usize & 63]));
            } else {
                text.push('=');
            }
        }
    }
    text
}
