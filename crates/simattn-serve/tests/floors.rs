//! Inside the crate arrows go down: `http/` → `writing.rs` → `scheduler/` → the rest.

use std::fs;
use std::path::{Path, PathBuf};

/// The Rust files of a module.
fn files_of(module: &str) -> Vec<PathBuf> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let file = source.join(format!("{module}.rs"));
    if file.is_file() {
        return vec![file];
    }
    let entries = fs::read_dir(source.join(module)).expect("a folder of sources");
    let paths = entries.map(|entry| entry.expect("an entry of that folder").path());
    paths
        .filter(|path| path.extension().is_some_and(|ending| ending == "rs"))
        .collect()
}

#[test]
fn no_module_names_one_above_it() {
    let above = ["scheduler", "writing", "http"];
    for (module, from) in [
        ("engine", 0),
        ("sampling", 0),
        ("text", 0),
        ("template", 0),
        ("scheduler", 1),
        ("writing", 2),
    ] {
        let files = files_of(module);
        assert!(!files.is_empty(), "{module}");
        for file in files {
            let text = fs::read_to_string(&file).expect("a source file");
            for (number, line) in text.lines().enumerate() {
                let names = |name: &&&str| line.contains(&format!("crate::{name}"));
                let found = above[from..].iter().find(names);
                // A group on several lines would hide its members from this test.
                let grouped = line.trim_end().ends_with("crate::{");
                let place = format!("{}:{}", file.display(), number + 1);
                assert!(
                    found.is_none() && !grouped,
                    "an arrow up at {place}: {line}"
                );
            }
        }
    }
}
