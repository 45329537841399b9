//! Writing a shard, in pieces and across interruptions.

use super::error::ShardError;
use super::header::{HEADER_BYTES, Header, Width, hexadecimal};
use super::index::{Entry, IndexedTokenizer};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// How much of an unfinished shard is on disk for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partial {
    pub(crate) tokens: u64,
    pub(crate) documents: u64,
    pub(crate) bytes: u64,
    /// SHA-256 of the ids so far; journals of format 1 do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sha256: Option<String>,
}

/// An unfinished shard, found as the journal tells.
#[derive(Debug)]
pub(crate) struct Growing {
    path: PathBuf,
    /// Where it lies now.
    place: PathBuf,
    hasher: Sha256,
    written: Partial,
    /// The bytes that count; what is behind them was written later.
    length: u64,
}

impl Growing {
    /// Reads what [`ShardWriter::suspend`] left of the shard that is to be `path`, and compares it
    /// with what was noted. Nothing is changed.
    pub(crate) fn check(
        path: PathBuf,
        tokenizer: &IndexedTokenizer,
        width: Width,
        written: &Partial,
    ) -> Result<Self, ShardError> {
        // It may have been finished after it was noted as growing: then it has its name already.
        let unfinished = unfinished(&path);
        let place = if unfinished.exists() || !path.exists() {
            unfinished
        } else {
            path.clone()
        };
        let differs = |problem: String| ShardError::Growing {
            path: place.clone(),
            problem,
        };
        let length = (written.tokens)
            .checked_mul(width.bytes() as u64)
            .and_then(|bytes| bytes.checked_add(HEADER_BYTES as u64))
            .ok_or_else(|| differs(format!("{} tokens noted", written.tokens)))?;
        let refused = |error: io::Error| ShardError::system(&place, &error);
        let mut file = File::open(&place).map_err(refused)?;
        let found = file.metadata().map_err(refused)?.len();
        if found < length {
            return Err(differs(format!("{found} bytes, at least {length} noted")));
        }
        file.seek(SeekFrom::Start(HEADER_BYTES as u64))
            .map_err(refused)?;
        let mut rest = file.take(length - HEADER_BYTES as u64);
        let mut hasher = Sha256::new();
        let (mut ends, mut last) = (0, None);
        let mut piece = vec![0; 1 << 20];
        let mut ids = vec![0; piece.len() / width.bytes()];
        loop {
            // Whole ids, since the length is a whole number of them.
            let count = (rest.limit() as usize).min(piece.len());
            let (piece, ids) = (&mut piece[..count], &mut ids[..count / width.bytes()]);
            if count == 0 {
                break;
            }
            rest.read_exact(piece).map_err(refused)?;
            hasher.update(&*piece);
            width.decode(piece, ids);
            if let Some(id) = ids.iter().find(|id| **id as usize >= tokenizer.vocabulary) {
                return Err(differs(format!("the id {id} in it")));
            }
            ends += ids
                .iter()
                .filter(|id| **id == tokenizer.end_of_text)
                .count() as u64;
            last = ids.last().copied();
        }
        let sum: [u8; 32] = hasher.clone().finalize().into();
        match &written.sha256 {
            Some(noted) if *noted != hexadecimal(&sum) => {
                return Err(differs("its checksum is another".to_owned()));
            }
            // Where nothing else tells, what every document ends with.
            None if last != Some(tokenizer.end_of_text) || ends != written.documents => {
                let noted = written.documents;
                return Err(differs(format!(
                    "{ends} ends of text, {noted} documents noted"
                )));
            }
            _ => {}
        }
        Ok(Self {
            path,
            place,
            hasher,
            written: written.clone(),
            length,
        })
    }
}

/// A shard that grows. It has its name only when it is finished; until then `.partial` is added.
#[derive(Debug)]
pub(crate) struct ShardWriter {
    path: PathBuf,
    unfinished: PathBuf,
    file: BufWriter<File>,
    hasher: Sha256,
    width: Width,
    tokenizer: IndexedTokenizer,
    written: Partial,
    buffer: Vec<u8>,
}

impl ShardWriter {
    /// Begins a shard; one of that name that was left unfinished is overwritten.
    pub(crate) fn create(
        path: PathBuf,
        tokenizer: &IndexedTokenizer,
        width: Width,
    ) -> Result<Self, ShardError> {
        let unfinished = unfinished(&path);
        let open = || {
            let mut file = BufWriter::with_capacity(1 << 20, File::create(&unfinished)?);
            file.write_all(&[0; HEADER_BYTES])?;
            Ok(file)
        };
        let file = open().map_err(|error: io::Error| ShardError::system(&unfinished, &error))?;
        Ok(Self {
            path,
            unfinished,
            file,
            hasher: Sha256::new(),
            width,
            tokenizer: tokenizer.clone(),
            written: Partial::default(),
            buffer: Vec::new(),
        })
    }

    /// Goes on with one that [`ShardWriter::suspend`] left; what was written after that is cut off.
    pub(crate) fn resume(
        growing: Growing,
        tokenizer: &IndexedTokenizer,
        width: Width,
    ) -> Result<Self, ShardError> {
        let unfinished = unfinished(&growing.path);
        let open = || {
            if growing.place != unfinished {
                fs::rename(&growing.place, &unfinished)?;
            }
            let mut file = OpenOptions::new().write(true).open(&unfinished)?;
            file.set_len(growing.length)?;
            file.seek(SeekFrom::Start(growing.length))?;
            Ok(BufWriter::with_capacity(1 << 20, file))
        };
        let file = open().map_err(|error: io::Error| ShardError::system(&unfinished, &error))?;
        Ok(Self {
            path: growing.path,
            unfinished,
            file,
            hasher: growing.hasher,
            width,
            tokenizer: tokenizer.clone(),
            written: growing.written,
            buffer: Vec::new(),
        })
    }

    /// Appends ids that stand for `bytes` bytes of text and close `documents` documents.
    pub(crate) fn push(
        &mut self,
        ids: &[u32],
        bytes: u64,
        documents: u64,
    ) -> Result<(), ShardError> {
        self.buffer.clear();
        self.width.encode(ids, &mut self.buffer);
        self.hasher.update(&self.buffer);
        self.file
            .write_all(&self.buffer)
            .map_err(|error| ShardError::system(&self.unfinished, &error))?;
        self.written.tokens += ids.len() as u64;
        self.written.documents += documents;
        self.written.bytes += bytes;
        Ok(())
    }

    /// Ids so far.
    pub(crate) fn tokens(&self) -> u64 {
        self.written.tokens
    }

    /// Brings everything so far to the disk and says how much that is.
    pub(crate) fn suspend(&mut self) -> Result<Partial, ShardError> {
        self.file
            .flush()
            .and_then(|()| self.file.get_ref().sync_all())
            .map_err(|error| ShardError::system(&self.unfinished, &error))?;
        let sum: [u8; 32] = self.hasher.clone().finalize().into();
        self.written.sha256 = Some(hexadecimal(&sum));
        Ok(self.written.clone())
    }

    /// Writes the header, brings the file to the disk and gives it its name.
    pub(crate) fn finish(mut self) -> Result<Entry, ShardError> {
        let sha256: [u8; 32] = self.hasher.clone().finalize().into();
        let header = Header {
            width: self.width,
            tokens: self.written.tokens,
            documents: self.written.documents,
            bytes: self.written.bytes,
            vocabulary: self.tokenizer.vocabulary as u32,
            end_of_text: self.tokenizer.end_of_text,
            tokenizer: self.tokenizer.fingerprint.clone(),
            sha256,
        };
        let mut close = || {
            self.file.flush()?;
            let file = self.file.get_mut();
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&header.to_bytes())?;
            file.sync_all()?;
            fs::rename(&self.unfinished, &self.path)
        };
        close().map_err(|error| ShardError::system(&self.unfinished, &error))?;
        let name = self.path.file_name().unwrap_or_default();
        Ok(Entry {
            file: name.to_string_lossy().into_owned(),
            tokens: self.written.tokens,
            documents: self.written.documents,
            bytes: self.written.bytes,
            sha256: hexadecimal(&sha256),
        })
    }
}

/// The name of a shard that is not finished.
fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}
