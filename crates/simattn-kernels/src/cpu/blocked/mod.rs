//! Attention of one head on operands in lane order: blocks of 64 tokens, each `[width][64]`.
//!
//! Forward keeps the queries in the lanes, so that the softmax needs no sum across lanes; backward
//! keeps the keys in the lanes, so that only the gradient of the scores has to be transposed, 16 ×
//! 16 values at a time. Blocks that the mask hides are skipped, and blocks on its edge are computed
//! in steps of 16 tokens.

mod backward;
mod forward;
mod geometry;
mod gradients;

pub use backward::{BackwardScratch, HeadBackward, backward};
pub use forward::{ForwardScratch, HeadForward, forward};
pub use geometry::{BLOCK, EDGE, Geometry, LANE_NUMBERS};
