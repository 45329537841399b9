//! Simulated attention (arXiv 2507.07694) between the projections, on slices: expansion of q, k and
//! v, attention over the expanded heads, average of the groups; forward and backward.
//!
//! Both directions go through the batch a few elements at a time, in three phases, each over all
//! threads: expand blocks of 64 tokens (chunks of 8 or 16 inside the cache) into lane order,
//! attend, and, backward, contract the gradients. Only the inputs and the log-sum-exp are kept
//! between forward and backward; backward expands again.
//!
//! Memory beside inputs and outputs, for the batch elements in work (one, or as many as hold 1,024
//! tokens), in float32 values a token: forward H'·(2·D' + D); backward that, as much of the
//! gradients of k and v as of k and v themselves, and 2·H'·D between the stages of q and k.
//! Gradients of weights: one copy for every 128 tokens in work.

mod backward;
mod call;
mod contraction;
mod forward;
mod operand;

pub use backward::{sas_attention_backward, sas_attention_backward_on};
pub use forward::{sas_attention_forward, sas_attention_forward_on};

pub use super::expansion::{Expansion, ExpansionGradients, Rotation};
use crate::call::Qkv;

/// The expansions of q, k and v; that of v of heads only.
pub type SasWeights<'a> = Qkv<Expansion<'a>>;

/// Gradients of everything that goes into [`sas_attention_forward`].
#[derive(Clone, Debug, PartialEq)]
pub struct SasGradients {
    /// Of q, [B, T, H, D].
    pub q: Vec<f32>,
    /// Of k, [B, S, G, D].
    pub k: Vec<f32>,
    /// Of v, [B, S, G, D].
    pub v: Vec<f32>,
    /// Of q's expansion.
    pub q_weights: ExpansionGradients,
    /// Of k's expansion.
    pub k_weights: ExpansionGradients,
    /// Of v's expansion.
    pub v_weights: ExpansionGradients,
}

/// The compact inputs.
#[derive(Clone, Copy, Debug)]
pub struct SasInputs<'a> {
    /// [B, T, H, D]
    pub q: &'a [f32],
    /// [B, S, G, D]
    pub k: &'a [f32],
    /// [B, S, G, D]
    pub v: &'a [f32],
    /// Rotations of the queries' and the keys' positions; not used with
    /// [`RopePlacement::None`](crate::call::RopePlacement::None).
    pub rotations: Option<(Rotation<'a>, Rotation<'a>)>,
}
