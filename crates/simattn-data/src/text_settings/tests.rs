use super::*;
use std::fs;

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn read(files: &[(&str, &str)]) -> Result<TextSettings, DataError> {
    TextSettings::from_hugging_face(folder(files).path(), 100)
}

#[test]
fn every_end_of_text_of_the_configs_counts_and_generation_config_goes_first() {
    let only = |text| read(&[("config.json", text)]).unwrap();
    assert_eq!(only(r#"{"eos_token_id": 2}"#).ends(), [2]);
    assert_eq!(only(r#"{"eos_token_id": [7, 2, 7]}"#).ends(), [7, 2]);
    assert!(only(r#"{"eos_token_id": null}"#).ends().is_empty());
    assert!(only(r#"{"eos_token_id": []}"#).ends().is_empty());
    let both = read(&[
        (
            "config.json",
            r#"{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": -1}"#,
        ),
        (
            "generation_config.json",
            r#"{"eos_token_id": [3, 4], "pad_token_id": 5}"#,
        ),
    ])
    .unwrap();
    assert_eq!(both.ends(), [3, 4]);
    assert_eq!((both.begin(), both.padding()), (Some(1), Some(5)));
    let silent = read(&[
        ("config.json", r#"{"eos_token_id": 2}"#),
        (
            "generation_config.json",
            r#"{"eos_token_id": null, "temperature": 0.6}"#,
        ),
    ]);
    assert_eq!(silent.unwrap().ends(), [2]);
}

#[test]
fn ids_that_are_no_rows_of_the_model_are_refused_by_name() {
    for file in ["config.json", "generation_config.json"] {
        for field in ["bos_token_id", "eos_token_id", "pad_token_id"] {
            for value in [
                "100",
                "4294967298",
                "-2",
                "\"2\"",
                "2.5",
                "true",
                "{}",
                "[[2]]",
                "[2, 100]",
            ] {
                let text = format!("{{\"{field}\": {value}}}");
                let error = read(&[(file, text.as_str())]).unwrap_err().to_string();
                assert!(error.contains(file) && error.contains(field), "{error}");
                assert!(!error.contains('\n'), "{error}");
            }
        }
    }
}

#[test]
fn chat_templates_are_found_wherever_they_stand() {
    let config = |value: &str| format!("{{\"chat_template\": {value}}}");
    let text = config("\"plain\"");
    let list =
        config(r#"[{"name": "default", "template": "a"}, {"name": "tools", "template": "b"}]"#);
    let found = read(&[("tokenizer_config.json", &text)]).unwrap();
    assert_eq!(found.chat_template(), Some("plain"));
    let found = read(&[("tokenizer_config.json", &list)]).unwrap();
    assert_eq!(found.chat_template(), Some("a"));
    assert_eq!(found.chat_templates()[1], ("tools".into(), "b".into()));
    let found = read(&[
        ("chat_template.json", &text),
        ("tokenizer_config.json", &list),
    ])
    .unwrap();
    assert_eq!(found.chat_template(), Some("plain"));
    let found = read(&[
        ("chat_template.jinja", "{{ own }}\n"),
        ("additional_chat_templates/tools.jinja", "t"),
        ("tokenizer_config.json", &list),
    ])
    .unwrap();
    assert_eq!(found.chat_template(), Some("{{ own }}\n"));
    assert_eq!(found.chat_templates()[1], ("tools".into(), "t".into()));
    for value in ["3", "[3]", r#"[{"name": "x"}]"#, r#"{"x": 3}"#] {
        let error = read(&[("tokenizer_config.json", &config(value))]).unwrap_err();
        assert!(error.to_string().contains("chat_template"), "{error}");
    }
}

#[test]
fn files_that_are_no_json_objects_are_refused_by_name() {
    for name in [
        "config.json",
        "generation_config.json",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "chat_template.json",
    ] {
        for text in ["", "[]", "{", "nonsense"] {
            let error = read(&[(name, text)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}

#[test]
fn settings_come_back_word_for_word() {
    let files = [
        (
            "config.json",
            r#"{"eos_token_id": [2, 3], "bos_token_id": null, "vocab_size": 9}"#,
        ),
        ("generation_config.json", "{\"eos_token_id\" :2}\n"),
        (
            "special_tokens_map.json",
            r#"{"eos_token": {"content": "</s>"}}"#,
        ),
        ("additional_chat_templates/rag.jinja", "r"),
        ("chat_template.jinja", "x"),
    ];
    let settings = read(&files).unwrap();
    let tokenizer = Tokenizer::bytes();
    let fields = settings.config_fields(&tokenizer);
    assert_eq!(
        serde_json::json!(fields),
        serde_json::json!({"bos_token_id": null, "eos_token_id": [2, 3]})
    );
    let written = settings.files(&tokenizer, 64);
    for (name, text) in &files[1..] {
        assert_eq!(written[*name], *text, "{name}");
    }
    let path = Path::new("text.json");
    let again = TextSettings::from_json(&settings.to_json(), path, 100).unwrap();
    assert_eq!(again, settings);
    assert!(TextSettings::from_json(&settings.to_json(), path, 3).is_err());
    let empty = folder(&[]);
    assert!(
        TextSettings::from_folder(empty.path(), 3)
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_stored_name_cannot_lead_out_of_the_folder() {
    for name in [
        "../x",
        "model.safetensors",
        "additional_chat_templates/../../x.jinja",
        "additional_chat_templates/.jinja",
        "/etc/x",
    ] {
        let text = serde_json::json!({"format": 1, "files": {name: "x"}}).to_string();
        assert!(
            TextSettings::from_json(&text, Path::new("text.json"), 9).is_err(),
            "{name}"
        );
    }
    for text in [
        "{}",
        "[]",
        r#"{"format": 2}"#,
        r#"{"format": 1, "config": {"x": 1}}"#,
        r#"{"format": 1, "more": 1}"#,
    ] {
        assert!(
            TextSettings::from_json(text, Path::new("text.json"), 9).is_err(),
            "{text}"
        );
    }
}

#[test]
fn padding_is_not_the_end_and_the_guess_stays_where_nothing_is_named() {
    let tokenizer = Tokenizer::bytes();
    let nothing = TextSettings::default();
    assert_eq!(nothing.generation_ends(&tokenizer), [256]);
    let chat = read(&[(
        "generation_config.json",
        r#"{"eos_token_id": 2, "pad_token_id": 1}"#,
    )]);
    assert_eq!(chat.unwrap().generation_ends(&tokenizer), [2]);
    let named = read(&[("tokenizer_config.json", r#"{"eos_token": "<|endoftext|>"}"#)]);
    assert_eq!(named.unwrap().generation_ends(&tokenizer), [256]);
}

#[test]
fn a_model_of_ours_says_how_its_texts_end() {
    let (tokenizer, nothing) = (Tokenizer::bytes(), TextSettings::default());
    let fields = serde_json::json!(nothing.config_fields(&tokenizer));
    assert_eq!(
        fields,
        serde_json::json!({"bos_token_id": null, "eos_token_id": 256})
    );
    let files = nothing.files(&tokenizer, 64);
    assert!(files["generation_config.json"].contains("\"eos_token_id\": 256"));
    assert!(files["tokenizer_config.json"].contains("\"model_max_length\": 64"));
}

#[test]
fn no_python_class_is_named_that_is_not_there() {
    let text = r#"{"auto_map": {"AutoTokenizer": ["x.Y", null]}, "tokenizer_class": "Y", "eos_token": "a"}"#;
    let files = read(&[("tokenizer_config.json", text)])
        .unwrap()
        .files(&Tokenizer::bytes(), 64);
    let value: Value = serde_json::from_str(&files["tokenizer_config.json"]).unwrap();
    let expected =
        serde_json::json!({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "a"});
    assert_eq!(value, expected);
}
