//! `docs/results.md` is what the results in `docs/results/` say, to the last character.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use simattn_cli::study::collection;

const AGAIN: &str =
    "make it anew: cargo run --release -p simattn-cli --example results_page -- docs/results";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/results")
}

#[test]
fn the_page_and_its_pictures_follow_from_the_results() {
    for file in collection::files(&folder()).expect("the outline and the results are read") {
        let path = file.path.display();
        let kept = fs::read_to_string(&file.path).unwrap_or_default();
        assert!(
            kept == file.contents,
            "{path} does not follow from the results; {AGAIN}"
        );
    }
}

#[test]
fn no_picture_is_left_over() {
    let made = collection::files(&folder()).expect("the outline and the results are read");
    let made: BTreeSet<&OsStr> = made
        .iter()
        .filter_map(|file| file.path.file_name())
        .collect();
    for entry in fs::read_dir(folder()).expect("the folder is there") {
        let path = entry.expect("an entry").path();
        if path.extension() == Some(OsStr::new("svg")) {
            let name = path.file_name().expect("a name");
            assert!(
                made.contains(name),
                "{} is not made any more; {AGAIN}",
                path.display()
            );
        }
    }
}
