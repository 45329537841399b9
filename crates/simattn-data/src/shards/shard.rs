//! One file of token ids.

use super::error::ShardError;
use super::foreign::{LLM_C_HEADER, llm_c, megatron};
use super::header::{HEADER_BYTES, Header, MAGIC, Width};
use super::marks::{Mark, mark};
use super::pattern::Pattern;
use super::positioned::read_exact_at;
use crate::error::DataError;
use crate::source::check_range;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Bytes read at once where a whole file is.
const PIECE: usize = 1 << 20;

/// A file of token ids, open for reading.
#[derive(Debug)]
pub struct Shard {
    path: PathBuf,
    file: File,
    /// Bytes before the first id.
    offset: u64,
    width: Width,
    tokens: u64,
    header: Option<Header>,
}

impl Shard {
    /// A shard of ours or of llm.c, by its magic. Its header and its length are checked, its ids
    /// are not: see [`Shard::verify`].
    ///
    /// # Errors
    ///
    /// [`ShardError`] for a file that is missing, something else, damaged in its header, of another
    /// length than it says, or empty.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ShardError> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        let start = start(&file, length, path)?;
        let (offset, width, tokens, header) = if start.starts_with(&MAGIC) {
            let bytes = start
                .first_chunk::<HEADER_BYTES>()
                .ok_or_else(|| ShardError::Length {
                    path: path.to_owned(),
                    found: length,
                    expected: HEADER_BYTES as u64,
                })?;
            let header = Header::from_bytes(bytes, path)?;
            (
                HEADER_BYTES as u64,
                header.width,
                header.tokens,
                Some(header),
            )
        } else if let Some(found) = llm_c(&start, path) {
            let found = found?;
            (LLM_C_HEADER, found.width, found.tokens, None)
        } else {
            let last = last(&file, length, path)?;
            return Err(stranger(path, &start, mark(&start, last, length)));
        };
        let expected = tokens
            .checked_mul(width.bytes() as u64)
            .and_then(|bytes| bytes.checked_add(offset))
            .unwrap_or(u64::MAX);
        if length != expected {
            return Err(ShardError::Length {
                path: path.to_owned(),
                found: length,
                expected,
            });
        }
        if tokens == 0 {
            return Err(ShardError::Empty {
                path: path.to_owned(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            offset,
            width,
            tokens,
            header,
        })
    }

    /// A file of ids of `width` without a header, as nanoGPT writes them; or what [`Shard::open`]
    /// reads, if it is that. What its numbers look like is seen by [`Shard::verify`].
    ///
    /// # Errors
    ///
    /// As [`Shard::open`]; [`ShardError::Magic`] for a file with the mark of another format,
    /// [`ShardError::Layout`] for one of another width by the index beside it,
    /// [`ShardError::Uneven`] for one that ends within an id.
    pub fn open_bare(path: impl AsRef<Path>, width: Width) -> Result<Self, ShardError> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        let start = start(&file, length, path)?;
        if start.starts_with(&MAGIC) || llm_c(&start, path).is_some() {
            return Self::open(path);
        }
        let found = mark(&start, last(&file, length, path)?, length);
        if found.is_some() {
            return Err(stranger(path, &start, found));
        }
        let bits = 8 * width.bytes();
        if let Some((said, seems)) = megatron(path)
            && said as usize != bits
        {
            return Err(ShardError::Layout {
                path: path.to_owned(),
                bits,
                why: "the tokenizer's vocabulary asks for".to_owned(),
                seems,
            });
        }
        if !length.is_multiple_of(width.bytes() as u64) {
            return Err(ShardError::Uneven {
                path: path.to_owned(),
                bytes: length,
                bits,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            offset: 0,
            width,
            tokens: length / width.bytes() as u64,
            header: None,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many ids it holds.
    pub fn tokens(&self) -> u64 {
        self.tokens
    }

    /// How they are stored.
    pub fn width(&self) -> Width {
        self.width
    }

    /// What it says of itself; `None` for other tools' files.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref()
    }

    /// Fills `ids` with those from `start` on.
    ///
    /// # Errors
    ///
    /// [`DataError::RangeOutside`], or what the system says when the file cannot be read any more.
    pub fn read(&self, start: u64, ids: &mut [u32]) -> Result<(), DataError> {
        check_range(self.tokens, start, ids.len())?;
        let width = self.width.bytes();
        let mut bytes = vec![0; ids.len() * width];
        read_exact_at(&self.file, &mut bytes, self.offset + start * width as u64)
            .map_err(|error| ShardError::system(&self.path, &error))?;
        self.width.decode(&bytes, ids);
        Ok(())
    }

    /// Reads the whole file: that its ids match their checksum, where it has one, and are below
    /// `vocabulary`; where it has none, that they do not look like numbers of another layout. Gives
    /// the SHA-256 of the ids as stored.
    ///
    /// # Errors
    ///
    /// [`ShardError::Checksum`], [`ShardError::Layout`], [`ShardError::BeyondVocabulary`],
    /// [`ShardError::Header`] where there are fewer documents than it says, or what the system
    /// says.
    pub fn verify(&self, vocabulary: usize) -> Result<[u8; 32], ShardError> {
        let mut hasher = Sha256::new();
        let width = self.width.bytes();
        let mut bytes = vec![0; PIECE];
        let mut ids = vec![0; PIECE / width];
        let mut pattern = self.header.is_none().then(|| Pattern::new(self.width));
        let end_of_text = self.header.as_ref().map(|header| header.end_of_text);
        let (mut beyond, mut first_beyond, mut ends) = (0, None, 0);
        let mut at = 0;
        while at < self.tokens {
            let count = (self.tokens - at).min(ids.len() as u64) as usize;
            let (bytes, ids) = (&mut bytes[..count * width], &mut ids[..count]);
            read_exact_at(&self.file, bytes, self.offset + at * width as u64)
                .map_err(|error| ShardError::system(&self.path, &error))?;
            hasher.update(&*bytes);
            self.width.decode(bytes, ids);
            let outside = |id: &u32| *id as usize >= vocabulary;
            beyond += ids.iter().filter(|id| outside(id)).count() as u64;
            if beyond > 0 && first_beyond.is_none() {
                let place = ids.iter().position(outside);
                first_beyond = place.map(|place| (at + place as u64, ids[place]));
            }
            if let Some(pattern) = &mut pattern {
                pattern.note(ids);
            }
            ends += ids.iter().filter(|id| Some(**id) == end_of_text).count() as u64;
            at += count as u64;
        }
        let sha256: [u8; 32] = hasher.finalize().into();
        if let Some(header) = &self.header {
            // A damaged file may hold any id: the checksum names the cause.
            if header.sha256 != sha256 {
                return Err(ShardError::Checksum {
                    path: self.path.clone(),
                });
            }
            // A text may spell the end of text, so that there are more of them than documents.
            if ends < header.documents {
                return Err(ShardError::Header {
                    path: self.path.clone(),
                    problem: format!("{} documents, but {ends} ends of text", header.documents),
                });
            }
        }
        if let Some(seems) = pattern.and_then(|pattern| pattern.stranger(vocabulary, beyond)) {
            return Err(ShardError::Layout {
                path: self.path.clone(),
                bits: 8 * width,
                why: match self.offset {
                    0 => format!("a vocabulary of {vocabulary} asks for"),
                    _ => "its header promises".to_owned(),
                },
                seems,
            });
        }
        match first_beyond {
            Some((at, id)) => Err(ShardError::BeyondVocabulary {
                path: self.path.clone(),
                at,
                id,
                vocabulary,
            }),
            None => Ok(sha256),
        }
    }
}

/// The file and its length; an empty one is refused.
fn open(path: &Path) -> Result<(File, u64), ShardError> {
    let refused = |error: std::io::Error| ShardError::system(path, &error);
    let file = File::open(path).map_err(refused)?;
    let length = file.metadata().map_err(refused)?.len();
    if length == 0 {
        return Err(ShardError::Empty {
            path: path.to_owned(),
        });
    }
    Ok((file, length))
}

/// The bytes in which a file says what it is, or all of it.
fn start(file: &File, length: u64, path: &Path) -> Result<Vec<u8>, ShardError> {
    let mut start = vec![0; length.min(LLM_C_HEADER) as usize];
    read_exact_at(file, &mut start, 0).map_err(|error| ShardError::system(path, &error))?;
    Ok(start)
}

/// The last byte of a file that is not empty.
fn last(file: &File, length: u64, path: &Path) -> Result<u8, ShardError> {
    let mut last = [0];
    read_exact_at(file, &mut last, length - 1).map_err(|error| ShardError::system(path, &error))?;
    Ok(last[0])
}

/// A file that is no shard: what it looks like, and what to do.
fn stranger(path: &Path, start: &[u8], mark: Option<Mark>) -> ShardError {
    let bytes = || {
        let bytes: Vec<String> = start.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("the bytes {}", bytes.join(" "))
    };
    let (found, hint) = match mark {
        Some(Mark { found, hint }) => (found.to_owned(), hint),
        None if start.starts_with(b"{") => {
            ("JSON".to_owned(), "give it to `simattn prepare` instead")
        }
        None => (
            bytes(),
            "if it is nanoGPT's bare form, give the folder with its train.bin and val.bin",
        ),
    };
    ShardError::Magic {
        path: path.to_owned(),
        found,
        hint,
    }
}
