//! Kernels of decoding: few tokens, many weights, a long cache. No gradients.
//!
//! Everything is one product in tiles of registers (`tile`): the right operand lies in panels of
//! 32 columns, be they outputs of a weight, keys of a page or features of a value, and each sum
//! runs over its terms in order, one fused multiply–add after another. The order depends neither
//! on how many rows are multiplied together nor on which thread does it. So whatever is computed
//! for a token has the same bits alone or beside others, one by one or in blocks.
//!
//! - [`Panels`] holds a weight, [`product`] multiplies by it;
//! - [`KeyPage`] and [`ValuePage`] hold 64 tokens of a cache, [`attend`] reads them;
//! - [`Expander`] is the expansion of SAS with features in the lanes.

mod attend;
mod expander;
mod number;
mod page_product;
mod pages;
mod panels;
mod product;
mod rows;
mod split;
mod tile;
mod view;

pub use attend::{Run, attend};
pub use expander::{Expander, expand};
pub use pages::{KeyPage, PAGE, ValuePage};
pub use panels::Panels;
pub use product::{Rows, product};
pub use rows::{Rotate, gelu, layer_norm, rms_norm, rotate_rows, swiglu};
pub use view::{AttendShape, Page};

/// Runs `work` on one of rayon's threads: parts that it deals out then begin at once, and it waits
/// for them working.
pub fn on_workers<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}
