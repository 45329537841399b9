//! SHA-256 sums of a checkpoint's files, in the form that `sha256sum -c` reads.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::{CheckpointError, failed};
use super::{SUMMED, SUMS, TEXT};
use crate::fingerprint::hexadecimal;

/// Bytes read at a time.
const PIECE: usize = 1 << 18;

/// The sum of a file in hexadecimal.
fn of_file(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hexadecimal(hasher)),
            Ok(count) => hasher.update(&piece[..count]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether two files hold the same bytes.
pub(crate) fn same_bytes(a: &Path, b: &Path) -> io::Result<bool> {
    Ok(of_file(a)? == of_file(b)?)
}

/// The contents of `SHA256SUMS` for the files that lie in `folder`.
pub(super) fn compose(folder: &Path) -> Result<String, CheckpointError> {
    let mut text = String::new();
    let text_settings = folder.join(TEXT).exists().then_some(TEXT);
    for name in SUMMED.into_iter().chain(text_settings) {
        let path = folder.join(name);
        let sum = of_file(&path).map_err(failed(&path, "read"))?;
        text.push_str(&format!("{sum}  {name}\n"));
    }
    Ok(text)
}

/// Compares the files named with their sums, and the form of `SHA256SUMS` with what
/// [`compose`] writes.
///
/// # Errors
///
/// [`CheckpointError`] with the first file that is not what was written.
pub(super) fn verify(folder: &Path, names: &[&'static str]) -> Result<(), CheckpointError> {
    for file in SUMMED.into_iter().chain([SUMS]) {
        if !folder.join(file).is_file() {
            return Err(CheckpointError::Missing {
                path: folder.to_owned(),
                file,
            });
        }
    }
    let damaged = |file: &'static str, why: &str| CheckpointError::Damaged {
        path: folder.to_owned(),
        file,
        why: why.to_owned(),
    };
    let path = folder.join(SUMS);
    let bytes = fs::read(&path).map_err(failed(&path, "read"))?;
    let text = String::from_utf8(bytes).map_err(|_| damaged(SUMS, "is not text"))?;
    let mut rest = text.as_str();
    for name in SUMMED {
        let (sum, after) = rest
            .split_once(&format!("  {name}\n"))
            .ok_or_else(|| damaged(SUMS, "does not name the files of a checkpoint"))?;
        rest = after;
        if names.contains(&name) {
            let file = folder.join(name);
            if of_file(&file).map_err(failed(&file, "read"))? != sum {
                return Err(damaged(name, "does not match its SHA-256"));
            }
        }
    }
    // A file that belongs to the model only as far as it was written with it.
    let text_settings = folder.join(TEXT);
    if let Some((sum, after)) = rest.split_once(&format!("  {TEXT}\n")) {
        rest = after;
        if !text_settings.is_file() {
            return Err(CheckpointError::Missing {
                path: folder.to_owned(),
                file: TEXT,
            });
        }
        if of_file(&text_settings).map_err(failed(&text_settings, "read"))? != sum {
            return Err(damaged(TEXT, "does not match its SHA-256"));
        }
    } else if text_settings.exists() {
        return Err(damaged(TEXT, "was not written with the checkpoint"));
    }
    if !rest.is_empty() {
        return Err(damaged(SUMS, "has more lines than a checkpoint has files"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_standard() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("abc");
        // FIPS 180-4's examples.
        for (contents, sum) in [
            (
                "abc",
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                "",
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            ),
        ] {
            fs::write(&path, contents).expect("a small file");
            assert_eq!(of_file(&path).expect("a file"), sum);
        }
    }

    #[test]
    fn every_flipped_bit_of_the_sums_is_noticed() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in SUMMED {
            fs::write(folder.path().join(name), name).expect("a small file");
        }
        let text = compose(folder.path()).expect("small files");
        let path = folder.path().join(SUMS);
        fs::write(&path, &text).expect("a small file");
        verify(folder.path(), &SUMMED).expect("what was written");
        for at in 0..8 * text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at / 8] ^= 1 << (at % 8);
            fs::write(&path, bytes).expect("a small file");
            assert!(verify(folder.path(), &SUMMED).is_err(), "bit {at}");
        }
        for length in 0..text.len() {
            fs::write(&path, &text[..length]).expect("a small file");
            assert!(verify(folder.path(), &SUMMED).is_err(), "length {length}");
        }
    }
}
