//! A file's bytes, unpacked, with a count of those taken from the disk.

use super::format::Packing;
use super::gzip::Gzip;
use super::zstandard::Zstandard;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER: usize = 1 << 18;

/// Opens a file, `skip` unpacked bytes in; `taken` is increased by what is read from the disk.
///
/// [`ErrorKind::Unsupported`] is a file that is packed otherwise than its name says.
pub(super) fn open(
    path: &Path,
    packing: Packing,
    skip: u64,
    taken: Arc<AtomicU64>,
) -> io::Result<Box<dyn BufRead>> {
    let mut file = File::open(path)?;
    let plain = packing == Packing::None;
    if plain && skip > 0 {
        file.seek(SeekFrom::Start(skip))?;
        taken.fetch_add(skip, Ordering::Relaxed);
    }
    let mut counted = BufReader::with_capacity(BUFFER, Counted { file, taken });
    if !(plain && skip > 0) {
        check_packing(packing, counted.fill_buf()?)?;
    }
    let mut unpacked: Box<dyn BufRead> = match packing {
        Packing::None => Box::new(counted),
        Packing::Gzip => Box::new(BufReader::with_capacity(BUFFER, Gzip::new(counted))),
        Packing::Zstandard => Box::new(BufReader::with_capacity(BUFFER, Zstandard::new(counted))),
    };
    if !plain {
        let passed = io::copy(&mut unpacked.by_ref().take(skip), &mut io::sink())?;
        if passed < skip {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(unpacked)
}

/// Holds a file's first bytes against what its name says. Where they are too few to tell, the
/// reader will.
fn check_packing(named: Packing, start: &[u8]) -> io::Result<()> {
    let found = match start {
        [0x1f, 0x8b, 8, ..] => Packing::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Packing::Zstandard,
        _ => Packing::None,
    };
    if found == named || start.len() < 4 {
        return Ok(());
    }
    let problem = match (found, named) {
        (Packing::Gzip, _) => "packed by gzip, which its name does not say; name it .gz",
        (Packing::Zstandard, _) => "packed by zstd, which its name does not say; name it .zst",
        (Packing::None, Packing::Gzip) => "not packed by gzip; take .gz from its name",
        (Packing::None, _) => "not packed by zstd; take .zst from its name",
    };
    Err(io::Error::new(ErrorKind::Unsupported, problem))
}

struct Counted {
    file: File,
    taken: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}
