//! Which files are read, and as what.

use super::error::PrepareError;
use crate::documents::is_binary;
use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

/// How a file's contents are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// Plain text: one document, or several between lines of `<|endoftext|>`.
    Text,
    /// A JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
}

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    None,
    Gzip,
    Zstandard,
}

/// A file to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InputFile {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    pub(super) packing: Packing,
    /// On the disk.
    pub(super) bytes: u64,
    /// Whether all its documents are for validation.
    pub(super) held_out: bool,
}

/// The files to train on and those held out, in the order of `inputs` and then of `validation`, each file once.
pub(super) fn expand(
    inputs: &[PathBuf],
    validation: &[PathBuf],
) -> Result<Vec<InputFile>, PrepareError> {
    let mut held_out = found(validation)?;
    for file in &mut held_out {
        file.held_out = true;
    }
    let named: HashSet<PathBuf> = held_out.iter().map(|file| file.path.clone()).collect();
    let mut files = found(inputs)?;
    files.retain(|file| !named.contains(&file.path));
    files.append(&mut held_out);
    Ok(files)
}

/// The files behind `inputs`, in their order, folders and patterns sorted by name, each file once.
fn found(inputs: &[PathBuf]) -> Result<Vec<InputFile>, PrepareError> {
    let mut files = Vec::new();
    for input in inputs {
        let before = files.len();
        match fs::metadata(input) {
            Ok(kind) if kind.is_dir() => folder(input, &mut files)?,
            Ok(_) => files.push(given(input)?),
            Err(error) => {
                let pattern = input.to_str().filter(|text| text.contains(['*', '?', '[']));
                let Some(pattern) = pattern else {
                    return Err(refused(input, &error));
                };
                matching(pattern, &mut files)?;
            }
        }
        if files.len() == before {
            return Err(PrepareError::Input {
                input: input.display().to_string(),
                problem: "no text, JSON lines or Parquet file there; check the path".to_owned(),
            });
        }
    }
    let mut seen = HashSet::new();
    files.retain(|file: &InputFile| seen.insert(file.path.clone()));
    Ok(files)
}

fn refused(path: &Path, error: &std::io::Error) -> PrepareError {
    PrepareError::Input {
        input: path.display().to_string(),
        problem: match error.kind() {
            std::io::ErrorKind::NotFound => "no such file or folder; check the path".to_owned(),
            _ => error.to_string(),
        },
    }
}

fn matching(pattern: &str, files: &mut Vec<InputFile>) -> Result<(), PrepareError> {
    let wrong = |problem: String| PrepareError::Input {
        input: pattern.to_owned(),
        problem,
    };
    let as_a_shell = glob::MatchOptions {
        require_literal_leading_dot: true,
        ..glob::MatchOptions::new()
    };
    let found = glob::glob_with(pattern, as_a_shell).map_err(|error| wrong(error.to_string()))?;
    for path in found {
        let path = path.map_err(|error| wrong(error.to_string()))?;
        if path.is_dir() {
            folder(&path, files)?;
        } else {
            files.push(given(&path)?);
        }
    }
    Ok(())
}

/// A file that was named: what it is must be known.
fn given(path: &Path) -> Result<InputFile, PrepareError> {
    let wrong = |problem: &str| PrepareError::Input {
        input: path.display().to_string(),
        problem: problem.to_owned(),
    };
    if extension(path).as_deref() == Some("json") {
        return Err(wrong(
            "a JSON file; write one object a line and name it .jsonl",
        ));
    }
    file(path)?.ok_or_else(|| {
        wrong("not a kind of file that is read (.txt and other text, .jsonl, .parquet, each also as .gz or .zst)")
    })
}

/// All files below a folder, sorted by name; hidden ones, JSON and known binary formats are passed over.
fn folder(folder_path: &Path, files: &mut Vec<InputFile>) -> Result<(), PrepareError> {
    let entries = fs::read_dir(folder_path).map_err(|error| refused(folder_path, &error))?;
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| refused(folder_path, &error))?;
        names.push(entry.file_name());
    }
    // The file system's own order differs from machine to machine.
    names.sort_unstable();
    for name in names {
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let path = folder_path.join(name);
        // Links to folders may lead in circles.
        let kind = fs::symlink_metadata(&path).map_err(|error| refused(&path, &error))?;
        if kind.is_dir() {
            folder(&path, files)?;
        } else if path.is_file() && extension(&path).as_deref() != Some("json") {
            files.extend(file(&path)?);
        }
    }
    Ok(())
}

/// What a file is by its name; `None` for a format that is not read.
fn file(path: &Path) -> Result<Option<InputFile>, PrepareError> {
    let packing = match extension(path).as_deref() {
        Some("gz") => Packing::Gzip,
        Some("zst") => Packing::Zstandard,
        _ => Packing::None,
    };
    let inner = match packing {
        Packing::None => path.to_owned(),
        _ => path.with_extension(""),
    };
    let format = match extension(&inner).as_deref() {
        Some("jsonl" | "ndjson") => Format::JsonLines,
        Some("parquet") if packing == Packing::None => Format::Parquet,
        _ if is_binary(&inner) => return Ok(None),
        _ => Format::Text,
    };
    let bytes = fs::metadata(path)
        .map_err(|error| refused(path, &error))?
        .len();
    Ok(Some(InputFile {
        path: path.to_owned(),
        format,
        packing,
        bytes,
        held_out: false,
    }))
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}
