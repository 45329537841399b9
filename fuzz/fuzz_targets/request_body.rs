//! Bodies of requests to the server: completions, chats, tokens.
//!
//! reader: crates/simattn-serve/src/http/fields.rs
//! reader: crates/simattn-serve/src/http/asked.rs
//! reader: crates/simattn-serve/src/http/completions.rs
//! reader: crates/simattn-serve/src/http/chat.rs
//! reader: crates/simattn-serve/src/http/tokenizing.rs except info
//! reader: crates/simattn-serve/src/template/mark.rs
//! reader: crates/simattn-serve/src/template/specials.rs
#![no_main]

use std::sync::LazyLock;

use simattn_data::{TextSettings, Tokenizer};
use simattn_fuzz::{Place, parts};
use simattn_serve::engine::Toy;
use simattn_serve::http::{self, ApiError, Model};
use simattn_serve::scheduler::{Limits, Scheduler};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role }}: {{ m.content | trim }}<|endoftext|>\
    {% endfor %}{% if add_generation_prompt %}assistant: {% endif %}{{ messages | tojson }}";

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    let place = Place::fresh();
    place.write("chat_template.jinja", TEMPLATE.as_bytes());
    let text = TextSettings::from_hugging_face(&place.path(""), 257).expect("settings");
    let scheduler = Scheduler::start(Toy::new(4096, 257), Limits::default()).expect("a thread");
    Model::new("toy".to_owned(), Tokenizer::bytes(), text, scheduler)
});

fn seeds() -> Vec<Vec<u8>> {
    let completion = r#"{"model": "toy", "prompt": ["Once", [1, 2]], "n": 2, "max_tokens": 5,
        "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1,
        "frequency_penalty": 0.5, "presence_penalty": -0.5, "logit_bias": {"7": -100}, "seed": -3,
        "stop": ["\n", "é"], "stop_token_ids": [9], "ignore_eos": true, "echo": true,
        "logprobs": 2, "stream": true, "stream_options": {"include_usage": true}, "user": "me",
        "best_of": 1, "suffix": ""}"#;
    let chat = r#"{"messages": [{"role": "system", "content": "<|endoftext|>"},
        {"role": "user", "name": "n", "content": [{"type": "text", "text": "\ufdd0 <|endof"},
        {"type": "text", "text": "text|>"}]}, {"role": "assistant", "content": "so "}],
        "continue_final_message": true, "add_generation_prompt": false, "logprobs": true,
        "top_logprobs": 3, "max_completion_tokens": 4, "response_format": {"type": "text"}}"#;
    let tokenize = r#"{"model": "toy", "prompt": "a<|endoftext|>", "return_token_strs": true,
        "add_special_tokens": false}"#;
    let detokenize = r#"{"tokens": [104, 195, 169, 256]}"#;
    [completion, chat, tokenize, detokenize]
        .map(|body| parts::join(&["0", body]))
        .to_vec()
}

fn run(data: &[u8]) {
    let all = parts::split(data);
    let body = all.get(1).copied().unwrap_or_default();
    let said = |error: ApiError| {
        assert!((400..500).contains(&error.status().as_u16()), "{error:?}");
        simattn_fuzz::refused(&error.body());
    };
    match http::read_completion(body, &MODEL) {
        Ok(answers) => assert!(answers > 0),
        Err(error) => said(error),
    }
    match http::read_chat(body, &MODEL) {
        Ok(answers) => assert!(answers > 0),
        Err(error) => said(error),
    }
    if let Err(error) = http::read_tokenizing(body, &MODEL) {
        said(error);
    }
}

simattn_fuzz::target!(seeds, run);
