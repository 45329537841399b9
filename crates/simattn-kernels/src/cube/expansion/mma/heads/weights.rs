use cubecl::prelude::*;

use super::form::Weights;
use crate::cube::tensor_cores::Chunk;
use crate::cube::tensor_cores::lanes::{CHUNK, row_chunks};

/// `packed[a, j·S + c]` is the weight of output channel a for input channel c at tap j, S being the
/// windows' stride; one thread a value.
#[cube(launch, address_type = "dynamic")]
pub(super) fn pack_windows<F: Float>(
    weights: &Tensor<F>,
    packed: &mut Tensor<F>,
    first: u32,
    #[comptime] map: Weights,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= packed.len() {
        terminate!();
    }
    let windows = comptime!(map.windows);
    let term = ABSOLUTE_POS % comptime!(windows.terms());
    let a = ABSOLUTE_POS / comptime!(windows.terms());
    let tap = term / comptime!(windows.stride());
    let c = term % comptime!(windows.stride());
    let mut value = F::new(0.0);
    if a < comptime!(map.outputs)
        && c < comptime!(windows.channels)
        && tap < comptime!(windows.taps)
    {
        let mut at = (a * comptime!(windows.channels) + c) * comptime!(windows.taps) + tap;
        if comptime!(map.transposed) {
            at = (c * comptime!(map.outputs) + a) * comptime!(windows.taps)
                + comptime!(windows.taps - 1)
                - tap;
        }
        value = weights[first as usize + at];
    }
    packed[ABSOLUTE_POS] = value;
}

/// Begins to copy packed weights into shared memory; all threads of the cube take part, and nothing
/// waits.
#[cube]
pub(super) fn order_weights<F: Float>(
    packed: &Tensor<Chunk<F>>,
    into: &mut Shared<[Chunk<F>]>,
    #[comptime] map: Weights,
    #[comptime] threads: usize,
) {
    let across = comptime!(map.windows.terms() / CHUNK);
    let mut place = UNIT_POS as usize;
    while place < comptime!(map.chunks()) {
        let target = place / across * comptime!(row_chunks(map.windows.terms())) + place % across;
        cubecl::frontend::barrier::copy_async(
            &packed.as_slice()[place..place + 1],
            &mut into.as_mut_slice()[target..target + 1],
            8u32,
        );
        place += threads;
    }
}
