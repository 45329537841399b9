//! Corpora from files and folders, and what is wrong with those that cannot be used.

use simattn_data::{Corpus, DataError};
use std::fs;
use std::path::Path;

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// Names relative to the folder, both parts together, sorted.
fn names(folder: &Path, corpus: &Corpus) -> Vec<String> {
    let mut names: Vec<String> = corpus
        .train
        .iter()
        .chain(&corpus.validation)
        .map(|document| {
            let relative = Path::new(&document.name).strip_prefix(folder).unwrap();
            relative.to_str().unwrap().replace('\\', "/")
        })
        .collect();
    names.sort();
    names
}

#[test]
fn a_folder_is_read_recursively_without_hidden_and_binary_files() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    write(at, "b.txt", "b");
    write(at, "a/deep/c.tex", "\u{feff}c\n\n");
    write(at, "README", "no extension");
    write(at, "notes.md", "notes");
    write(at, "empty.txt", " \n");
    write(at, ".hidden", "hidden");
    write(at, ".git/config", "hidden");
    write(at, "picture.PNG", [0xff, 0xd8]);
    let corpus = Corpus::from_path(at, 0.3, 1).unwrap();
    assert_eq!(
        names(at, &corpus),
        ["README", "a/deep/c.tex", "b.txt", "notes.md"]
    );
    let texts: Vec<&str> = corpus
        .train
        .iter()
        .chain(&corpus.validation)
        .map(|document| document.text.as_str())
        .collect();
    assert!(texts.contains(&"c"), "byte-order mark and line ends go");
    assert_eq!(corpus, Corpus::from_path(at, 0.3, 1).unwrap());
}

#[test]
fn a_file_is_cut_into_documents() {
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        "marked.txt",
        "one\n<|endoftext|>\ntwo\n<|endoftext|>\nthree\n",
    );
    let corpus = Corpus::from_path(folder.path().join("marked.txt"), 0.5, 1).unwrap();
    assert_eq!(corpus.train.len() + corpus.validation.len(), 3);

    let paragraphs: String = (0..300)
        .map(|i| format!("Paragraph {i} of a book.\n\n"))
        .collect();
    write(folder.path(), "book.txt", &paragraphs);
    let corpus = Corpus::from_path(folder.path().join("book.txt"), 0.1, 1).unwrap();
    let held: usize = corpus.validation.iter().map(|d| d.text.len()).sum();
    let share = held as f64 / paragraphs.len() as f64;
    assert!((0.05..=0.15).contains(&share), "{share}");
    assert_eq!(names(folder.path(), &corpus)[0], "book.txt#0");
}

fn refusal(path: &Path) -> String {
    let message = Corpus::from_path(path, 0.1, 1).unwrap_err().to_string();
    assert!(!message.contains('\n'), "one line: {message:?}");
    assert!(message.contains(path.to_str().unwrap()), "{message}");
    message
}

#[test]
fn what_cannot_be_a_corpus_is_refused_in_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(refusal(&at.join("absent")).contains("no such file or folder"));

    assert!(refusal(at).contains("no text in this folder"));

    write(at, "empty.txt", "\n \n");
    assert!(refusal(&at.join("empty.txt")).contains("has no text"));

    write(at, "one.txt", "a single line");
    assert!(refusal(&at.join("one.txt")).contains("only one document"));
    assert!(refusal(at).contains("only one document"));
    write(at, "copy.txt", "a single line");
    assert!(refusal(at).contains("only one document"), "copies are one");

    write(at, "bad.txt", b"abc\xff");
    assert!(refusal(&at.join("bad.txt")).contains("not UTF-8 at byte 3"));
    let message = Corpus::from_path(at, 0.1, 1).unwrap_err().to_string();
    assert!(
        message.contains("bad.txt: not UTF-8 at byte 3"),
        "{message}"
    );
}

#[cfg(unix)]
#[test]
fn links_to_folders_do_not_make_walks_endless() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "a.txt", "a");
    write(folder.path(), "b.txt", "b");
    std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
    std::os::unix::fs::symlink("a.txt", folder.path().join("link.txt")).unwrap();
    let corpus = Corpus::from_path(folder.path(), 0.5, 1).unwrap();
    // A file of two names is read once.
    assert_eq!(names(folder.path(), &corpus), ["a.txt", "b.txt"]);
    assert!(matches!(
        Corpus::from_path(folder.path().join("none"), 0.5, 1),
        Err(DataError::Missing { .. })
    ));
}
