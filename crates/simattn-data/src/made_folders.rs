//! Folders that are made for a result, and removed where it does not come.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Folders that were missing and were made, outermost first.
#[derive(Debug, Default)]
pub struct MadeFolders(Vec<PathBuf>);

/// A folder that cannot be made.
#[derive(Debug)]
pub struct NotMade {
    /// Which one.
    pub folder: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

impl MadeFolders {
    /// Makes a folder and those above it that are missing, all or none.
    ///
    /// # Errors
    ///
    /// The first folder that cannot be made.
    pub fn make(path: &Path) -> Result<Self, NotMade> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
            .collect();
        let mut made = Self::default();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Ok(()) => made.0.push(folder.to_owned()),
                // As "a/../b" names one folder twice.
                Err(_) if folder.is_dir() => {}
                Err(source) => {
                    made.remove();
                    return Err(NotMade {
                        folder: folder.to_owned(),
                        source,
                    });
                }
            }
        }
        Ok(made)
    }

    /// Removes them, as far as nothing is in them. What cannot be removed could not be reported to
    /// anyone.
    pub fn remove(&self) {
        for folder in self.0.iter().rev() {
            let _ = fs::remove_dir(folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_folders_are_made_or_none_and_what_is_used_stays() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let here = root.path();
        let made = MadeFolders::make(&here.join("a/../b/c")).expect("folders");
        assert!(here.join("a").is_dir() && here.join("b/c").is_dir());
        fs::write(here.join("b/file"), "mine").expect("a small file");
        made.remove();
        assert!(!here.join("a").exists() && !here.join("b/c").exists());
        assert!(here.join("b/file").is_file());

        let too_long = "x".repeat(5000);
        let error = MadeFolders::make(&here.join("new").join(&too_long)).expect_err("a long name");
        assert!(error.folder.ends_with(too_long));
        assert!(!here.join("new").exists());
    }
}
