//! A file's bytes, unpacked, with a count of those taken from the disk.

use super::inputs::{InputFile, Packing};
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const BUFFER: usize = 1 << 18;

/// Opens a file, `skip` unpacked bytes in; `taken` is increased by what is read from the disk.
pub(super) fn open(
    input: &InputFile,
    skip: u64,
    taken: Arc<AtomicU64>,
) -> io::Result<Box<dyn BufRead>> {
    let mut file = File::open(&input.path)?;
    let plain = input.packing == Packing::None;
    if plain && skip > 0 {
        file.seek(SeekFrom::Start(skip))?;
        taken.fetch_add(skip, Ordering::Relaxed);
    }
    let counted = BufReader::with_capacity(BUFFER, Counted { file, taken });
    let mut unpacked: Box<dyn BufRead> = match input.packing {
        Packing::None => Box::new(counted),
        Packing::Gzip => Box::new(BufReader::with_capacity(
            BUFFER,
            MultiGzDecoder::new(counted),
        )),
        Packing::Zstandard => Box::new(BufReader::with_capacity(BUFFER, Zstandard::new(counted))),
    };
    if !plain {
        let passed = io::copy(&mut unpacked.by_ref().take(skip), &mut io::sink())?;
        if passed < skip {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(unpacked)
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

/// All frames of a Zstandard file one after the other, each held against its checksum where it has one.
struct Zstandard<R> {
    packed: R,
    frame: FrameDecoder,
    /// Whether a frame has begun that is not yet given out.
    open: bool,
}

impl<R: BufRead> Zstandard<R> {
    fn new(packed: R) -> Self {
        Self {
            packed,
            frame: FrameDecoder::new(),
            open: false,
        }
    }

    /// Begins the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.frame.reset(&mut self.packed) {
                Ok(()) => {
                    self.open = true;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    let passed = io::copy(&mut (&mut self.packed).take(length), &mut io::sink())?;
                    if passed < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(damaged(error)),
            }
        }
    }
}

fn damaged(error: FrameDecoderError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

impl<R: BufRead> Read for Zstandard<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if !self.open && !self.next_frame()? {
                return Ok(0);
            }
            while self.frame.can_collect() == 0 && !self.frame.is_finished() {
                self.frame
                    .decode_blocks(&mut self.packed, BlockDecodingStrategy::UptoBlocks(1))
                    .map_err(damaged)?;
            }
            let count = self.frame.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            if self.frame.is_finished() {
                self.open = false;
                let stored = self.frame.get_checksum_from_data();
                if stored.is_some() && stored != self.frame.get_calculated_checksum() {
                    let problem = "the contents do not match their checksum";
                    return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
                }
            }
        }
    }
}
