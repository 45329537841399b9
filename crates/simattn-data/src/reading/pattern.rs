//! Patterns such as `books/*.txt`, as a shell expands them.
//!
//! The `glob` crate says whether a name matches; its own walk ends the program at a name that is
//! not UTF-8, and leaves out what has such a name. The order is the same: by name, a folder
//! before what is in it.

use super::ReadError;
use super::file_id::FileId;
use glob::{MatchOptions, Pattern};
use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

const AS_A_SHELL: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// A part of a pattern, between two separators.
enum Part {
    /// A literal name.
    Name(OsString),
    /// Any number of folders, none too.
    Folders,
    /// A name with wildcards.
    Wild(Pattern),
}

/// Whether a path that names nothing may be meant as a pattern.
pub(super) fn is_pattern(path: &Path) -> bool {
    is_wild(&path.to_string_lossy())
}

fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// What matches, files and folders. A link that leads nowhere matches by its own name.
pub(super) fn matching(pattern: &Path) -> Result<Vec<PathBuf>, ReadError> {
    let mut parts = Vec::new();
    let mut base = PathBuf::new();
    for component in pattern.components() {
        match component {
            Component::Prefix(_) | Component::RootDir => base.push(component),
            Component::CurDir => {}
            Component::ParentDir => parts.push(Part::Name("..".into())),
            Component::Normal(name) => {
                let text = name.to_string_lossy();
                parts.push(match &*text {
                    "**" if matches!(parts.last(), Some(Part::Folders)) => continue,
                    "**" => Part::Folders,
                    text if is_wild(text) => {
                        let wild = Pattern::new(text);
                        Part::Wild(
                            wild.map_err(|error| ReadError::input(pattern, error.to_string()))?,
                        )
                    }
                    _ => Part::Name(name.to_owned()),
                });
            }
        }
    }
    let mut walk = Walk {
        found: Vec::new(),
        visited: HashSet::new(),
    };
    walk.below(&base, &parts)?;
    // A separator at the end asks for folders.
    if pattern.as_os_str().as_encoded_bytes().ends_with(b"/") {
        walk.found.retain(|path| path.is_dir());
    }
    Ok(walk.found)
}

struct Walk {
    found: Vec<PathBuf>,
    /// Folders that `**` has been through: links may lead in circles.
    visited: HashSet<(FileId, usize)>,
}

impl Walk {
    /// What in `folder` matches the parts.
    fn below(&mut self, folder: &Path, parts: &[Part]) -> Result<(), ReadError> {
        let Some((part, rest)) = parts.split_first() else {
            self.found.push(folder.to_owned());
            return Ok(());
        };
        match part {
            Part::Name(name) => {
                let path = folder.join(name);
                // Also a link that leads nowhere is there.
                if fs::symlink_metadata(&path).is_ok() {
                    self.below(&path, rest)
                } else {
                    Ok(())
                }
            }
            Part::Wild(wild) => {
                for name in names(folder)? {
                    if matches(wild, &name) {
                        self.below(&folder.join(name), rest)?;
                    }
                }
                Ok(())
            }
            Part::Folders => {
                if !is_folder(folder) {
                    return Ok(());
                }
                let metadata = fs::metadata(here(folder));
                let id = metadata.map(|metadata| FileId::of(here(folder), &metadata));
                if id.is_ok_and(|id| !self.visited.insert((id, rest.len()))) {
                    return Ok(());
                }
                self.through(folder, parts, rest)
            }
        }
    }

    /// `**`: a folder's entries against the rest, and every folder in it in the same way, all by
    /// name. At the end of a pattern it is every entry, a folder with all that is below.
    fn through(&mut self, folder: &Path, parts: &[Part], rest: &[Part]) -> Result<(), ReadError> {
        for name in names(folder)? {
            if is_hidden(&name) {
                continue;
            }
            let path = folder.join(&name);
            let Some((next, after)) = rest.split_first() else {
                self.found.push(path);
                continue;
            };
            let fits = match next {
                Part::Name(wanted) => *wanted == name,
                Part::Wild(wild) => matches(wild, &name),
                Part::Folders => false,
            };
            if fits {
                self.below(&path, after)?;
            }
            if is_folder(&path) {
                self.below(&path, parts)?;
            }
        }
        Ok(())
    }
}

fn matches(wild: &Pattern, name: &OsString) -> bool {
    // Each byte that is no character counts as one.
    wild.matches_with(&name.to_string_lossy(), AS_A_SHELL)
}

fn is_hidden(name: &OsString) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

fn is_folder(path: &Path) -> bool {
    here(path).is_dir()
}

/// The folder that an empty path means.
fn here(path: &Path) -> &Path {
    if path == Path::new("") {
        Path::new(".")
    } else {
        path
    }
}

/// The names in a folder, sorted; none in what is no folder.
fn names(folder: &Path) -> Result<Vec<OsString>, ReadError> {
    let folder = here(folder);
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |error| ReadError::opening(folder, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name());
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for name in [
            "a/b/x.txt",
            "a/x.txt",
            "a/y.md",
            "a/.h.txt",
            "z.txt",
            "c[1]/x.txt",
        ] {
            let path = place.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        place
    }

    fn found(place: &Path, pattern: &str) -> Vec<String> {
        let found = matching(&place.join(pattern)).unwrap();
        let relative = found.iter().map(|path| path.strip_prefix(place).unwrap());
        relative.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn patterns_match_as_in_a_shell() {
        let place = tree();
        for (pattern, expected) in [
            ("*.txt", &["z.txt"][..]),
            ("*/x.txt", &["a/x.txt", "c[1]/x.txt"]),
            ("a/*", &["a/b", "a/x.txt", "a/y.md"]),
            ("a/*/", &["a/b"]),
            ("a/.*", &["a/.h.txt"]),
            ("**/x.txt", &["a/b/x.txt", "a/x.txt", "c[1]/x.txt"]),
            ("**/*.txt", &["a/b/x.txt", "a/x.txt", "c[1]/x.txt", "z.txt"]),
            ("a/**", &["a/b", "a/x.txt", "a/y.md"]),
            ("c[[]1]/*.txt", &["c[1]/x.txt"]),
            ("a/../*.t?t", &["a/../z.txt"]),
            ("none/*", &[]),
        ] {
            assert_eq!(found(place.path(), pattern), expected, "{pattern}");
        }
        assert!(matching(Path::new("a[")).is_err());
        assert!(matching(Path::new("a**b")).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_not_utf_8_match_and_circles_end() {
        use std::os::unix::ffi::OsStrExt;
        let place = tree();
        let name = std::ffi::OsStr::from_bytes(b"a/n\xff.txt");
        fs::write(place.path().join(name), "text").unwrap();
        std::os::unix::fs::symlink(".", place.path().join("a/back")).unwrap();
        let path = place.path();
        assert_eq!(found(path, "a/*.txt"), ["a/n\u{fffd}.txt", "a/x.txt"]);
        assert_eq!(found(path, "a/n?.txt").len(), 1);
        assert_eq!(found(path, "**/n*.txt"), ["a/n\u{fffd}.txt"]);
    }
}
