//! What a comparison holds equal: a plan asks for it, and the results state it.

use serde::{Deserialize, Serialize};

/// What was held equal between the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Equal {
    /// The number of optimiser steps, and with it the tokens seen.
    Steps,
    /// The training FLOPs.
    Flops,
    /// The training seconds.
    Time,
}
