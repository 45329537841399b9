//! GPU kernels, written once in CubeCL for every backend that it reaches: CUDA, ROCm, Metal,
//! Vulkan, WebGPU.
//!
//! - `attention`: softmax attention, forward with the log-sum-exp and backward, memory linear in
//!   the sequence length.
//! - `expansion`: one stage of SAS's expansions, along the heads or along the features, and its
//!   gradients.
//! - `rotary` and `aggregate`: the small maps between them.
//! - `sas_attention`: all of it as one operation.
//! - `norm`, `activation`, `linear`, `loss`, `embedding`, `adamw` and `squares`: what surrounds
//!   attention in a training step, over `rows` and `columns`, sums among the threads of a cube.
//!
//! In attention and expansions a cube of 16 × 16 threads works out a square tile of results.
//! Operands pass through shared memory in strips, and every thread keeps its results in registers,
//! one row and one column in sixteen, so that neighbouring threads read neighbouring words. All
//! sums are float32, whatever the tensors hold, and are added in an order that the shapes fix: no
//! atomics, the same bits every time on one device.

// A condition that is known when a kernel is compiled stands alone, so that what it leaves out is
// not in the kernel; and a kernel's numbers have no `is_multiple_of`.
#![allow(clippy::collapsible_if, clippy::manual_is_multiple_of)]

pub(crate) mod activation;
pub(crate) mod adamw;
mod aggregate;
pub(crate) mod attention;
pub(crate) mod columns;
pub(crate) mod embedding;
mod expansion;
pub(crate) mod linear;
pub(crate) mod loss;
pub(crate) mod norm;
mod normal;
pub(crate) mod product;
pub(crate) mod rotary;
mod rows;
pub(crate) mod sas_attention;
pub(crate) mod squares;
mod staging;
mod tensor;
mod tensor_cores;
mod tile;
mod units;
