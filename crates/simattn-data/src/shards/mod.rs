//! Token ids on disk: shards, the index of a folder of them, and other tools' files.
//!
//! A folder that `simattn prepare` made holds `index.json`, the `tokenizer.json` of its ids, and
//! shards `train-00000.bin`, …, `validation-00000.bin`, …. A shard is a header of [`HEADER_BYTES`]
//! bytes and the ids, two or four bytes each, little-endian; [`Header`] tells its layout. Files of
//! llm.c (also those of modded-nanogpt) and of nanoGPT are read as well.
//!
//! Shards are read by position, not mapped into memory: the pages come from the same cache of the
//! system, a window costs about a microsecond more, and a file that is cut short, or a disk that
//! fails at night, is an error with a name instead of a signal that ends the process.

mod error;
mod file_names;
mod foreign;
mod header;
mod index;
mod marks;
mod naming;
mod pattern;
mod positioned;
mod set;
mod shard;
mod writer;

pub use error::ShardError;
pub use file_names::{INDEX, TOKENIZER};
pub(crate) use file_names::{JOURNAL, LOCK, PARTS, is_shard_name, shard_name};
pub use foreign::{foreign_folder, is_foreign_folder};
pub(crate) use header::hexadecimal;
pub use header::{HEADER_BYTES, Header, Width};
pub use index::{Entry, Index, IndexedTokenizer, Part, is_prepared};
pub use set::TokenShards;
pub use shard::Shard;
pub(crate) use writer::{Growing, Partial, ShardWriter};
