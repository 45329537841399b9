//! A message is one line: nothing that comes from outside can control the terminal.

mod common;

use std::fs;
use std::process::Output;

use common::simattn;

/// A name that would colour the screen, turn the text and begin a line of its own.
const EVIL: &str = "a\nsimattn: \u{1b}[31mall is lost\u{202e}\u{200b}\r\u{7}";

/// What is said is one line that shows the name and does not obey it.
fn assert_harmless(output: &Output) {
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr.clone()).expect("text");
    assert_eq!(said.lines().count(), 1, "{said:?}");
    let hidden = |c: char| c != '\n' && simattn_cli::console::is_hidden(c);
    assert!(!said.contains(hidden), "{said:?}");
    assert!(said.contains(r"\u{1b}[31mall is lost\u{202e}"), "{said:?}");
    assert!(said.chars().count() < 1500, "{said:?}");
}

/// A safetensors file with one tensor of this name.
fn safetensors(name: &str) -> Vec<u8> {
    let header = serde_json::json!({
        name: { "dtype": "F32", "shape": [1], "data_offsets": [0, 4] },
    });
    let header = header.to_string();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend([0; 4]);
    bytes
}

const CONFIG: &str = "[model]\ncontext = 16\nlayers = 1\nwidth = 16\nvocabulary = 257\n\
    attention = { kind = \"mha\", heads = 2, head_dim = 8 }\n";

#[test]
fn names_from_files_and_arguments_stay_on_their_line() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path();
    let long = format!("{EVIL}{}", "x".repeat(50_000));
    fs::write(here.join("run.toml"), CONFIG).expect("a small file");
    // A path.
    assert_harmless(&simattn(
        here,
        &["train", &format!("{EVIL}.toml"), "--out", "x"],
    ));
    let absent = ["train", "run.toml", "--out", "x", "--data", EVIL];
    assert_harmless(&simattn(here, &absent));
    // A key of TOML, in a file and on the command line.
    let key: String = long.chars().flat_map(char::escape_unicode).collect();
    let key = key.replace("\\u{", "\\U").replace('}', "");
    let key: String = (key.split("\\U").skip(1))
        .map(|digits| format!("\\U{digits:0>8}"))
        .collect();
    fs::write(here.join("key.toml"), format!("\"{key}\" = 1\n{CONFIG}")).expect("a small file");
    assert_harmless(&simattn(here, &["info", "key.toml"]));
    let set = format!("{EVIL}=1");
    assert_harmless(&simattn(
        here,
        &["train", "run.toml", "--out", "x", "--set", &set],
    ));
    // A tensor.
    fs::create_dir(here.join("model")).expect("a folder");
    fs::write(here.join("model/config.toml"), CONFIG).expect("a small file");
    simattn_data::Tokenizer::bytes()
        .save(here.join("model/tokenizer.json"))
        .expect("a small file");
    fs::write(here.join("model/model.safetensors"), safetensors(&long)).expect("a small file");
    fs::write(here.join("text"), "a text").expect("a small file");
    let eval = simattn(
        here,
        &["eval", "model", "--data", "text", "--device", "cpu"],
    );
    assert_eq!(eval.status.code(), Some(2));
    let said = String::from_utf8(eval.stderr).expect("text");
    assert!(
        said.lines().count() == 1 && !said.contains('\u{1b}') && said.len() < 5000,
        "{said:?}"
    );
}

#[cfg(unix)]
#[test]
fn a_list_of_runs_has_a_line_for_each_whatever_its_name() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bytes = std::ffi::OsStr::from_bytes(b"no \xff utf-8");
    for name in [std::ffi::OsStr::new(EVIL), bytes] {
        let run = folder.path().join(name);
        fs::create_dir(&run).expect("a folder");
        fs::write(run.join("run.json"), "{}").expect("a small file");
    }
    let output = simattn(folder.path(), &["runs", "."]);
    assert!(output.status.success());
    let table = String::from_utf8(output.stdout).expect("text");
    assert_eq!(table.lines().count(), 3, "{table:?}");
    assert!(
        !table.contains('\u{1b}') && table.contains(r"\u{1b}"),
        "{table:?}"
    );
}
