//! What can be wrong with files of token ids.

use std::path::PathBuf;
use thiserror::Error;

/// Everything that reading or writing shards can refuse. `Display` is one line.
#[derive(Debug, Error)]
pub enum ShardError {
    /// The system refused to read or write.
    #[error("{path}: {problem}", path = path.display())]
    System {
        /// The file or folder.
        path: PathBuf,
        /// What it says.
        problem: String,
    },
    /// A file or folder that should be there.
    #[error("{path}: no such file; it was moved or removed", path = path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The file does not begin as a shard.
    #[error(
        "{path}: not a shard of token ids, it begins with {found}; {hint}",
        path = path.display()
    )]
    Magic {
        /// The file.
        path: PathBuf,
        /// Its first bytes, in words.
        found: String,
        /// What to do.
        hint: &'static str,
    },
    /// A layout that this version does not know.
    #[error(
        "{path}: a shard of version {found}, this program reads {expected}; \
         use the program that wrote it, or prepare the text again",
        path = path.display()
    )]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// What is read.
        expected: u32,
    },
    /// The header does not match its own checksum, or says what cannot be.
    #[error(
        "{path}: its header is damaged ({problem}); prepare the text again or copy the file again",
        path = path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// The file is shorter or longer than its header says.
    #[error(
        "{path}: {found} bytes where its header promises {expected}; \
         it was cut short or is incomplete; copy the file again",
        path = path.display()
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        found: u64,
        /// The bytes it should have.
        expected: u64,
    },
    /// A shard without tokens.
    #[error(
        "{path}: an empty shard without tokens; remove it or prepare the text again",
        path = path.display()
    )]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// The ids do not match their checksum.
    #[error(
        "{path}: its token ids do not match their checksum; copy the file again or prepare the \
         text again",
        path = path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
    },
    /// A file without a header whose bytes are no ids of the width that its vocabulary asks for.
    #[error(
        "{path}: not the {bits}-bit ids that {why}, it seems to hold {seems}; write its ids as \
         little-endian uint{bits}, or give the text to `simattn prepare`",
        path = path.display()
    )]
    Layout {
        /// The file.
        path: PathBuf,
        /// The bits of an id.
        bits: usize,
        /// Why they are expected.
        why: String,
        /// What it seems to hold, in words.
        seems: &'static str,
    },
    /// A file without a header that ends within an id.
    #[error(
        "{path}: {bytes} bytes are not a whole number of {bits}-bit ids; \
         it was cut short, or is another kind of file",
        path = path.display()
    )]
    Uneven {
        /// The file.
        path: PathBuf,
        /// Its bytes.
        bytes: u64,
        /// The bits of an id.
        bits: usize,
    },
    /// The name of another tool's file does not tell its part.
    #[error(
        "{path}: its name {problem}; rename it as in x_train_1.bin or x_val_1.bin, \
         or take it out of the folder",
        path = path.display()
    )]
    UnclearPart {
        /// The file.
        path: PathBuf,
        /// What its name says.
        problem: &'static str,
    },
    /// An id that the tokenizer does not have.
    #[error(
        "{path}: token {at} is id {id}, beyond the tokenizer's vocabulary of {vocabulary}; \
         set data.tokenizer to the tokenizer that made the file",
        path = path.display()
    )]
    BeyondVocabulary {
        /// The file.
        path: PathBuf,
        /// Which token, from 0.
        at: u64,
        /// Its id.
        id: u32,
        /// Ids that there are.
        vocabulary: usize,
    },
    /// The shards were made with another tokenizer.
    #[error(
        "{path}: its ids were made by tokenizer {found}, not by {expected} ({expected_from}); \
         prepare the text with that tokenizer, or use the one beside the shards",
        path = path.display()
    )]
    Tokenizer {
        /// The folder or file.
        path: PathBuf,
        /// The fingerprint it names.
        found: String,
        /// The fingerprint that is wanted.
        expected: String,
        /// Where that one comes from.
        expected_from: String,
    },
    /// `index.json` cannot be understood.
    #[error("{path}: not an index of shards ({problem}); prepare the text again", path = path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A shard is not the one that the index lists.
    #[error(
        "{path}: not the shard that {list} lists ({problem}); copy the folder again or prepare the \
         text again",
        path = path.display()
    )]
    NotListed {
        /// The file.
        path: PathBuf,
        /// What lists it.
        list: &'static str,
        /// What differs.
        problem: String,
    },
    /// A shard that `prepare` had begun is not as its journal says.
    #[error(
        "{path}: not the unfinished shard described in prepare.json ({problem}); \
         put it back as it was, or prepare the text again",
        path = path.display()
    )]
    Growing {
        /// The file.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// `prepare` has not come to its end here.
    #[error(
        "{path}: only partly prepared; repeat the `simattn prepare` command that began it, which \
         continues after the last finished shard",
        path = path.display()
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// No file for one of the two parts.
    #[error(
        "{path}: no tokens for {part}; {hint}",
        path = path.display()
    )]
    NoPart {
        /// The folder.
        path: PathBuf,
        /// "training" or "validation".
        part: &'static str,
        /// What to do.
        hint: &'static str,
    },
}

impl ShardError {
    /// For errors of the system.
    pub(crate) fn system(path: &std::path::Path, error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound => Self::Missing {
                path: path.to_owned(),
            },
            _ => Self::System {
                path: path.to_owned(),
                problem: error.to_string(),
            },
        }
    }

    /// Whether a file is not what it should be, which the user can correct; otherwise the system
    /// refused.
    pub(crate) fn is_input(&self) -> bool {
        !matches!(self, Self::System { .. })
    }
}
