//! CPU kernels on plain slices: float32, forward and backward, no Burn types.
//!
//! Results are bit for bit independent of the number of threads: work is cut by shape alone, and
//! partial sums are added in a fixed order.

pub mod activation;
pub mod adamw;
pub mod attention;
mod blocked;
mod correlate;
pub mod decoding;
pub mod embedding;
mod expansion;
pub mod gradient_norm;
pub mod linear;
pub mod loss;
mod memory;
pub mod memory_rate;
pub mod norm;
mod online_softmax;
pub mod output;
mod product;
pub(crate) mod rotary;
pub mod sas_attention;
pub(crate) mod scale;
pub mod simd;
mod softmax_weights;
mod tile;
mod transpose;
mod vectorised;
