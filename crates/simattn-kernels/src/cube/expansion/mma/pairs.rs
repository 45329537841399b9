//! Two neighbouring values of a thread.

use cubecl::prelude::*;

use crate::cube::tensor_cores::lanes::{COLUMNS, PLANE};
use crate::cube::tensor_cores::products::Pair;

/// The biases of channels `channel` and `channel + 1`, from `first` on; zero beyond the last.
#[cube]
pub(in crate::cube::expansion::mma) fn bias_of<F: Float>(
    biases: &Tensor<F>,
    first: usize,
    channel: usize,
    #[comptime] channels: usize,
) -> Pair<f32> {
    let mut pair = Pair::<f32>::zeroed();
    #[unroll]
    for nth in 0..2usize {
        if channel + nth < channels {
            pair.insert(nth, f32::cast_from(biases[first + channel + nth]));
        }
    }
    pair
}

/// The pair of a thread's results, of 8 rows and 8 columns over the plane, as a pair of the
/// transposed results.
#[cube]
pub(in crate::cube::expansion::mma) fn transposed<F: Float>(pair: Pair<F>) -> Pair<F> {
    let from = u32::reinterpret(pair);
    let to: u32;
    gpu_asm!("movmatrix.sync.aligned.m8n8.trans.b16 {to}, {from};", to = out(_) to, from = in(_) word(from));
    Pair::<F>::reinterpret(to)
}

/// A value to give to `gpu_asm!`: `in(_)` of a variable that changes is its address.
#[cube]
fn word(of: u32) -> u32 {
    u32::cast_from(of)
}

/// Values of a pair above zero, zeros for the others.
#[cube]
pub(in crate::cube::expansion::mma) fn opened<F: Float>(pair: Pair<F>) -> Pair<F> {
    max(pair, Pair::<F>::zeroed())
}

/// Of [`COLUMNS`] transposed results, this thread's row.
#[cube]
pub(in crate::cube::expansion::mma) fn transposed_row(lane: usize) -> usize {
    lane / comptime!(PLANE / COLUMNS)
}
