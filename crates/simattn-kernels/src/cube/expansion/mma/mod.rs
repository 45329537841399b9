//! Maps and their gradients on NVIDIA's tensor cores, where sizes suit them.
//!
//! Two maps in a row are one kernel, forward and for the gradient of their input: what is between
//! them stays in registers or in shared memory, and is written where backward reads it. The
//! gradients of the weights are sums over slices, added in a fixed order.

mod features;
mod heads;
mod pairs;
mod slices;

pub(super) use self::features::FeaturesMma;
pub(super) use self::heads::HeadsMma;

use burn_cubecl::tensor::CubeTensor;

use crate::cube::tensor::element;
use crate::cube::tensor_cores::available;
use crate::cube::tensor_cores::lanes::CHUNK;
use crate::cube::units::MatrixUnits;

/// Whether tensor cores may be used for inputs like `x`, and its values begin at a whole chunk.
fn suits(x: &CubeTensor) -> bool {
    let begin = x.handle.offset_start.unwrap_or(0) as usize;
    begin.is_multiple_of(CHUNK * x.dtype.size())
        && MatrixUnits::tensor_cores()
        && available(&x.client, element(x))
}

/// How many times in a row a cube takes its share, so that it reads the weights once for all of
/// them: one to eight times, and as long as a large device has work for all its processors.
fn rounds(shares: usize) -> usize {
    const CUBES: usize = 1024;
    const MOST: usize = 8;
    (shares / CUBES).clamp(1, MOST)
}
