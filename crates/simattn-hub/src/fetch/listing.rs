//! What a commit consists of, kept beside its snapshot: a folder alone does not say whether all
//! files that a pattern means are there.

use std::path::{Path, PathBuf};
use std::{fs, io};

use super::wanted::is_extra;
use crate::reference::plain;

fn path(place: &Path, sha: &str) -> PathBuf {
    place.join("simattn-listings").join(sha)
}

/// Keeps the list of a commit's files, whole or not at all.
pub(super) fn keep(place: &Path, sha: &str, names: &[String]) -> io::Result<()> {
    let path = path(place, sha);
    let partial = path.with_extension(format!("{}.partial", std::process::id()));
    fs::create_dir_all(place.join("simattn-listings"))?;
    fs::write(&partial, names.join("\n"))?;
    fs::rename(partial, path)
}

/// The snapshot that a revision means and the wanted names in it, where all of them are there.
/// A snapshot that another tool fetched has no list; what it holds counts as all.
pub(super) fn cached(
    place: &Path,
    revision: &str,
    wanted: impl Fn(&str) -> bool,
) -> Option<(PathBuf, Vec<String>)> {
    let sha = fs::read_to_string(place.join("refs").join(revision))
        .map_or_else(|_| revision.to_owned(), |sha| sha.trim().to_owned());
    let folder = place.join("snapshots").join(&sha);
    if !plain(&sha) || !folder.is_dir() {
        return None;
    }
    let all = match fs::read_to_string(path(place, &sha)) {
        Ok(list) => list.lines().map(str::to_owned).collect(),
        Err(_) => {
            let mut found = Vec::new();
            walk(&folder, "", &mut found).ok()?;
            found
        }
    };
    let mut names: Vec<String> = all.into_iter().filter(|name| wanted(name)).collect();
    names.sort();
    names.dedup();
    // A snapshot of an earlier version, which did not fetch them.
    names.retain(|name| !is_extra(name) || folder.join(name).is_file());
    let safe = |name: &String| name.split('/').all(plain) && folder.join(name).is_file();
    (!names.is_empty() && names.iter().all(safe)).then_some((folder, names))
}

fn walk(folder: &Path, prefix: &str, found: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), &format!("{name}/"), found)?;
        } else {
            found.push(name);
        }
    }
    Ok(())
}
