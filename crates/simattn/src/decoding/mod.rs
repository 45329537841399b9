//! Decoding: a model prepared for it, and the caches of the sequences that it works on.
//!
//! [`Running`] is a [`Decoder`](crate::Decoder) whose weights were brought into the order in which
//! few tokens read them, on the CPU, as float32, bfloat16 or int8. A [`Sequence`] is the cache of
//! one text; it goes on by [`Running::extend`] (some tokens of one sequence) and [`Running::step`]
//! (one token of each of several).
//!
//! **What is promised.** The logits of a token, and what the cache keeps of it, depend on the
//! tokens up to it and on nothing else, bit for bit: not on the sequences beside it, on how its
//! text was cut into calls, on the number of threads, nor on whether its prefix was computed,
//! shared with another sequence or restored from a [`Stored`]. A token that `step` computed is the
//! same as one that `extend` computed. The reason is in [`simattn_kernels::cpu::decoding`]: there
//! is one product, and each of its sums has one order.
//!
//! **Caches** consist of pages of 64 tokens, which sequences share as long as they are whole. They
//! keep what is smallest without recomputation: keys and values; of MLA the latent, into whose
//! space queries and outputs are mapped; of TPA the factors. SAS keeps the expanded keys and values
//! and, for [`Running::set_aside`], the projected ones from before the expansion, which are 4 to 8
//! times smaller; with [`CacheForm::Compact`] only those, and every step expands them again. They
//! are rounded to the cache's type before they are expanded, so both forms compute the same.
//!
//! All this is for the CPU. [`RunningOnDevice`] is the same on GPUs, with caches of its own.
//!
//! ```
//! use burn::tensor::Device;
//! use simattn::decoding::{Logits, Running, RunningOptions};
//! use simattn::{AttentionConfig, Decoder, ModelConfig};
//!
//! let attention: AttentionConfig =
//!     serde_json::from_str(r#"{ "kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 8 }"#)?;
//! let mut config = ModelConfig::llama(128, 2, 32, attention);
//! config.vocabulary = 257;
//! let model = Running::new(&Decoder::new(&config, 1, &Device::flex())?, RunningOptions::default());
//!
//! let mut text = model.start();
//! let logits = model.extend(&mut text, &[1, 2, 3], Logits::Last)?;
//! assert_eq!((logits.len(), text.len()), (257, 3));
//!
//! // Two continuations side by side. Whole pages would be shared.
//! let mut other = text.clone();
//! let both = model.step(&mut [&mut text, &mut other], &[4, 5])?;
//! assert_eq!(both.len(), 2 * 257);
//!
//! // Alone, the same bits.
//! let mut alone = model.start();
//! let logits = model.extend(&mut alone, &[1, 2, 3, 5], Logits::Last)?;
//! assert_eq!(logits, both[257..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod attention;
mod batch;
mod cache;
mod dense;
mod error;
mod layer;
mod mixer;
mod on_device;
mod options;
mod running;
mod sequence;

pub use attention::{AttentionCache, RunningAttention};
pub use error::DecodeError;
pub use on_device::{DeviceOptions, DeviceText, RunningOnDevice, StoredText};
pub use options::{CacheForm, RunningOptions};
pub use running::{Logits, Running};
pub use sequence::{Sequence, Stored};
pub use simattn_kernels::call::NumberType;
pub use simattn_kernels::cpu::decoding::PAGE;
