//! Whether two names are those of one file.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

/// The same for two names exactly where they name one file or folder: whatever the spelling,
/// through links of either kind.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum FileId {
    /// The file system's own number.
    #[cfg(unix)]
    Number { device: u64, inode: u64 },
    /// The path without links, where the system has no number.
    Path(PathBuf),
}

impl FileId {
    /// Of what lies at `path`, whose `metadata`, with links followed, are these.
    pub(crate) fn of(path: &Path, metadata: &Metadata) -> Self {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            // Some network file systems give no numbers.
            if metadata.ino() != 0 {
                return Self::Number {
                    device: metadata.dev(),
                    inode: metadata.ino(),
                };
            }
        }
        let _ = metadata;
        Self::Path(path.canonicalize().unwrap_or_else(|_| path.to_owned()))
    }
}
