//! Which files stand behind paths and patterns.

use super::ReadError;
use super::file_id::FileId;
use super::format::{Format, Packing};
use super::input_file::InputFile;
use super::kind::{self, Kind};
use super::pattern::{is_pattern, matching};
use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

/// Something in a folder that may have been meant and is not read. `Display` is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedOver {
    /// What.
    pub path: PathBuf,
    /// Why, and what to do.
    pub why: String,
}

impl fmt::Display for PassedOver {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}; passed over", self.path.display(), self.why)
    }
}

/// The files that some inputs name.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Each file once, whatever its names, in the order of the inputs; folders and patterns sorted
    /// by name.
    pub(crate) files: Vec<InputFile>,
    pub(crate) passed_over: Vec<PassedOver>,
}

/// The files behind `inputs`: files, folders and patterns. Text in JSON lines is looked for in
/// `field`.
///
/// What is named must be readable; in folders, and among what a pattern matches, the rest is passed
/// over, and named where it may have been meant. The folder `out`, where it is among them, is not
/// read: that is where the work is going on.
pub(crate) fn find(
    inputs: &[PathBuf],
    field: &str,
    out: Option<&Path>,
) -> Result<Found, ReadError> {
    let out = out.and_then(|path| Some(FileId::of(path, &fs::metadata(path).ok()?)));
    let mut search = Search {
        field,
        found: Found::default(),
        known: HashSet::new(),
        out,
    };
    for input in inputs {
        let seen = search.found.files.len();
        let any = match fs::metadata(input) {
            Ok(kind) if kind.is_dir() => search.folder(input, &kind)?,
            Ok(kind) => search.named(input, &kind)?,
            Err(_) if fs::symlink_metadata(input).is_err() && is_pattern(input) => {
                search.pattern(input)?
            }
            Err(error) => return Err(absent(input, &error)),
        };
        if !any && search.found.files.len() == seen {
            return Err(ReadError::Nothing(input.clone()));
        }
    }
    Ok(search.found)
}

/// Why nothing can be read at a path that was named.
fn absent(path: &Path, error: &std::io::Error) -> ReadError {
    if path == Path::new("-") {
        let problem = "standard input is not read; write the text to a file and give that";
        return ReadError::input(path, problem);
    }
    match dead_link(path) {
        Some(problem) => ReadError::input(path, problem),
        None => ReadError::opening(path, error),
    }
}

/// What to say of a link behind which nothing can be found.
fn dead_link(path: &Path) -> Option<String> {
    let target = fs::read_link(path).ok()?;
    Some(format!(
        "a link to {}, where nothing can be read; put that back, or remove the link",
        target.display()
    ))
}

struct Search<'a> {
    field: &'a str,
    found: Found,
    known: HashSet<FileId>,
    out: Option<FileId>,
}

/// Each method says whether there was any file that is read, known already or not.
impl Search<'_> {
    /// A file that was named: what it is must be known.
    fn named(&mut self, path: &Path, metadata: &Metadata) -> Result<bool, ReadError> {
        if !metadata.is_file() {
            return Err(ReadError::input(path, kind::special(metadata.file_type())));
        }
        match kind::of(path, self.field)? {
            Kind::Read(format, packing) => {
                self.add(path, metadata, format, packing);
                Ok(true)
            }
            Kind::Unread(problem) => Err(ReadError::input(path, problem)),
            Kind::Binary => Err(ReadError::input(
                path,
                "not a supported kind of file (.txt and other text, .jsonl and .json, each \
                 also as .gz or .zst, and .parquet)",
            )),
        }
    }

    fn pattern(&mut self, pattern: &Path) -> Result<bool, ReadError> {
        let mut any = false;
        for path in matching(pattern)? {
            any |= match fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => self.folder(&path, &kind)?,
                // What matches was meant, as if it had been named.
                Ok(kind) if kind.is_file() => self.named(&path, &kind)?,
                other => self.entry(&path, other)?,
            };
        }
        Ok(any)
    }

    /// All files below a folder, sorted by name; then those below linked folders, as far as they
    /// are others.
    fn folder(&mut self, folder: &Path, metadata: &Metadata) -> Result<bool, ReadError> {
        let mut visited: HashSet<FileId> = self.out.iter().cloned().collect();
        let mut linked = VecDeque::from([(folder.to_owned(), FileId::of(folder, metadata))]);
        let mut any = false;
        while let Some((folder, id)) = linked.pop_front() {
            any |= self.walk(&folder, id, &mut visited, &mut linked)?;
        }
        Ok(any)
    }

    fn walk(
        &mut self,
        folder: &Path,
        id: FileId,
        visited: &mut HashSet<FileId>,
        linked: &mut VecDeque<(PathBuf, FileId)>,
    ) -> Result<bool, ReadError> {
        // Links may lead in circles.
        if !visited.insert(id) {
            return Ok(false);
        }
        let failed = |error| ReadError::opening(folder, &error);
        let mut names = Vec::new();
        for entry in fs::read_dir(folder).map_err(failed)? {
            names.push(entry.map_err(failed)?.file_name());
        }
        // The file system's own order differs from machine to machine.
        names.sort_unstable();
        let mut any = false;
        for name in names {
            if name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = folder.join(name);
            let link = fs::symlink_metadata(&path).is_ok_and(|entry| entry.is_symlink());
            any |= match fs::metadata(&path) {
                Ok(kind) if kind.is_dir() => {
                    let id = FileId::of(&path, &kind);
                    if link {
                        // The folder's own files come first, and under their own names.
                        linked.push_back((path, id));
                        false
                    } else {
                        self.walk(&path, id, visited, linked)?
                    }
                }
                other => self.entry(&path, other)?,
            };
        }
        Ok(any)
    }

    /// What is in a folder and is none.
    fn entry(
        &mut self,
        path: &Path,
        metadata: std::io::Result<Metadata>,
    ) -> Result<bool, ReadError> {
        let why = match metadata {
            Err(error) => match dead_link(path) {
                Some(problem) => problem,
                None => return Err(ReadError::opening(path, &error)),
            },
            Ok(metadata) if !metadata.is_file() => kind::special(metadata.file_type()).to_owned(),
            Ok(metadata) => match kind::of(path, self.field)? {
                Kind::Read(format, packing) => {
                    self.add(path, &metadata, format, packing);
                    return Ok(true);
                }
                Kind::Binary => return Ok(false),
                Kind::Unread(problem) => problem,
            },
        };
        self.found.passed_over.push(PassedOver {
            path: path.to_owned(),
            why,
        });
        Ok(false)
    }

    fn add(&mut self, path: &Path, metadata: &Metadata, format: Format, packing: Packing) {
        let id = FileId::of(path, metadata);
        if self.known.insert(id.clone()) {
            self.found.files.push(InputFile {
                path: path.to_owned(),
                format,
                packing,
                bytes: metadata.len(),
                held_out: false,
                id,
            });
        }
    }
}
