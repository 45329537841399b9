//! What a folder says about text beside its tokenizer: the ids that begin, end and fill it, chat
//! templates; of the Hugging Face Hub's layout, and as ours keep it.
//!
//! reader: crates/simattn-data/src/text_settings/mod.rs except ending_with to_json
//! reader: crates/simattn-data/src/text_settings/read.rs
//! reader: crates/simattn-data/src/text_settings/file_names.rs
//! reader: crates/simattn-data/src/text_settings/ids.rs
//! reader: crates/simattn-data/src/text_settings/templates.rs
#![no_main]

use simattn_data::{TEXT_SETTINGS, TextSettings, Tokenizer};
use simattn_fuzz::{Place, parts};

/// Ids that the model has.
const VOCABULARY: usize = 257;
const FILES: [&str; 7] = [
    "config.json",
    "generation_config.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "chat_template.json",
    "additional_chat_templates/tools.jinja",
];

fn seeds() -> Vec<Vec<u8>> {
    let template = "{% for message in messages %}{{ message.content }}{% endfor %}";
    let config = r#"{"bos_token_id": 1, "eos_token_id": [2, 3], "pad_token_id": null}"#;
    let generation = r#"{"eos_token_id": 2, "pad_token_id": 0, "temperature": 0.7}"#;
    let name = r#"{"eos_token": {"content": "</s>"}, "bos_token": "<s>", "chat_template": "a"}"#;
    let list = r#"{"chat_template": [{"name": "default", "template": "a"},
                   {"name": "tool_use", "template": "b"}], "eos_token": null}"#;
    let json = r#"{"chat_template": "a"}"#;
    let ours = r#"{"format": 1, "config": {"eos_token_id": 2},
                   "files": {"generation_config.json": "{\"eos_token_id\": [2, 5]}"}}"#;
    [
        vec!["0", config, generation, name, r#"{"eos_token": "</s>"}"#],
        vec!["0", config, "", list, "", template, "", template],
        vec!["0", r#"{"eos_token_id": 256}"#, "", "{}", "{}", "", json],
        vec!["0", "", "", "", "", "", "", "", ours],
    ]
    .map(|parts| parts::join(&parts))
    .to_vec()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let place = Place::fresh();
    for (name, contents) in FILES.iter().zip(&all[1..]) {
        if !contents.is_empty() {
            place.write(name, contents);
        }
    }
    if let Some(ours) = all.get(1 + FILES.len()) {
        place.write(TEXT_SETTINGS, ours);
    }
    let folder = place.path("");
    for found in [
        TextSettings::from_hugging_face(&folder, VOCABULARY),
        TextSettings::from_folder(&folder, VOCABULARY),
    ] {
        match found {
            Ok(settings) => kept(&settings, &place),
            Err(error) => simattn_fuzz::refused(&error),
        }
    }
}

/// What must hold of settings that were taken.
fn kept(settings: &TextSettings, place: &Place) {
    let has = |&id: &u32| (id as usize) < VOCABULARY;
    assert!(settings.begin().iter().chain(settings.ends()).all(has));
    assert!(settings.padding().iter().all(has));
    let tokenizer = Tokenizer::bytes();
    assert!(settings.generation_ends(&tokenizer).iter().all(has));
    settings.files(&tokenizer, 16);
    settings.config_fields(&tokenizer);
    let path = place.path(TEXT_SETTINGS);
    let again = TextSettings::from_json(&settings.to_json(), &path, VOCABULARY);
    assert_eq!(&again.expect("what was just written"), settings);
}

simattn_fuzz::target!(seeds, run);
