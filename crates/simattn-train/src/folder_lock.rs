//! A folder that one process works in at a time.

use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use crate::folder_error::{FolderError, failed};

/// The lock of a folder, held until this is dropped or the process ends, however it ends.
#[derive(Debug)]
pub struct FolderLock {
    name: &'static str,
    file: File,
}

impl FolderLock {
    /// Takes the lock, which is the file `name` in `folder`.
    ///
    /// # Errors
    ///
    /// [`FolderError::InUse`] where another process has it, [`FolderError::Io`] where the system
    /// refuses.
    pub fn take(folder: &Path, name: &'static str) -> Result<Self, FolderError> {
        /// A process that only looks at a folder holds its lock for a moment; that is waited out.
        const TRIES: u32 = 20;
        let place = folder.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&place)
            .map_err(failed(&place, "open"))?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(source)) => return Err(failed(&place, "lock")(source)),
                Err(TryLockError::WouldBlock) if attempt < TRIES => {
                    std::thread::sleep(Duration::from_millis(10));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = fs::read_to_string(&place).unwrap_or_default();
                    let holder = match holder.trim().parse::<u32>() {
                        Ok(process) => format!(" (process {process})"),
                        Err(_) => String::new(),
                    };
                    return Err(FolderError::InUse {
                        path: folder.to_owned(),
                        holder,
                    });
                }
            }
        }
        // Only informs a process that is refused; the lock holds without it.
        let _ = file
            .set_len(0)
            .and_then(|()| write!(&file, "{}", std::process::id()));
        Ok(Self { name, file })
    }

    /// Whether the file that is locked is still the one in `folder`.
    pub(crate) fn is_in(&self, folder: &Path) -> bool {
        match (fs::metadata(folder.join(self.name)), self.file.metadata()) {
            (Ok(there), Ok(ours)) => same_file(&there, &ours),
            _ => false,
        }
    }
}

/// Whether two descriptions are of one file.
#[cfg(unix)]
fn same_file(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// Elsewhere a file that is in use cannot be replaced.
#[cfg(not(unix))]
fn same_file(_: &Metadata, _: &Metadata) -> bool {
    true
}
