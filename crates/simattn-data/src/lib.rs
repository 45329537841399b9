//! Text for training language models: corpora, tokenizers, loaders, and a corpus that needs no
//! download.
//!
//! The way of data: a [`Corpus`] holds documents, split into a training and a validation part *by
//! document*; it comes from files ([`Corpus::from_path`]) or from [`Tales`], the embedded generator
//! of small stories ([`Corpus::tales`]). A [`TokenizerSpec`] (`bytes`, `bpe:4096` or a path) builds
//! a [`Tokenizer`], which turns each part into a [`TokenSet`]: ids, every document closed by the
//! end of text, and the count of bytes that bits per byte need. A [`Loader`] cuts the training ids
//! into windows and gives them out as [`Batch`]es in a seeded order, resumable from a [`Position`]
//! of two numbers; a [`ValidationSample`] is the fixed list of batches that every evaluation of a
//! run uses.
//!
//! Everything is a pure function of its inputs and one seed, on every machine and with any number
//! of threads. Whatever comes from outside is refused with one line of [`DataError`], never with a
//! panic.
//!
//! ```
//! use simattn_data::{Corpus, Loader, TokenizerSpec, ValidationSample};
//! use std::sync::Arc;
//!
//! # fn main() -> Result<(), simattn_data::DataError> {
//! let corpus = Corpus::tales(7, 50_000, 5_000)?;
//! let tokenizer = "bpe:300".parse::<TokenizerSpec>()?.build(&corpus)?;
//!
//! let train = Arc::new(tokenizer.encode_documents(&corpus.train)?);
//! let mut loader = Loader::new(train, 4, 64, 7)?;
//! let batch = loader.next_batch()?;
//! assert_eq!(batch.inputs.len(), 4 * 64);
//! assert_eq!(batch.inputs[1], batch.targets[0]);
//!
//! // A run that stops here continues with the same batches.
//! let position = loader.position();
//! let expected = loader.next_batch()?;
//! loader.seek(&position)?;
//! assert_eq!(loader.next_batch()?, expected);
//!
//! let held_out = tokenizer.encode_documents(&corpus.validation)?;
//! let sample = ValidationSample::new(&held_out, 4, 64, 8)?;
//! assert_eq!(sample.windows(), 8);
//! # Ok(())
//! # }
//! ```

mod background;
mod batch;
mod bpe;
mod byte_level;
mod contain;
mod corpus;
mod documents;
mod error;
mod hash;
mod loader;
mod made_folders;
#[cfg(feature = "parquet")]
mod parquet_file;
mod permutation;
pub mod prepare;
mod reading;
pub mod shards;
mod source;
mod spec;
mod tales;
mod text_settings;
mod tokenizer;
mod tokenset;
mod validation;
mod windows;

pub use background::BackgroundLoader;
pub use batch::Batch;
pub use contain::contained;
pub use corpus::Corpus;
pub use documents::{Document, Texts, read_documents};
pub use error::DataError;
pub use loader::{Loader, OtherWindows, Position, Share, Weighted};
pub use made_folders::{MadeFolders, NotMade};
#[cfg(feature = "parquet")]
pub use parquet_file::{ParquetFile, ParquetRows};
pub use permutation::Permutation;
pub use reading::{PassedOver, TEXT_FIELD};
pub use source::TokenSource;
pub use spec::TokenizerSpec;
pub use tales::{Part, Tales};
pub use text_settings::{TEXT_SETTINGS, TextSettings};
pub use tokenizer::{BPE_TRAINING_BYTES, SpecialToken, Tokenizer};
pub use tokenset::TokenSet;
pub use validation::ValidationSample;
pub use windows::Cursor;
