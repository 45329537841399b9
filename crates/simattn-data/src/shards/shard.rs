//! One file of token ids.

use super::error::ShardError;
use super::foreign::{LLM_C_HEADER, llm_c};
use super::header::{HEADER_BYTES, Header, MAGIC, Width};
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
    /// A shard of ours or of llm.c, by its magic. Its header and its length are checked, its ids are not:
    /// see [`Shard::verify`].
    ///
    /// # Errors
    ///
    /// [`ShardError`] for a file that is missing, something else, damaged in its header, of another length than it says, or empty.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ShardError> {
        let path = path.as_ref();
        let (file, length) = open(path)?;
        let mut start = vec![0; length.min(LLM_C_HEADER) as usize];
        read_exact_at(&file, &mut start, 0).map_err(|error| ShardError::system(path, &error))?;
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
            return Err(stranger(path, &start));
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

    /// A file of 16-bit ids without a header, as nanoGPT writes them; or what [`Shard::open`] reads, if it is that.
    ///
    /// # Errors
    ///
    /// As [`Shard::open`]; an odd number of bytes is a [`ShardError::Length`].
    pub fn open_bare(path: impl AsRef<Path>) -> Result<Self, ShardError> {
        let path = path.as_ref();
        match Self::open(path) {
            Err(ShardError::Magic { .. }) => {}
            other => return other,
        }
        let (file, length) = open(path)?;
        if !length.is_multiple_of(2) {
            return Err(ShardError::Length {
                path: path.to_owned(),
                found: length,
                expected: length + 1,
            });
        }
        Ok(Self {
            path: path.to_owned(),
            file,
            offset: 0,
            width: Width::U16,
            tokens: length / 2,
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

    /// Reads the whole file: that its ids match their checksum, where it has one, and are below `vocabulary`.
    /// Gives the SHA-256 of the ids as stored.
    ///
    /// # Errors
    ///
    /// [`ShardError::Checksum`], [`ShardError::BeyondVocabulary`], or what the system says.
    pub fn verify(&self, vocabulary: usize) -> Result<[u8; 32], ShardError> {
        let mut hasher = Sha256::new();
        let width = self.width.bytes();
        let mut bytes = vec![0; PIECE];
        let mut ids = vec![0; PIECE / width];
        let mut beyond = None;
        let mut at = 0;
        while at < self.tokens {
            let count = (self.tokens - at).min(ids.len() as u64) as usize;
            let (bytes, ids) = (&mut bytes[..count * width], &mut ids[..count]);
            read_exact_at(&self.file, bytes, self.offset + at * width as u64)
                .map_err(|error| ShardError::system(&self.path, &error))?;
            hasher.update(&*bytes);
            self.width.decode(bytes, ids);
            let largest = ids.iter().copied().max().unwrap_or(0);
            if beyond.is_none() && largest as usize >= vocabulary {
                let place = ids.iter().position(|&id| id as usize >= vocabulary);
                beyond = place.map(|place| (at + place as u64, ids[place]));
            }
            at += count as u64;
        }
        let sha256: [u8; 32] = hasher.finalize().into();
        // A damaged file may hold any id: the checksum names the cause.
        if self
            .header
            .as_ref()
            .is_some_and(|header| header.sha256 != sha256)
        {
            return Err(ShardError::Checksum {
                path: self.path.clone(),
            });
        }
        match beyond {
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

/// A file that is no shard: what it looks like, and what to do.
fn stranger(path: &Path, start: &[u8]) -> ShardError {
    const AGAIN: &str = "give it to `simattn prepare` instead";
    let known: [(&[u8], &str, &str); 8] = [
        (b"\x1f\x8b", "a gzip header", "unpack it first"),
        (b"\x28\xb5\x2f\xfd", "a Zstandard header", "unpack it first"),
        (b"PAR1", "a Parquet header", AGAIN),
        (
            b"\x93NUMPY",
            "a NumPy header",
            "save its ids as a bare uint16 file, train.bin beside val.bin",
        ),
        (b"PK\x03\x04", "a zip header", "unpack it first"),
        (b"{", "JSON", AGAIN),
        (b"GGUF", "a GGUF header", "that is a model, not data"),
        (
            b"MMIDIDX",
            "the index of a Megatron data set",
            "prepare the text itself",
        ),
    ];
    let (found, hint) = known
        .iter()
        .find(|(magic, _, _)| start.starts_with(magic))
        .map_or_else(
            || {
                let bytes: Vec<String> = start.iter().take(8).map(|b| format!("{b:02x}")).collect();
                (
                    format!("the bytes {}", bytes.join(" ")),
                    "if it is nanoGPT's bare uint16 form, give the folder with its train.bin and val.bin",
                )
            },
            |&(_, found, hint)| (found.to_owned(), hint),
        );
    ShardError::Magic {
        path: path.to_owned(),
        found,
        hint,
    }
}
