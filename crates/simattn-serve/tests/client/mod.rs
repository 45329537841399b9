//! A client that can do wrong what others cannot.

// Every test file compiles this for itself and uses a part of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::{Value, json};
use simattn_data::{TextSettings, Tokenizer};
use simattn_serve::engine::Engine;
use simattn_serve::http::{Model, Server, Settings};
use simattn_serve::scheduler::{Limits, Scheduler};

/// Patience with a server that should have answered.
const PATIENCE: Duration = Duration::from_secs(60);

/// A tokenizer of bytes and three special tokens.
pub fn tokenizer() -> Tokenizer {
    let mut value: Value = serde_json::from_str(Tokenizer::bytes().to_json()).expect("JSON");
    let added = value["added_tokens"].as_array_mut().expect("a list");
    for (id, name) in [(257, "<|im_start|>"), (258, "<|im_end|>")] {
        let mut token = added[0].clone();
        token["id"] = json!(id);
        token["content"] = json!(name);
        added.push(token);
    }
    Tokenizer::from_json(value.to_string().as_bytes(), "a test").expect("a tokenizer")
}

/// What its folder would say.
pub fn text() -> TextSettings {
    let folder = tempfile::tempdir().expect("a folder");
    let template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n\
        {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    for (name, text) in [
        ("chat_template.jinja", template),
        ("generation_config.json", r#"{"eos_token_id": [256, 258]}"#),
        (
            "tokenizer_config.json",
            r#"{"eos_token": "<|im_end|>", "bos_token": null}"#,
        ),
    ] {
        std::fs::write(folder.path().join(name), text).expect("a small file");
    }
    TextSettings::from_hugging_face(folder.path(), 259).expect("settings")
}

/// A server and its address.
pub struct Served {
    pub address: SocketAddr,
    pub scheduler: Scheduler,
    pub server: Server,
}

impl Served {
    pub fn start(engine: impl Engine, limits: Limits, settings: Settings) -> Self {
        let scheduler = Scheduler::start(engine, limits).expect("a thread");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let model = Model::new("toy".to_owned(), tokenizer(), text(), scheduler.clone());
        let server = Server::start(listener, model, settings).expect("a thread");
        Self {
            address,
            scheduler,
            server,
        }
    }

    pub fn connect(&self) -> Connection {
        Connection::to(self.address)
    }

    pub fn get(&self, path: &str) -> Response {
        self.connect().ask(
            &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"),
            b"",
        )
    }

    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.connect().post(path, body.to_string().as_bytes(), "")
    }

    /// The JSON of a request that must be answered.
    pub fn answer(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body);
        assert_eq!(response.status, 200, "{body}: {}", response.text());
        response.json()
    }

    /// The error of a request that must be refused.
    pub fn refusal(&self, status: u16, path: &str, body: &Value) -> Value {
        let response = self.post(path, body);
        assert_eq!(response.status, status, "{body}: {}", response.text());
        response.error()
    }
}

/// A connection.
pub struct Connection(pub BufReader<TcpStream>);

impl Connection {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).expect("sent");
    }

    /// Sends a head and a body, and reads the response.
    pub fn ask(&mut self, head: &str, body: &[u8]) -> Response {
        self.send(head.as_bytes());
        self.send(body);
        self.read().expect("a response")
    }

    pub fn post(&mut self, path: &str, body: &[u8], headers: &str) -> Response {
        self.send_post(path, body, headers);
        self.read().expect("a response")
    }

    /// Sends a request and reads nothing.
    pub fn send_post(&mut self, path: &str, body: &[u8], headers: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n",
            body.len()
        );
        self.send(head.as_bytes());
        self.send_unless_refused(body);
    }

    /// Sends what a server may have heard enough of before the end.
    pub fn send_unless_refused(&mut self, bytes: &[u8]) {
        let _ = self.0.get_mut().write_all(bytes);
    }

    /// Reads the head of a response: its status and its headers. `None` if the connection ends.
    pub fn read_head(&mut self) -> Option<(u16, HashMap<String, String>)> {
        let first = self.line()?;
        let status = first.split(' ').nth(1)?.parse().ok()?;
        let mut headers = HashMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some((status, headers));
            }
            let (name, value) = line.split_once(':')?;
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }

    pub fn read(&mut self) -> Option<Response> {
        let (status, headers) = self.read_head()?;
        let mut body = Vec::new();
        if let Some(length) = headers.get("content-length") {
            body.resize(length.parse().ok()?, 0);
            self.0.read_exact(&mut body).ok()?;
        } else {
            while let Some(chunk) = self.chunk() {
                body.extend(chunk);
            }
        }
        Some(Response {
            status,
            headers,
            body,
        })
    }

    /// The next chunk of a body that is sent in chunks.
    pub fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line()?, 16).ok()?;
        let mut chunk = vec![0; length];
        self.0.read_exact(&mut chunk).ok()?;
        self.line()?;
        (length > 0).then_some(chunk)
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).ok()?;
        (read > 0).then(|| line.trim_end().to_owned())
    }
}

/// A response.
pub struct Response {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        let text = self.text();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The error in OpenAI's shape.
    pub fn error(&self) -> Value {
        assert_eq!(self.headers["content-type"], "application/json");
        let error = self.json()["error"].clone();
        for field in ["message", "type", "param", "code"] {
            assert!(error.get(field).is_some(), "{error}");
        }
        assert!(!error["message"].as_str().expect("a text").is_empty());
        error
    }

    /// The events of a stream, the last of which must be "[DONE]".
    pub fn events(&self) -> Vec<Value> {
        assert_eq!(
            self.headers["content-type"],
            "text/event-stream; charset=utf-8"
        );
        let text = self.text();
        let events: Vec<&str> = text.split_terminator("\n\n").collect();
        let (last, others) = events.split_last().expect("an event");
        assert_eq!(*last, "data: [DONE]");
        let event = |event: &&str| {
            let json = event.strip_prefix("data: ").expect("data");
            serde_json::from_str(json).expect("JSON")
        };
        others.iter().map(event).collect()
    }
}
