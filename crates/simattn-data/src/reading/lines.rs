//! Lines of a stream, counted, none of them longer in memory than asked for.

use std::io::{self, BufRead};

/// A stream read by lines.
pub(super) struct Lines {
    stream: Box<dyn BufRead>,
    /// Bytes that have been read.
    pub(super) offset: u64,
    /// Lines that have been read to their end; the one being read is the next.
    pub(super) line: u64,
}

impl Lines {
    pub(super) fn new(stream: Box<dyn BufRead>, offset: u64, line: u64) -> Self {
        Self {
            stream,
            offset,
            line,
        }
    }

    /// Appends to `buffer` up to and with the next line end, but stops at `most` bytes in it. Gives
    /// whether the line is whole, and `None` at the end of the stream. A last line without a line
    /// end is whole.
    pub(super) fn read(&mut self, buffer: &mut Vec<u8>, most: usize) -> io::Result<Option<bool>> {
        let before = buffer.len();
        loop {
            let available = match self.stream.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                if buffer.len() == before {
                    return Ok(None);
                }
                self.line += 1;
                return Ok(Some(true));
            }
            let room = most.saturating_sub(buffer.len()).min(available.len());
            let end = available[..room].iter().position(|&byte| byte == b'\n');
            let count = end.map_or(room, |end| end + 1);
            buffer.extend_from_slice(&available[..count]);
            self.stream.consume(count);
            self.offset += count as u64;
            if end.is_some() {
                self.line += 1;
                return Ok(Some(true));
            }
            if buffer.len() >= most {
                return Ok(Some(false));
            }
        }
    }
}
