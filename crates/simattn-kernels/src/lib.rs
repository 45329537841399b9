//! Attention that trains, on Burn: Simulated Attention Scores (SAS, arXiv 2507.07694) and the
//! softmax attention under it, with the operations that surround them in a language model.
//!
//! - [`reference`](mod@reference) holds the definitions in plain Burn operations: any backend, any
//!   float type, differentiable.
//! - [`call`] holds what a call is beside its tensors: options, sizes, the order of packed weights.
//! - [`Kernels`] chooses, per call, between those and the fastest form a device has.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use simattn_kernels::reference::{AttentionOptions, attention};
//!
//! let device = Device::flex();
//! let random = |shape| Tensor::<4>::random(shape, Distribution::Normal(0.0, 1.0), &device);
//! // Eight query heads read two key/value heads; q and k are wider than v.
//! let q = random([1, 8, 5, 24]);
//! let k = random([1, 2, 5, 24]);
//! let v = random([1, 2, 5, 16]);
//! let out = attention(q, k, v, &AttentionOptions::causal(24));
//! assert_eq!(out.dims(), [1, 8, 5, 16]);
//! ```
//!
//! Forward and backward on the fast kernels, in a program of its own:
//! `cargo run --release -p simattn-kernels --example attention`.

pub mod call;
#[cfg(feature = "cube")]
pub mod check;
pub mod cpu;
#[cfg(feature = "cube")]
pub mod cube;
mod kernels;
pub mod ops;
pub mod reference;

pub use kernels::Kernels;
