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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Partial {
    tokens: u64,
    documents: u64,
    bytes: u64,
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
            written: Partial {
                tokens: 0,
                documents: 0,
                bytes: 0,
            },
            buffer: Vec::new(),
        })
    }

    /// Goes on with one that [`ShardWriter::suspend`] left; what was written after that is cut off.
    pub(crate) fn resume(
        path: PathBuf,
        tokenizer: &IndexedTokenizer,
        width: Width,
        written: Partial,
    ) -> Result<Self, ShardError> {
        let unfinished = unfinished(&path);
        let length = HEADER_BYTES as u64 + written.tokens * width.bytes() as u64;
        let open = || {
            // It may have been finished after it was noted as growing: then it has its name already.
            if !unfinished.exists() && path.exists() {
                fs::rename(&path, &unfinished)?;
            }
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&unfinished)?;
            if file.metadata()?.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            file.set_len(length)?;
            file.seek(SeekFrom::Start(HEADER_BYTES as u64))?;
            let mut hasher = Sha256::new();
            let mut piece = vec![0; 1 << 20];
            loop {
                match file.read(&mut piece)? {
                    0 => break,
                    count => hasher.update(&piece[..count]),
                }
            }
            Ok((BufWriter::with_capacity(1 << 20, file), hasher))
        };
        let (file, hasher) = open().map_err(|error| ShardError::system(&unfinished, &error))?;
        Ok(Self {
            path,
            unfinished,
            file,
            hasher,
            width,
            tokenizer: tokenizer.clone(),
            written,
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
        Ok(self.written)
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
