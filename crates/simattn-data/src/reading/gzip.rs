//! All members of a gzip file one after the other, and the zeros that tapes and tar leave behind
//! them.

use flate2::bufread::GzDecoder;
use std::io::{self, BufRead, ErrorKind, Read};

/// Takes what gzip(1) takes: members, and zeros behind the last one. What else follows gzip(1)
/// ignores with a warning; here it is an error, so that nothing goes in silence.
pub(super) struct Gzip<R> {
    state: State<R>,
}

enum State<R> {
    Member(Box<GzDecoder<R>>),
    Between(R),
    /// After an error, or for a moment between the other two.
    Over,
}

impl<R: BufRead> Gzip<R> {
    pub(super) fn new(packed: R) -> Self {
        Self {
            state: State::Member(Box::new(GzDecoder::new(packed))),
        }
    }
}

impl<R: BufRead> Read for Gzip<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::Member(mut member) => {
                    let count = member.read(buffer)?;
                    if count > 0 {
                        self.state = State::Member(member);
                        return Ok(count);
                    }
                    self.state = State::Between(member.into_inner());
                }
                State::Between(mut packed) => {
                    let next = packed.fill_buf()?;
                    match next.first() {
                        None => return Ok(0),
                        Some(0) => {
                            let zeros = next.iter().take_while(|&&byte| byte == 0).count();
                            packed.consume(zeros);
                            self.state = State::Between(packed);
                        }
                        Some(0x1f) => {
                            self.state = State::Member(Box::new(GzDecoder::new(packed)));
                        }
                        Some(_) => {
                            let problem = "what follows the last member is not gzip's";
                            return Err(io::Error::new(ErrorKind::InvalidData, problem));
                        }
                    }
                }
                State::Over => return Ok(0),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::{BufReader, Write};

    fn member(text: &str) -> Vec<u8> {
        let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        packed.finish().unwrap()
    }

    /// Through a buffer so small that every border falls everywhere.
    fn unpacked(bytes: &[u8], capacity: usize) -> io::Result<String> {
        let mut text = String::new();
        Gzip::new(BufReader::with_capacity(capacity, bytes)).read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    fn zeros_behind_a_member_are_taken_as_gzip_takes_them() {
        let (one, two) = (member("one"), member("two"));
        for capacity in [1, 2, 3, 1000] {
            for (bytes, text) in [
                ([&one[..], &[0; 512]].concat(), "one"),
                ([&one[..], &two, &[0]].concat(), "onetwo"),
                // As tapes leave them between members too.
                ([&one[..], &[0; 9], &two, &[0; 9]].concat(), "onetwo"),
            ] {
                assert_eq!(unpacked(&bytes, capacity).unwrap(), text);
            }
            for bytes in [
                [&one[..], b"rubbish"].concat(),
                [&one[..], &[0, 0, 7]].concat(),
                [&one[..], &two[..two.len() - 3]].concat(),
                [&one[..], &two[..1]].concat(),
                one[..one.len() - 1].to_vec(),
            ] {
                assert!(unpacked(&bytes, capacity).is_err());
            }
        }
    }
}
