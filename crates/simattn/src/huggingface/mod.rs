//! Models of the Hugging Face Hub's layout: read into a [`Decoder`](crate::Decoder), and written.
//!
//! [`import`] reads a folder with `config.json` and safetensors: Llama and its relatives, GPT-NeoX,
//! GPT-2, and what [`export`] writes for the variants that `transformers` does not know. A field or
//! a tensor that it does not understand is named and refused; nothing in a folder is executed.
//!
//! A [`Family`] is one way to spell a model. `families` turns its `config.json` into a
//! [`ModelConfig`](crate::ModelConfig) and back, `layout` says which tensors it has and how they
//! hold ours; reading and writing go over the same list, so one is the inverse of the other.
//!
//! Rotary embeddings need no permutation: `transformers` rotates halves in all these families, as
//! our kernels do.

mod error;
mod export;
mod families;
mod fields;
mod file_names;
mod form;
mod harmless;
mod import;
mod layout;
mod rope;
mod simattn_type;
mod weights;

pub use error::HuggingFaceError;
pub use export::{Export, FloatType, export, export_with};
pub use families::Family;
pub use import::{Imported, import, weight_bytes};
pub use weights::Weights;
