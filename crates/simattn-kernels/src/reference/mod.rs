//! The definitions, in plain Burn operations.
//!
//! Everything here reads like the formula it computes, works on every Burn backend and in every
//! float type, and is differentiable because Burn's operations are. It is what the fast kernels
//! are compared with, and what `--kernels reference` runs. It stores what a kernel would not:
//! attention here keeps the scores `[B, H, T, S]`.

mod activation;
mod attention;
mod expansion;
mod linear;
mod loss;
mod norm;
mod rope;
mod sas;

pub use activation::{gelu, swiglu};
pub use attention::attention;
pub use expansion::{FeatureExpansion, HeadExpansion, expand_features, expand_heads};
pub use linear::{embedding, linear};
pub use loss::{cross_entropy, head_cross_entropy};
pub use norm::{layer_norm, rms_norm};
pub use rope::{RopeTable, rotate};
pub(crate) use sas::sas_attention_through;
pub use sas::{Expansion, SasWeights, sas_aggregate, sas_attention, sas_expand};

pub use crate::call::{Aggregation, AttentionOptions, ExpansionOptions, RopePlacement, SasOptions};
