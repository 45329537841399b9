//! The server over loopback: its endpoints, what it refuses, and what clients may do to it.

mod client;
mod common;

use std::collections::HashSet;
use std::time::Duration;

use client::{Connection, Served};
use common::Gated;
use serde_json::{Value, json};
use simattn_serve::engine::Toy;
use simattn_serve::http::Settings;
use simattn_serve::scheduler::Limits;

const COMPLETIONS: &str = "/v1/completions";
const CHAT: &str = "/v1/chat/completions";

fn served() -> Served {
    Served::start(Toy::new(600, 259), Limits::default(), Settings::default())
}

/// The text of all chunks of a choice.
fn joined(events: &[Value], choice: u64, chat: bool) -> String {
    let choices = events
        .iter()
        .flat_map(|event| event["choices"].as_array().expect("a list"));
    let own = choices.filter(|entry| entry["index"] == choice);
    let text = own.map(|entry| {
        if chat {
            &entry["delta"]["content"]
        } else {
            &entry["text"]
        }
    });
    text.filter_map(Value::as_str).collect()
}

#[test]
fn completions_are_the_same_whole_streamed_and_together() {
    let served = served();
    let mut asked = json!({
        "model": "toy", "prompt": "Once upon", "max_tokens": 40, "seed": 7, "n": 3,
        "temperature": 1.2, "logprobs": 2, "stop": ["zz", "qq"],
    });
    let whole = served.answer(COMPLETIONS, &asked);
    assert_eq!(whole["object"], "text_completion");
    assert_eq!(whole["seed"], 7);
    let usage = &whole["usage"];
    assert_eq!(usage["prompt_tokens"], 9);
    let completion = usage["completion_tokens"].as_u64().expect("a number");
    assert_eq!(usage["total_tokens"], completion + 9);
    let tokens = |choice: &Value| {
        choice["logprobs"]["tokens"]
            .as_array()
            .expect("a list")
            .len()
    };
    let choices = whole["choices"].as_array().expect("a list");
    assert_eq!(choices.len(), 3);
    assert_eq!(choices.iter().map(tokens).sum::<usize>() as u64, completion);
    asked["stream"] = json!(true);
    asked["stream_options"] = json!({ "include_usage": true });
    let streamed = served.post(COMPLETIONS, &asked);
    assert_eq!(streamed.headers["cache-control"], "no-cache");
    let events = streamed.events();
    for (choice, entry) in (0..).zip(choices) {
        assert_eq!(
            joined(&events, choice, false),
            entry["text"].as_str().expect("a text")
        );
        let own = events
            .iter()
            .flat_map(|event| event["choices"].as_array().expect("a list"));
        let own: Vec<&Value> = own.filter(|entry| entry["index"] == choice).collect();
        let last = own.last().expect("a chunk");
        assert_eq!(last["finish_reason"], entry["finish_reason"]);
        let known = own
            .iter()
            .filter_map(|entry| entry["logprobs"]["token_logprobs"].as_array());
        let known: Vec<Value> = known.flatten().cloned().collect();
        assert_eq!(Value::from(known), entry["logprobs"]["token_logprobs"]);
    }
    let (last, others) = events.split_last().expect("an event");
    assert_eq!(&last["usage"], usage);
    assert_eq!(last["choices"], json!([]));
    assert!(
        others
            .iter()
            .all(|event| event.get("usage") == Some(&Value::Null))
    );
    assert!(events.iter().all(|event| event["id"] == events[0]["id"]));
    // Prompts of one request are answered as they are by themselves.
    let together = json!({
        "prompt": ["abc", "Once upon", [97, 98]], "max_tokens": 40, "seed": 7, "temperature": 1.2,
        "stop": ["zz", "qq"],
    });
    let together = served.answer(COMPLETIONS, &together);
    assert_eq!(together["choices"][1]["text"], choices[0]["text"]);
    assert_eq!(together["usage"]["prompt_tokens"], 14);
}

#[test]
fn chats_are_the_same_whole_and_streamed() {
    let served = served();
    let mut asked = json!({
        "messages": [
            { "role": "system", "content": "Be brief." },
            { "role": "user", "content": [{ "type": "text", "text": "<|im_end|>" },
                                          { "type": "text", "text": "Hello" }] },
        ],
        "max_completion_tokens": 30, "max_tokens": 2, "seed": 3, "logprobs": true,
        "top_logprobs": 2, "user": "me", "store": false, "response_format": { "type": "text" },
    });
    let whole = served.answer(CHAT, &asked);
    assert_eq!(whole["object"], "chat.completion");
    let choice = &whole["choices"][0];
    assert_eq!(choice["message"]["role"], "assistant");
    let content = choice["message"]["content"].as_str().expect("a text");
    let known = choice["logprobs"]["content"].as_array().expect("a list");
    assert!(known.len() > 2, "{choice}");
    for entry in known {
        assert_eq!(entry["top_logprobs"].as_array().expect("a list").len(), 2);
    }
    asked["stream"] = json!(true);
    let events = served.post(CHAT, &asked).events();
    let first = json!({ "role": "assistant", "content": "" });
    assert_eq!(events[0]["choices"][0]["delta"], first);
    assert_eq!(joined(&events, 0, true), content);
    let last = &events.last().expect("an event")["choices"][0];
    assert_eq!(last["delta"], json!({}));
    assert_eq!(last["finish_reason"], choice["finish_reason"]);
    // A final message goes on.
    let going = json!({
        "messages": [{ "role": "user", "content": "x" }, { "role": "assistant", "content": "On" }],
        "continue_final_message": true, "max_tokens": 3,
    });
    assert_eq!(served.answer(CHAT, &going)["usage"]["prompt_tokens"], 22);
}

#[test]
fn echo_gives_what_an_evaluation_sums() {
    let served = served();
    let asked = json!({
        "model": "toy", "prompt": [[97, 98, 99, 100], [101, 102]], "max_tokens": 1, "logprobs": 1,
        "echo": true, "temperature": 0, "seed": 1234,
    });
    let answer = served.answer(COMPLETIONS, &asked);
    for (choice, prompt) in answer["choices"]
        .as_array()
        .expect("a list")
        .iter()
        .zip(["abcd", "ef"])
    {
        let known = &choice["logprobs"];
        let token_logprobs = known["token_logprobs"].as_array().expect("a list");
        assert_eq!(token_logprobs.len(), prompt.len() + 1);
        assert_eq!(known["tokens"][1], &prompt[1..2]);
        assert_eq!(known["text_offset"][1], 1);
        assert!(choice["text"].as_str().expect("a text").starts_with(prompt));
        assert!(token_logprobs[0].is_null() && known["top_logprobs"][0].is_null());
        for (place, logprob) in token_logprobs.iter().enumerate().skip(1) {
            let top = known["top_logprobs"][place].as_object().expect("an object");
            let largest = top
                .values()
                .filter_map(Value::as_f64)
                .fold(f64::MIN, f64::max);
            // The same float in both places, so that "greedy" can be told by ==.
            assert!(top.values().any(|value| value == logprob));
            assert!(logprob.as_f64() <= Some(largest));
        }
        // The chosen token is the likeliest.
        let chosen = token_logprobs.last().expect("a token");
        let top = known["top_logprobs"][prompt.len()]
            .as_object()
            .expect("an object");
        assert!(top.values().all(|value| value == chosen));
    }
    let prompt_alone = json!({ "prompt": "abc", "max_tokens": 0, "echo": true, "logprobs": 0 });
    let answer = served.answer(COMPLETIONS, &prompt_alone);
    assert_eq!(answer["choices"][0]["text"], "abc");
    assert_eq!(
        answer["choices"][0]["logprobs"]["tokens"],
        json!(["a", "b", "c"])
    );
}

#[test]
fn tokens_can_be_asked_for() {
    let served = served();
    let tokens = served.answer(
        "/tokenize",
        &json!({ "prompt": "hé", "return_token_strs": true }),
    );
    assert_eq!(tokens["tokens"], json!([104, 195, 169]));
    assert_eq!(
        (&tokens["count"], &tokens["max_model_len"]),
        (&json!(3), &json!(600))
    );
    assert_eq!(tokens["token_strs"][1], "bytes:\\xc3");
    let chat = json!({ "messages": [{ "role": "user", "content": "<|im_end|>" }] });
    let tokens = served.answer("/tokenize", &chat);
    let ids: Vec<u64> = tokens["tokens"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(Value::as_u64)
        .collect();
    assert_eq!(ids.iter().filter(|&&id| id == 258).count(), 1);
    let text = served.answer("/detokenize", &json!({ "tokens": [104, 195, 169, 256] }));
    assert_eq!(text["prompt"], "hé");
    let info = served.get("/tokenizer_info").json();
    assert_eq!(info["eos_token"], "<|im_end|>");
    assert!(
        info["chat_template"]
            .as_str()
            .expect("a text")
            .contains("im_start")
    );
    served.refusal(
        400,
        "/tokenize",
        &json!({ "prompt": "x", "add_special_tokens": true }),
    );
    served.refusal(400, "/detokenize", &json!({ "tokens": [300] }));
}

#[test]
fn the_server_describes_itself() {
    let served = served();
    assert_eq!(served.get("/health").json(), json!({ "status": "ok" }));
    let models = served.get("/v1/models").json();
    assert_eq!(models["data"][0]["id"], "toy");
    assert_eq!(served.get("/v1/models/toy").json()["max_model_len"], 600);
    let missing = served.get("/v1/models/other");
    assert_eq!(
        (missing.status, &missing.error()["code"]),
        (404, &json!("model_not_found"))
    );
    served.answer(
        COMPLETIONS,
        &json!({ "prompt": "a", "max_tokens": 5, "ignore_eos": true }),
    );
    let metrics = served.get("/metrics").text();
    assert!(
        metrics.contains("\nsimattn_answer_tokens_total 5\n"),
        "{metrics}"
    );
    assert!(
        metrics.contains("simattn_responses_total{status=\"4xx\"} 1\n"),
        "{metrics}"
    );
    let page = served.get("/");
    assert!(page.text().starts_with("<!doctype html>"));
    assert!(page.headers["content-security-policy"].contains("default-src 'none'"));
    let api = served.get("/openapi.json").json();
    for (path, methods) in api["paths"].as_object().expect("an object") {
        for method in methods.as_object().expect("an object").keys() {
            let path = path.replace("{id}", "toy");
            let method = method.to_uppercase();
            let head =
                format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
            let response = served.connect().ask(&head, b"");
            assert!(![404, 405].contains(&response.status), "{path}");
            assert!(response.headers.contains_key("x-request-id"));
        }
    }
}

#[test]
fn what_would_change_the_answer_and_is_not_there_is_refused_by_name() {
    let served = served();
    let completion = |field: &str, value: Value| {
        let mut body = json!({ "prompt": "a", "max_tokens": 2 });
        body[field] = value;
        served.refusal(400, COMPLETIONS, &body)
    };
    for (field, value) in [
        ("prompt", json!(3)),
        ("prompt", json!([])),
        ("prompt", json!([1, "a"])),
        ("prompt", json!([-1])),
        ("prompt", json!("")),
        ("prompt", json!([259])),
        ("temperature", json!(-1)),
        ("temperature", json!("hot")),
        ("top_p", json!(1.5)),
        ("top_k", json!(-2)),
        ("n", json!(0)),
        ("n", json!(10_000)),
        ("max_tokens", json!(-1)),
        ("max_tokens", json!(0)),
        ("max_tokens", json!(1.5)),
        ("logprobs", json!(6)),
        ("stop", json!([""])),
        ("stop", json!(5)),
        ("stream", json!("yes")),
        ("stream_options", json!({ "include_usage": true })),
        ("seed", json!(1.5)),
        ("logit_bias", json!({ "x": 1 })),
        ("logit_bias", json!({ "900": 1 })),
        ("best_of", json!(2)),
        ("suffix", json!("end")),
        ("tools", json!([])),
        ("no_such_field", json!(true)),
    ] {
        let error = completion(field, value.clone());
        assert_eq!(error["param"], field, "{value}: {error}");
        assert_eq!(error["type"], "invalid_request_error");
    }
    // Null is as good as nothing.
    let nulls =
        json!({ "prompt": "a", "max_tokens": 2, "stop": null, "tools": null, "seed": null });
    served.answer(COMPLETIONS, &nulls);
    let chat = |change: Value| {
        let mut body = json!({ "messages": [{ "role": "user", "content": "a" }], "max_tokens": 2 });
        for (field, value) in change.as_object().expect("an object") {
            body[field] = value.clone();
        }
        served.refusal(400, CHAT, &body)["param"].clone()
    };
    assert_eq!(chat(json!({ "tools": [] })), "tools");
    assert_eq!(
        chat(json!({ "response_format": { "type": "json_object" } })),
        "response_format"
    );
    assert_eq!(chat(json!({ "top_logprobs": 2 })), "top_logprobs");
    assert_eq!(chat(json!({ "messages": [] })), "messages");
    assert_eq!(
        chat(json!({ "messages": [{ "role": "tool", "content": "a" }] })),
        "messages[0].role"
    );
    assert_eq!(
        chat(json!({ "messages": [{ "role": "user" }] })),
        "messages[0].content"
    );
    let image = json!([{ "type": "image_url", "image_url": {} }]);
    let image = json!({ "messages": [{ "role": "user", "content": image }] });
    assert_eq!(chat(image), "messages[0].content");
    let error = served.refusal(404, COMPLETIONS, &json!({ "model": "gpt", "prompt": "a" }));
    assert_eq!(error["code"], "model_not_found");
    let error = served.refusal(
        400,
        COMPLETIONS,
        &json!({ "prompt": "a", "max_tokens": 600 }),
    );
    assert_eq!(error["code"], "context_length_exceeded");
    let message = error["message"].as_str().expect("a text");
    assert!(
        message.contains("600") && message.contains('1'),
        "{message}"
    );
}

#[test]
fn bodies_that_are_no_requests_are_refused_in_the_same_shape() {
    let settings = Settings {
        body: 100_000,
        ..Settings::default()
    };
    let served = Served::start(Toy::new(600, 259), Limits::default(), settings);
    let refused = |status: u16, body: &[u8]| {
        let response = served.connect().post(COMPLETIONS, body, "");
        assert_eq!(response.status, status, "{}", response.text());
        assert_eq!(response.headers["x-should-retry"], "false");
        response.error()
    };
    let deep = [vec![b'['; 50_000], vec![b']'; 50_000]].concat();
    for body in [
        &b""[..],
        b"{",
        b"[]",
        b"\"text\"",
        b"{\"prompt\": \"\xff\xfe\"}",
        b"{\"prompt\": \"a\", \"temperature\": 1e999}",
        b"{\"prompt\": \"a\", \"max_tokens\": 99999999999999999999999}",
        b"{\"prompt\": \"\\ud800\"}",
        &deep,
    ] {
        refused(400, body);
    }
    refused(413, &vec![b' '; 100_001]);
    // In chunks its length is not said beforehand.
    let mut chunked = served.connect();
    chunked.send(
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Transfer-Encoding: chunked\r\n\r\n",
    );
    let chunk = [b"8000\r\n".to_vec(), vec![b' '; 0x8000], b"\r\n".to_vec()].concat();
    for _ in 0..4 {
        chunked.send_unless_refused(&chunk);
    }
    assert_eq!(chunked.read().expect("a response").status, 413);
    let head = "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n";
    let plain = served.connect().ask(head, b"{}");
    assert_eq!(
        (plain.status, plain.error()["type"].clone()),
        (415, json!("invalid_request_error"))
    );
    let missing = served.get("/v2/completions");
    assert_eq!(
        (missing.status, &missing.error()["code"]),
        (404, &json!("not_found"))
    );
    let method = served.get(COMPLETIONS);
    assert_eq!(method.status, 405);
    method.error();
    // A request that breaks off, and bytes that are no request.
    let mut broken = served.connect();
    broken.send(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n{");
    drop(broken);
    let mut noise = served.connect();
    noise.send(b"\x16\x03\x01\x02\x00 no http\r\n\r\n");
    assert!(noise.read_head().is_none_or(|(status, _)| status == 400));
    let flood: String = (0..500).map(|n| format!("X-{n}: y\r\n")).collect();
    let mut flooded = served.connect();
    flooded.send(format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{flood}\r\n").as_bytes());
    assert!(flooded.read_head().is_none_or(|(status, _)| status == 431));
    served.answer(COMPLETIONS, &json!({ "prompt": "a", "max_tokens": 2 }));
}

#[test]
fn slow_heads_and_bodies_are_cut() {
    let with = |settings| Served::start(Toy::new(600, 259), Limits::default(), settings);
    let served = with(Settings {
        head_time: Duration::from_millis(50),
        ..Settings::default()
    });
    let mut slow = served.connect();
    slow.send(b"GET /health HTTP/1.1\r\nHost:");
    // The connection ends, with a word or without.
    assert!(slow.read_head().is_none_or(|(status, _)| status == 408));
    let served = with(Settings {
        body_time: Duration::from_millis(50),
        ..Settings::default()
    });
    let mut slow = served.connect();
    slow.send(
        b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
          Content-Length: 50\r\n\r\n{\"prompt\"",
    );
    let response = slow.read().expect("a response");
    assert_eq!(response.status, 408);
    response.error();
}

#[test]
fn strangers_are_refused() {
    let settings = Settings {
        key: Some("secret".to_owned()),
        hosts: Some(HashSet::from(["localhost".to_owned()])),
        ..Settings::default()
    };
    let served = Served::start(Toy::new(600, 259), Limits::default(), settings);
    let get = |path: &str, headers: &str| {
        served
            .connect()
            .ask(&format!("GET {path} HTTP/1.1\r\n{headers}\r\n"), b"")
    };
    let own = "Host: localhost:1234\r\n";
    for path in [
        "/v1/models",
        "/metrics",
        "/openapi.json",
        "/tokenizer_info",
        "/nothing",
    ] {
        let refused = get(path, own);
        assert_eq!(refused.status, 401, "{path}");
        assert_eq!(refused.error()["code"], "invalid_api_key");
        assert_eq!(
            get(path, &format!("{own}Authorization: Bearer secre\r\n")).status,
            401
        );
        assert_eq!(
            get(path, &format!("{own}Authorization: Basic secret\r\n")).status,
            401
        );
        assert_ne!(
            get(path, &format!("{own}Authorization: bearer secret\r\n")).status,
            401
        );
    }
    for path in ["/health", "/"] {
        assert_eq!(get(path, own).status, 200, "{path}");
        // A name that was made to lead here, and a page of somebody else's.
        assert_eq!(
            get(path, "Host: evil.example\r\n").error()["code"],
            "host_not_allowed"
        );
        let page = format!("{own}Origin: http://evil.example\r\n");
        assert_eq!(get(path, &page).error()["code"], "origin_not_allowed");
        assert_eq!(
            get(path, &format!("{own}Origin: http://localhost:1234\r\n")).status,
            200
        );
    }
}

/// Answers whose work has ended, one way or the other.
fn ended(served: &Served) -> u64 {
    let metrics = served.get("/metrics").text();
    let mut lines = metrics.lines();
    let count = lines.find_map(|line| line.strip_prefix("simattn_answer_seconds_count "));
    count
        .and_then(|count| count.parse().ok())
        .expect("a counter")
}

#[test]
fn a_client_that_leaves_frees_its_place_within_a_step() {
    let (engine, permit) = Gated::new(Toy::new(600, 259));
    let limits = Limits {
        rows: 1,
        ..Limits::default()
    };
    let served = Served::start(engine, limits, Settings::default());
    let compute = || permit.send(()).expect("it waits");
    let figures = || served.scheduler.counters().figures();
    let mut body = json!({ "prompt": "a", "max_tokens": 500, "ignore_eos": true });
    for stream in [false, true] {
        let (before, ended_before) = (figures(), ended(&served));
        body["stream"] = json!(stream);
        let mut leaving = served.connect();
        leaving.send_post(COMPLETIONS, body.to_string().as_bytes(), "");
        compute();
        while figures().steps == before.steps {
            std::thread::yield_now();
        }
        // It waits in its first step, so that only the connection can tell.
        drop(leaving);
        while ended(&served) == ended_before {
            std::thread::yield_now();
        }
        let next = std::thread::scope(|scope| {
            let next = scope.spawn(|| {
                let asked = json!({ "prompt": "b", "max_tokens": 1, "ignore_eos": true });
                served.answer(COMPLETIONS, &asked)
            });
            // The step that had begun, and the other one's prompt.
            compute();
            compute();
            next.join().expect("an answer")
        });
        assert_eq!(next["usage"]["completion_tokens"], 1);
        let after = figures();
        assert_eq!(after.cancelled - before.cancelled, 1, "{after:?}");
        assert_eq!(after.steps - before.steps, 1, "{after:?}");
    }
}

#[test]
fn a_full_queue_says_when_to_come_again() {
    let (engine, permit) = Gated::new(Toy::new(600, 259));
    let limits = Limits {
        rows: 1,
        queue: 2,
        ..Limits::default()
    };
    let served = Served::start(engine, limits, Settings::default());
    let body = json!({ "prompt": "a", "n": 2, "max_tokens": 3, "ignore_eos": true });
    std::thread::scope(|scope| {
        let first = scope.spawn(|| served.answer(COMPLETIONS, &body));
        while served.scheduler.waiting() == 0 {
            std::thread::yield_now();
        }
        let refused = served.post(COMPLETIONS, &body);
        assert_eq!(refused.status, 429);
        assert_eq!(refused.error()["code"], "queue_full");
        assert!(refused.headers["retry-after"].parse::<u64>().is_ok());
        assert_eq!(refused.headers["x-should-retry"], "true");
        drop(permit);
        assert_eq!(
            first.join().expect("an answer")["usage"]["completion_tokens"],
            6
        );
    });
    served.answer(COMPLETIONS, &body);
}

#[test]
fn stopping_finishes_what_runs_and_takes_nothing_new() {
    let (engine, permit) = Gated::new(Toy::new(600, 259));
    let served = Served::start(engine, Limits::default(), Settings::default());
    let body = json!({ "prompt": "a", "max_tokens": 20, "ignore_eos": true, "stream": true });
    let mut running = served.connect();
    running.send_post(COMPLETIONS, body.to_string().as_bytes(), "");
    assert_eq!(running.read_head().expect("a head").0, 200);
    let mut idle = served.connect();
    served.server.stop();
    while !served.scheduler.is_draining() {
        std::thread::yield_now();
    }
    drop(permit);
    let mut last = Vec::new();
    while let Some(chunk) = running.chunk() {
        last = chunk;
    }
    assert!(last.ends_with(b"data: [DONE]\n\n"));
    assert!(idle.read_head().is_none());
    served.server.wait().expect("no failure");
    assert!(std::net::TcpStream::connect(served.address).is_err());
}

#[test]
fn the_second_stop_ends_streams_with_an_error() {
    let (engine, permit) = Gated::new(Toy::new(600, 259));
    let served = Served::start(engine, Limits::default(), Settings::default());
    let body = json!({ "prompt": "a", "max_tokens": 20, "stream": true });
    let mut running = served.connect();
    running.send_post(COMPLETIONS, body.to_string().as_bytes(), "");
    assert_eq!(running.read_head().expect("a head").0, 200);
    served.server.stop();
    served.server.stop();
    let last = String::from_utf8(running.chunk().expect("an event")).expect("text");
    assert!(last.starts_with("data: {\"error\":"), "{last}");
    served.server.wait().expect("no failure");
    drop(permit);
}

#[test]
fn a_dead_model_is_said_to_be_dead() {
    let engine = Toy::new(600, 259).panicking_at(u32::from(b'!'));
    let served = Served::start(engine, Limits::default(), Settings::default());
    assert_eq!(served.get("/health").status, 200);
    let fatal = served.post(COMPLETIONS, &json!({ "prompt": "a!" }));
    assert_eq!(fatal.status, 503);
    fatal.error();
    assert_eq!(served.get("/health").status, 503);
    assert_eq!(
        served.post(COMPLETIONS, &json!({ "prompt": "a" })).status,
        503
    );
}

#[test]
fn a_connection_serves_one_request_after_the_other() {
    let served = served();
    let mut connection = Connection::to(served.address);
    let body = json!({ "prompt": "a", "max_tokens": 2, "seed": 1, "stream": true }).to_string();
    let first = connection.post(COMPLETIONS, body.as_bytes(), "").text();
    let second = connection.post(COMPLETIONS, body.as_bytes(), "").text();
    assert_eq!(first.lines().count(), second.lines().count());
    assert_ne!(first, second, "ids differ");
}
