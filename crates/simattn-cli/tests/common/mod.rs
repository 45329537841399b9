//! The binary as a user runs it, in a folder of the test's own.

// Every test file compiles this for itself and uses a part of it.
#![allow(dead_code)]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// A run of a small model with grouped heads, in the style of Llama.
pub const LLAMA: &str = r#"
[model]
context = 32
layers = 1
width = 16
norm = "rms"
mlp = "swiglu"
bias = false
attention = { kind = "gqa", heads = 4, kv_heads = 2, head_dim = 4 }
[data]
tales_train_bytes = 20000
tales_validation_bytes = 4000
[train]
steps = 2
batch = 2
evaluate_every = 2
evaluation_batches = 2
"#;

/// What a process wrote.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

/// The words of a command, between white space.
pub fn words(command: &str) -> Vec<&str> {
    command.split_whitespace().collect()
}

/// Runs the binary in `folder`.
pub fn simattn<A: AsRef<OsStr>>(folder: &Path, arguments: &[A]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_simattn"))
        .current_dir(folder)
        .args(arguments)
        .output()
        .expect("the binary runs")
}

/// Standard output of a command that must succeed.
pub fn succeeds(folder: &Path, arguments: &str) -> String {
    let out = simattn(folder, &words(arguments));
    let log = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success(), "{arguments}: {log}");
    text(&out.stdout)
}

/// The one line of a command that refuses its input and leaves `place` free, and nothing hidden.
pub fn refusal(folder: &Path, arguments: &str, place: &str) -> String {
    let out = simattn(folder, &words(arguments));
    let log = text(&out.stderr);
    assert_eq!(out.status.code(), Some(2), "{arguments}: {log}");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(!folder.join(place).exists(), "{arguments}");
    let left = fs::read_dir(folder).expect("a folder");
    let hidden = left.filter(|entry| {
        let name = entry.as_ref().expect("an entry").file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(hidden.count(), 0, "{arguments}");
    log
}

/// A temporary folder, and commands that run in it: on two threads, and without the network.
pub struct Place(tempfile::TempDir);

impl Place {
    /// With nothing in it.
    pub fn empty() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    /// What is called so in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a small file.
    pub fn write(&self, name: &str, contents: impl AsRef<[u8]>) {
        fs::write(self.path(name), contents).expect("a small file");
    }

    /// A command, its words with white space between.
    pub fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_simattn"));
        command
            .current_dir(self.0.path())
            .args(arguments.split_whitespace())
            .env("RAYON_NUM_THREADS", "2")
            .env_remove("SIMATTN_FAULT")
            // No test asks a server; the Hub's cache is the test's own.
            .env("HF_HUB_OFFLINE", "1")
            .env("HF_HOME", self.path("hf"))
            .env_remove("HF_HUB_CACHE")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// What became of a command.
    pub fn run(&self, arguments: &str) -> Output {
        self.command(arguments).output().expect("the binary runs")
    }

    /// Standard output of a command that must succeed.
    pub fn succeed(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {errors}");
        text(&output.stdout)
    }

    /// The last line of a command that must be refused with exit code 2.
    pub fn refuse(&self, arguments: &str) -> String {
        let output = self.run(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {errors}");
        let last = errors.lines().last().expect("a line").to_owned();
        assert!(last.starts_with("simattn: "), "{errors}");
        last
    }
}

/// A small generator, seeded so that a failure can be repeated.
pub struct Dice(pub u64);

impl Dice {
    /// A number below `bound`.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Reads lines of standard error until `enough`; false where the process ended before.
pub fn read_until(child: &mut Child, mut enough: impl FnMut(&str) -> bool) -> bool {
    let mut lines = BufReader::new(child.stderr.as_mut().expect("a pipe"));
    let mut line = String::new();
    while lines.read_line(&mut line).expect("text") > 0 {
        if enough(&line) {
            return true;
        }
        line.clear();
    }
    false
}

/// Ends a process as the power cut does.
pub fn kill(mut child: Child) {
    child.kill().expect("SIGKILL can be sent");
    child.wait().expect("it ends");
}
