//! Attention variants (SAS, MHA, GQA, MQA, MLA, TPA, MFA) and the decoder language model built on
//! them.
//!
//! A [`ModelConfig`] says everything about a model and can be read from TOML; its
//! [`AttentionConfig`] picks the variant. [`Decoder`] is the model: a Burn module with any of the
//! [`attention`] layers inside. [`cost`] counts parameters and operations from the configuration
//! alone, [`checkpoint`] writes and reads weights, [`named`] gives every parameter its name,
//! [`huggingface`] converts from and to other makes, [`mod@upcycle`] turns a pretrained model into
//! a SAS model of the same function, [`decoding`] runs models with caches, [`mod@generate`]
//! continues a text.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use simattn::{AttentionConfig, Decoder, ModelConfig, SasConfig};
//!
//! let attention: AttentionConfig = serde_json::from_str(
//!     r#"{ "kind": "sas", "heads": 2, "head_dim": 8,
//!          "expanded_heads": 6, "expanded_head_dim": 12, "kernel_size": 5 }"#,
//! )?;
//! let mut config = ModelConfig::neox(32, 2, 16, attention);
//! config.vocabulary = 257;
//! let device = Device::flex().autodiff();
//! let model = Decoder::new(&config, 1, &device)?;
//! let ids = Tensor::<2, Int>::from_data([[1, 2, 3, 4]], &device);
//! let next = Tensor::<2, Int>::from_data([[2, 3, 4, 5]], &device);
//! let loss = model.loss(ids, next);
//! let gradients = loss.backward();
//! assert!(model.embedding.val().grad(&gradients).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

/// The attention variants, one file each.
pub mod attention;
pub mod checkpoint;
mod config;
pub mod cost;
mod decoder;
pub mod decoding;
pub mod finite;
/// Text from a model, token after token.
pub mod generate;
pub mod huggingface;
/// How weights are drawn before training.
pub mod init;
mod linear;
mod milestones;
/// Names of parameters.
pub mod named;
mod precision;
pub mod upcycle;

pub use config::*;
pub use decoder::{Block, Decoder, FeedForward, Normalisation, Packed, Recompute};
pub use linear::Linear;
pub use milestones::Settled;
pub use precision::Precision;
