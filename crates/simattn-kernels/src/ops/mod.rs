//! The operations around attention on Burn tensors, each with its own backward pass.
//!
//! float32 tensors on Burn's CPU device (Flex), with or without autodiff, go through the kernels of
//! [`cpu`](crate::cpu); float32, bfloat16 and float16 tensors on a CubeCL device, in builds for
//! one, through those of `cube`; everything else, other float types and other devices, through the
//! plain Burn operations of [`reference`](mod@crate::reference), attention in blocks of queries so
//! that memory stays linear there too. Non-contiguous inputs are copied first. Gradients are worked
//! out only for inputs that need them; a second derivative through a kernel is not supported.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use simattn_kernels::ops::{GeluForm, gelu, linear};
//!
//! let device = Device::flex().autodiff();
//! let x = Tensor::<3>::random([2, 5, 8], Distribution::Normal(0.0, 1.0), &device);
//! let weight = Tensor::<2>::random([12, 8], Distribution::Normal(0.0, 0.3), &device).require_grad();
//! let y = gelu(linear(x, weight.clone(), None), GeluForm::Exact);
//! assert_eq!(y.dims(), [2, 5, 12]);
//! let gradients = y.sum().backward();
//! assert_eq!(weight.grad(&gradients).unwrap().dims(), [12, 8]);
//! ```

mod activated_linear;
mod activation;
mod attention;
mod autodiff;
mod embedding;
mod flex;
mod gpu;
mod linear;
mod loss;
mod maybe;
mod milestone;
mod norm;
mod normed_linear;
mod optimizer;
mod portable_attention;
mod product;
mod recompute;
mod rotary;
mod sas_attention;

#[cfg(feature = "cube")]
pub use loss::cube::head_with_gradients;

pub use activated_linear::{gelu_linear, swiglu_linear};
pub use activation::{bias_gelu, gelu, swiglu, swiglu_packed};
pub use attention::attention;
pub use embedding::embedding;
pub(crate) use flex::on_cpu;
pub use linear::linear;
pub use loss::{cross_entropy, head_cross_entropy};
pub use milestone::milestone;
pub use norm::{layer_norm, rms_norm};
pub use normed_linear::{Normed, normed_linear};
pub use optimizer::{
    AdamWState, adamw_step, adamw_step_by, adamw_step_by_portable, adamw_step_portable,
    squared_norm, squared_norm_tensor,
};
pub use product::product;
pub use recompute::{Tensors, recomputed};
pub(crate) use rotary::has_rotary_kernels;
pub use rotary::rotate;
pub use sas_attention::{SasKeep, sas_attention, sas_attention_keeping, sas_expand};

pub use crate::call::{AdamW, GeluForm, GroupSettings};
