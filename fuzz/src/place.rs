//! A folder of this process, for readers that take paths.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A folder, empty at the beginning of each input.
#[derive(Debug)]
pub struct Place(PathBuf);

impl Place {
    /// The folder of this process, emptied. In memory where the system has such a file system.
    ///
    /// # Panics
    /// Where it cannot be made.
    pub fn fresh() -> Self {
        static FOLDER: OnceLock<PathBuf> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| {
            let memory = Path::new("/dev/shm");
            let above = if memory.is_dir() {
                memory.to_owned()
            } else {
                std::env::temp_dir()
            };
            above.join(format!("simattn-fuzz-{}", std::process::id()))
        });
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => panic!("{error}"),
            _ => fs::create_dir_all(folder).expect("a folder of the process"),
        }
        Self(folder.clone())
    }

    /// The folder, or a path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        match name {
            "" => self.0.clone(),
            _ => self.0.join(name),
        }
    }

    /// Writes a file, with the folders above it.
    ///
    /// # Panics
    /// Where it cannot be written.
    pub fn write(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.path(name);
        if let Some(above) = path.parent() {
            fs::create_dir_all(above).expect("a folder of the process");
        }
        fs::write(&path, contents).expect("a small file");
        path
    }
}
