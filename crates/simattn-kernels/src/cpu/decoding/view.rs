//! What attention reads, and its sizes.

use super::pages::{KeyPage, ValuePage};

/// Pages of a split.
pub(super) const SPLIT: usize = 4;

/// What a cache holds of 64 tokens.
#[derive(Clone, Copy, Debug)]
pub enum Page<'a> {
    /// Keys and values of every key/value head.
    Heads {
        /// `[kv heads][width]`
        keys: &'a KeyPage,
        /// [kv heads][value width]
        values: &'a ValuePage,
    },
    /// One latent that is key and value of all heads, and a key beside it. A query has the latent's
    /// width, then the other key's.
    Latent {
        /// One head.
        latent: &'a KeyPage,
        /// One head.
        rope: &'a KeyPage,
    },
    /// Factors A [heads · rank] and B `[rank][width]` of keys and values, whose products are divided
    /// by the rank.
    Factors {
        /// One head of heads · rank features.
        key_a: &'a KeyPage,
        /// A head for every rank.
        key_b: &'a KeyPage,
        /// One head of heads · rank features.
        value_a: &'a KeyPage,
        /// A head for every rank.
        value_b: &'a ValuePage,
    },
}

/// Sizes of a layer's attention.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttendShape {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads that are read apart: 1 for latents and factors.
    pub kv_heads: usize,
    /// Width of a query.
    pub query_width: usize,
    /// Width of an output.
    pub value_width: usize,
    /// Factor on the scores.
    pub scale: f32,
}
