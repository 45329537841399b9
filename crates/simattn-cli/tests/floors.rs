//! The crate's modules are floors: `commands/` over `study/` and `bench/` over the files that lie
//! beside these folders.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files in `folder`, and below it if `deep`.
fn files_in(folder: &Path, deep: bool) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry of that folder").path();
        if path.is_dir() && deep {
            files.extend(files_in(&path, deep));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    assert!(!files.is_empty(), "no source in {}", folder.display());
    files
}

/// Lines of `files` that name a module of `above`, comments included: a link in a comment is an
/// arrow too.
fn arrows_up(files: &[PathBuf], above: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            let words: Vec<&str> = line
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .collect();
            let from_root = words.contains(&"crate") || words.contains(&"super");
            let up = from_root && above.iter().any(|name| words.contains(name));
            // A group on several lines would hide its members from this test.
            let grouped = line.trim_end().ends_with("crate::{");
            if up || grouped {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    found
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

#[test]
fn the_ground_floor_names_nothing_above_it() {
    let mut ground = files_in(&source(), false);
    ground.retain(|file| !file.ends_with("lib.rs") && !file.ends_with("main.rs"));
    let found = arrows_up(&ground, &["commands", "study", "bench"]);
    assert!(found.is_empty(), "arrows up:\n{}", found.join("\n"));
}

#[test]
fn studies_and_benches_name_no_command_and_not_each_other() {
    for (floor, above) in [
        ("study", ["commands", "bench"]),
        ("bench", ["commands", "study"]),
    ] {
        let found = arrows_up(&files_in(&source().join(floor), true), &above);
        assert!(found.is_empty(), "arrows up:\n{}", found.join("\n"));
    }
}
