//! All frames of a Zstandard file one after the other, each held against its checksum where it has
//! one.

use ruzstd::decoding::errors::{FrameDecoderError, FrameHeaderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::io::{self, BufRead, ErrorKind, Read};

/// The largest window that is read: `zstd --long=31`, the most that the format's own program
/// writes.
const LARGEST_WINDOW: u64 = 1 << 31;

pub(super) struct Zstandard<R> {
    packed: R,
    frame: FrameDecoder,
    /// Whether a frame has begun that is not yet given out.
    open: bool,
    /// Whether anything at all has been found.
    begun: bool,
}

impl<R: BufRead> Zstandard<R> {
    pub(super) fn new(packed: R) -> Self {
        Self {
            packed,
            frame: FrameDecoder::new(),
            open: false,
            begun: false,
        }
    }

    /// Begins the next frame; false at the end of the file.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.packed.fill_buf()?.is_empty() {
                // Not even the packed file of an empty text is empty.
                return if self.begun {
                    Ok(false)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
            self.begun = true;
            // A decoder that has been used claims the whole window at once; a new one as much as
            // the frame fills.
            self.frame = FrameDecoder::new();
            let mut header = Recorded {
                from: &mut self.packed,
                bytes: Vec::new(),
            };
            let begun = match self.frame.reset(&mut header) {
                Err(FrameDecoderError::WindowSizeTooBig { requested, .. })
                    if requested <= LARGEST_WINDOW =>
                {
                    there_is_room(requested)?;
                    self.frame.set_max_window_size(LARGEST_WINDOW);
                    self.frame.reset(&header.bytes[..])
                }
                other => other,
            };
            match begun {
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
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(error) => return Err(refused(error)),
            }
        }
    }
}

/// Keeps what is read.
struct Recorded<'a, R> {
    from: &'a mut R,
    bytes: Vec<u8>,
}

impl<R: Read> Read for Recorded<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        self.bytes.extend_from_slice(&buffer[..count]);
        Ok(count)
    }
}

/// The decoder ends the program where memory for a window is refused.
fn there_is_room(window: u64) -> io::Result<()> {
    let bytes = usize::try_from(window).unwrap_or(usize::MAX);
    let mut room = Vec::<u8>::new();
    let reserved = room.try_reserve_exact(bytes);
    // Room that nobody uses would not be asked for at all.
    std::hint::black_box(&mut room);
    reserved.map_err(|_| {
        healthy(format!(
            "its window of {} MiB does not fit into memory; compress it again with a smaller one",
            window >> 20
        ))
    })
}

/// What is wrong, told apart from damage: [`ErrorKind::Unsupported`] is a healthy file that cannot
/// be read.
fn refused(error: FrameDecoderError) -> io::Error {
    match error {
        FrameDecoderError::WindowSizeTooBig { requested: got, .. }
        | FrameDecoderError::FrameHeaderError(FrameHeaderError::WindowTooBig { got }) => {
            healthy(format!(
                "its window of {} MiB is beyond the {} MiB that are read; compress it again with \
                 --long=31 or less",
                got >> 20,
                LARGEST_WINDOW >> 20
            ))
        }
        FrameDecoderError::DictNotProvided { dict_id } => healthy(format!(
            "compressed with the dictionary {dict_id}, which it lacks; compress it again without"
        )),
        error => io::Error::new(ErrorKind::InvalidData, error.to_string()),
    }
}

fn healthy(problem: String) -> io::Error {
    io::Error::new(ErrorKind::Unsupported, problem)
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
                    .map_err(refused)?;
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
                    return Err(io::Error::new(ErrorKind::InvalidData, problem));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame of one stored block, whose header asks for a window of 2 to the `log`.
    fn frame(log: u8, text: &str) -> Vec<u8> {
        let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3];
        let block = (text.len() as u32) << 3 | 1;
        bytes.extend_from_slice(&block.to_le_bytes()[..3]);
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }

    fn unpacked(bytes: &[u8]) -> io::Result<String> {
        let mut text = String::new();
        Zstandard::new(bytes).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn windows_beyond_128_mib_are_read() {
        let bytes = [frame(31, "one "), frame(20, "two "), frame(28, "three")].concat();
        assert_eq!(unpacked(&bytes).unwrap(), "one two three");
    }

    #[test]
    fn what_is_healthy_but_not_read_is_told_apart_from_damage() {
        let error = unpacked(&frame(32, "text")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("window of 4096 MiB"), "{error}");
        let error = unpacked(&frame(41, "text")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        // A dictionary's number of one byte.
        let mut bytes = frame(20, "text");
        bytes[4] = 1;
        bytes.insert(6, 9);
        let error = unpacked(&bytes).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains("dictionary 9"), "{error}");
        let whole = frame(31, "text");
        let error = unpacked(&whole[..whole.len() - 1]).unwrap_err();
        assert_ne!(error.kind(), ErrorKind::Unsupported);
    }
}
