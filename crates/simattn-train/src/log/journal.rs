//! A file that only grows, and can be cut back to a length that is known to be good.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::fault;

/// A log that survives: a write that fails is taken back, counted and reported once.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    /// Bytes that are whole entries.
    length: u64,
    /// Entries that could not be written since the last one that could.
    lost: u64,
    fault_point: &'static str,
}

impl Journal {
    /// Opens or makes a file and cuts it back to `length`, or to the last whole entry before that
    /// where it is shorter: `whole` tells how many of the bytes given are whole entries.
    pub(super) fn open(
        path: &Path,
        length: u64,
        whole: fn(&[u8]) -> usize,
        fault_point: &'static str,
    ) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let there = file.metadata()?.len();
        let length = if there < length {
            whole(&fs::read(path)?) as u64
        } else {
            length
        };
        if there != length {
            file.set_len(length)?;
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            length,
            lost: 0,
            fault_point,
        })
    }

    /// Bytes of whole entries.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The file, for a caller that must flush it.
    pub(super) fn file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Appends one entry. What should be said about it comes back: the first failure of a row, and
    /// the end of the row.
    pub(super) fn append(&mut self, entry: &[u8]) -> Option<String> {
        let written = fault::pass(self.fault_point).and_then(|()| (&self.file).write_all(entry));
        match written {
            Ok(()) => {
                self.length += entry.len() as u64;
                let lost = std::mem::take(&mut self.lost);
                (lost > 0).then(|| {
                    let path = self.path.display();
                    format!("{path}: can be written again; {lost} entries are missing in it")
                })
            }
            Err(error) => {
                // Half an entry may stand there. Where it cannot be taken back now, the next resume
                // does it.
                let _ = self.file.set_len(self.length);
                self.lost += 1;
                (self.lost == 1).then(|| {
                    let path = self.path.display();
                    format!("{path}: cannot be written: {error}; training continues without it")
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(bytes: &[u8]) -> usize {
        bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1)
    }

    #[test]
    fn a_file_is_cut_back_and_never_filled_up() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("log");
        let open = |length| Journal::open(&path, length, lines, "nowhere").expect("a small file");
        let mut journal = open(0);
        assert_eq!(journal.append(b"one\n"), None);
        assert_eq!(journal.append(b"two\n"), None);
        assert_eq!(journal.length(), 8);
        drop(journal);
        let mut journal = open(4);
        assert_eq!(journal.append(b"2\n"), None);
        drop(journal);
        assert_eq!(fs::read(&path).expect("the file"), b"one\n2\n");
        fs::write(&path, b"one\nhal").expect("a small file");
        let journal = open(100);
        assert_eq!(journal.length(), 4, "only whole entries stay");
        drop(journal);
        assert_eq!(fs::read(&path).expect("the file"), b"one\n");
    }
}
