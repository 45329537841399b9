//! The crate's modules are floors: arrows go down, from Burn operations to kernels to the
//! vocabulary of calls.

use std::fs;
use std::path::{Path, PathBuf};

/// Every Rust file at or below `src/<module>`.
fn files_of(module: &str) -> Vec<PathBuf> {
    fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of sources") {
            let path = entry.expect("an entry of that folder").path();
            if path.is_dir() {
                collect(&path, files);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    collect(&source.join(module), &mut files);
    let beside = source.join(module).with_extension("rs");
    files.extend(beside.exists().then_some(beside));
    assert!(!files.is_empty(), "no source in src/{module}");
    files
}

/// Lines of `module` that name a module of `above`, comments included: a link in a comment is an
/// arrow too.
fn arrows_up(module: &str, above: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for file in files_of(module) {
        let text = fs::read_to_string(&file).expect("a source file");
        for (number, line) in text.lines().enumerate() {
            // A group of imports from the crate's root would hide its members from this test.
            let grouped = line.contains("crate::{");
            let up = above.iter().any(|name| {
                ["crate::", "super::"].iter().any(|root| {
                    line.split(&format!("{root}{name}"))
                        .skip(1)
                        .any(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '_'))
                })
            });
            if grouped || up {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    found
}

#[test]
fn kernels_name_no_module_above_them() {
    let above = ["ops", "reference", "kernels", "check"];
    for module in ["cpu", "cube"] {
        let found = arrows_up(module, &above);
        assert!(found.is_empty(), "arrows up:\n{}", found.join("\n"));
    }
}

#[test]
fn the_vocabulary_names_no_other_module() {
    let above = ["cpu", "cube", "ops", "reference", "kernels", "check"];
    let found = arrows_up("call", &above);
    assert!(found.is_empty(), "arrows up:\n{}", found.join("\n"));
}

#[test]
fn the_definitions_name_no_kernel() {
    let found = arrows_up("reference", &["cpu", "cube", "ops", "kernels", "check"]);
    assert!(found.is_empty(), "arrows up:\n{}", found.join("\n"));
}

/// Burn's functions that allocate leave room between rows on some devices (CUDA, ROCm), and kernels
/// index by hand. So `cube/tensor.rs` allocates for all launches.
#[test]
fn launches_allocate_in_one_place() {
    let allocating = [
        "numeric::",
        ".empty(",
        ".create(",
        "empty_",
        "full_",
        "create_tensor",
        "Tensor::empty",
        "Tensor::zeros",
        "Tensor::ones",
    ];
    let launches = files_of("ops")
        .into_iter()
        .filter(|file| file.ends_with("cube.rs"));
    let mut found = Vec::new();
    for file in files_of("cube").into_iter().chain(launches) {
        if file.ends_with("cube/tensor.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("a source file");
        let code = text
            .lines()
            .enumerate()
            .filter(|(_, line)| !line.trim_start().starts_with("//"));
        for (number, line) in code {
            if allocating.iter().any(|name| line.contains(name)) {
                found.push(format!("{}:{}: {line}", file.display(), number + 1));
            }
        }
    }
    assert!(
        found.is_empty(),
        "allocated elsewhere:\n{}",
        found.join("\n")
    );
}
