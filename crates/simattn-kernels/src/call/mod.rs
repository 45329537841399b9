//! The vocabulary of a call: what an operation is told beside its values.
//!
//! These types are defined here, below everything else in the crate, so that definitions, kernels
//! and Burn operations mean the same by the same word. Nothing here computes, and nothing here
//! knows a tensor: [`Stage`], [`Expansion`] and [`Qkv`] hold whatever represents a weight, be it
//! a tensor, a slice, or a place in a packed buffer.

mod activation;
mod attention;
mod expansion;
mod loss;
mod number;
mod optimizer;
mod packed;
mod sas;

pub use activation::GeluForm;
pub use attention::{AttentionOptions, AttentionShape};
pub use expansion::{Expansion, ExpansionOptions, Qkv, Stage};
pub use loss::HeadGradientsWanted;
pub use number::NumberType;
pub use optimizer::{AdamW, GroupSettings};
pub use packed::PackedOrder;
pub use sas::{Aggregation, RopePlacement, SasCall, SasKeep, SasOptions, SasShape, Stages};
