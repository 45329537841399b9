//! Fetching from a server on this machine that speaks as much as the Hub does.

use simattn_hub::{DatasetReference, Hub, HubError, ModelReference};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// What the server has, and how it behaves.
#[derive(Default)]
struct Stock {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Bodies of files end in the middle.
    dies: AtomicBool,
    /// Files sent whole or in part, their sizes asked for aside.
    sent: AtomicUsize,
    stop: AtomicBool,
}

struct Server {
    stock: Arc<Stock>,
    endpoint: String,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    fn start(files: &[(&str, &[u8])]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let stock = Arc::new(Stock::default());
        for (name, bytes) in files {
            let mut files = stock.files.lock().expect("nobody panicked");
            files.insert((*name).to_owned(), bytes.to_vec());
        }
        let served = stock.clone();
        let thread = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if served.stop.load(Ordering::SeqCst) {
                    return;
                }
                // A client that goes away is its own affair.
                let _ = stream.and_then(|stream| serve(stream, &served));
            }
        });
        Self {
            stock,
            endpoint,
            thread: Some(thread),
        }
    }

    fn hub(&self, cache: &Path) -> Hub {
        Hub {
            cache: cache.to_owned(),
            endpoint: self.endpoint.clone(),
            token: None,
            offline: false,
        }
    }

    fn sent(&self) -> usize {
        self.stock.sent.load(Ordering::SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stock.stop.store(true, Ordering::SeqCst);
        // Wakes the thread up.
        let _ = TcpStream::connect(self.endpoint.trim_start_matches("http://"));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, stock: &Stock) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut range = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(bytes) = line.strip_prefix("range: bytes=") {
            range = bytes
                .split_once('-')
                .map(|(from, to)| (from.parse().unwrap_or(0), to.parse().ok()));
        }
    }
    let mut answer = |status: &str, headers: &str, length: usize, body: &[u8]| {
        let head = format!(
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body))
    };
    if path.contains("/gated/") {
        return answer("403 Forbidden", "", 0, b"");
    }
    let files = stock.files.lock().expect("nobody panicked").clone();
    if path.starts_with("/api/") {
        if !["/revision/main", "/revision/v1"]
            .iter()
            .any(|end| path.ends_with(end))
            || !path.contains("/owner/name")
        {
            return answer("404 Not Found", "", 0, b"");
        }
        let names: Vec<String> = files
            .keys()
            .map(|name| format!("{{\"rfilename\":\"{name}\"}}"))
            .collect();
        let body = format!(
            "{{\"sha\":\"{COMMIT}\",\"siblings\":[{}]}}",
            names.join(",")
        );
        return answer(
            "200 OK",
            "Content-Type: application/json\r\n",
            body.len(),
            body.as_bytes(),
        );
    }
    let name = path
        .split_once(&format!("/resolve/{COMMIT}/"))
        .map(|(_, name)| name);
    let Some(bytes) = name.and_then(|name| files.get(name)) else {
        return answer("404 Not Found", "", 0, b"");
    };
    let size = bytes.len();
    let (from, to): (usize, Option<usize>) = range.unwrap_or((0, None));
    let to = to
        .unwrap_or(size.saturating_sub(1))
        .min(size.saturating_sub(1));
    let body = bytes.get(from..=to).unwrap_or_default();
    let sum: u64 = bytes.iter().fold(size as u64, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(byte.into())
    });
    let headers = format!(
        "ETag: \"{sum:x}\"\r\nX-Repo-Commit: {COMMIT}\r\nContent-Range: bytes {from}-{to}/{size}\r\nAccept-Ranges: bytes\r\n"
    );
    let whole = body.len();
    let only_asked = range == Some((0, Some(0)));
    if !only_asked {
        stock.sent.fetch_add(1, Ordering::SeqCst);
    }
    let shown = if stock.dies.load(Ordering::SeqCst) && !only_asked {
        whole / 2
    } else {
        whole
    };
    answer("206 Partial Content", &headers, whole, &body[..shown])
}

fn dataset(text: &str) -> DatasetReference {
    text.parse().expect("a reference")
}

const FILES: [(&str, &[u8]); 4] = [
    ("README.md", b"about"),
    ("data/a.jsonl", b"{\"text\":\"a\"}\n"),
    ("data/b.jsonl", b"{\"text\":\"b\"}\n"),
    ("data/deep/c.jsonl", b"{\"text\":\"c\"}\n"),
];

#[test]
fn a_pattern_is_fetched_once_and_then_used_offline() {
    let server = Server::start(&FILES);
    let place = tempfile::tempdir().expect("a temporary folder");
    let mut hub = server.hub(place.path());
    let wanted = dataset("hf://datasets/owner/name/data/*.jsonl");
    let paths = hub.dataset_files(&wanted).expect("both files");
    let read = |path: &std::path::PathBuf| fs::read(path).expect("a file in the cache");
    assert_eq!(
        paths.iter().map(read).collect::<Vec<_>>(),
        [FILES[1].1, FILES[2].1]
    );
    assert_eq!(server.sent(), 2);
    assert_eq!(hub.dataset_files(&wanted).expect("again"), paths);
    assert_eq!(server.sent(), 2, "what is cached is not fetched again");
    let deep = dataset("hf://datasets/owner/name@v1/data/**/*.jsonl");
    assert_eq!(hub.dataset_files(&deep).expect("three files").len(), 3);

    drop(server);
    // No answer, and no wish for one.
    assert_eq!(
        hub.dataset_files(&wanted).expect("the cache answers"),
        paths
    );
    hub.offline = true;
    assert_eq!(hub.dataset_files(&wanted).expect("offline"), paths);
    let other = dataset("hf://datasets/owner/name/README.md");
    let error = hub.dataset_files(&other).expect_err("never fetched");
    assert!(matches!(error, HubError::Offline(_)), "{error}");
    assert!(
        error.is_input() && error.to_string().contains("HF_HUB_OFFLINE"),
        "{error}"
    );
}

#[test]
fn refusals_are_one_line_each() {
    let server = Server::start(&FILES);
    let place = tempfile::tempdir().expect("a temporary folder");
    let hub = server.hub(place.path());
    for (reference, said) in [
        (
            "hf://datasets/owner/other/x",
            "no such repository or revision",
        ),
        (
            "hf://datasets/owner/name@v2/README.md",
            "no such repository or revision",
        ),
        ("hf://datasets/gated/name/x", "refuses access"),
        (
            "hf://datasets/owner/name/*.parquet",
            "has no file *.parquet",
        ),
        ("hf://datasets/owner/name/[", "malformed"),
    ] {
        let error = hub.dataset_files(&dataset(reference)).expect_err(reference);
        let line = error.to_string();
        assert!(
            error.is_input() && line.contains(said) && !line.contains('\n'),
            "{line}"
        );
    }
    let model: ModelReference = "hf://owner/name".parse().expect("a reference");
    let line = hub
        .model_folder(&model)
        .expect_err("no model there")
        .to_string();
    assert!(line.contains("has no config.json"), "{line}");
}

#[test]
fn a_server_that_dies_leaves_nothing_that_is_used() {
    let long = vec![7; 100_000];
    let server = Server::start(&[("long.txt", &long)]);
    let place = tempfile::tempdir().expect("a temporary folder");
    let hub = server.hub(place.path());
    let wanted = dataset("hf://datasets/owner/name/long.txt");
    server.stock.dies.store(true, Ordering::SeqCst);
    let error = hub.dataset_files(&wanted).expect_err("half a file");
    assert!(
        !error.is_input() && error.to_string().contains("was interrupted"),
        "{error}"
    );
    let offline = Hub {
        offline: true,
        ..hub.clone()
    };
    assert!(offline.dataset_files(&wanted).is_err());
    server.stock.dies.store(false, Ordering::SeqCst);
    let paths = hub.dataset_files(&wanted).expect("the whole file");
    assert!(fs::read(&paths[0]).expect("a file") == long);
}

#[test]
fn a_model_is_a_folder_of_one_commit() {
    let server = Server::start(&[
        ("config.json", b"{}"),
        ("tokenizer.json", b"{}"),
        ("model.safetensors", b"weights"),
        ("pytorch_model.bin", b"not wanted"),
        ("onnx/model.safetensors", b"not wanted"),
    ]);
    let place = tempfile::tempdir().expect("a temporary folder");
    let model: ModelReference = "hf://models/owner/name@v1".parse().expect("a reference");
    let folder = server
        .hub(place.path())
        .model_folder(&model)
        .expect("a model");
    assert!(folder.ends_with(Path::new("snapshots").join(COMMIT)));
    assert_eq!(
        fs::read(folder.join("model.safetensors")).expect("weights"),
        b"weights"
    );
    assert!(!folder.join("pytorch_model.bin").exists() && !folder.join("onnx").exists());
    assert_eq!(server.sent(), 3);
}

#[test]
fn names_that_lead_out_of_the_cache_are_not_fetched() {
    let server = Server::start(&[("../../evil.jsonl", b"x"), ("good.jsonl", b"y")]);
    let place = tempfile::tempdir().expect("a temporary folder");
    let error = server
        .hub(place.path())
        .dataset_files(&dataset("hf://datasets/owner/name/**/*.jsonl"));
    assert!(matches!(error, Err(HubError::Name { .. })), "{error:?}");
    assert_eq!(server.sent(), 0);
}
