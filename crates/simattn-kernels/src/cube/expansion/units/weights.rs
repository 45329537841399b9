use cubecl::prelude::*;

use crate::cube::expansion::stage::Stage;
use crate::cube::units::Units;

/// How the weights of a map stand for matrix units: [κ, A, C], both padded with zeros, the taps of
/// a transpose mirrored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Packed {
    /// Output channels, padded.
    pub outputs: usize,
    /// Input channels, padded.
    pub inputs: usize,
    /// Width of the window.
    pub taps: usize,
}

impl Packed {
    pub fn of(stage: &Stage, units: Units) -> Self {
        Self {
            outputs: units.padded(stage.outputs),
            inputs: units.padded(stage.inputs),
            taps: stage.taps,
        }
    }

    pub fn len(&self) -> usize {
        self.taps * self.outputs * self.inputs
    }
}

/// `packed[j, a, c]` is the weight of output channel a for input channel c at tap j; one thread a
/// value.
#[cube(launch, address_type = "dynamic")]
pub(super) fn pack_weights<F: Float>(
    weights: &Tensor<F>,
    packed: &mut Tensor<F>,
    first: u32,
    #[comptime] stage: Stage,
    #[comptime] sizes: Packed,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= packed.len() {
        terminate!();
    }
    let c = ABSOLUTE_POS % comptime!(sizes.inputs);
    let row = ABSOLUTE_POS / comptime!(sizes.inputs);
    let a = row % comptime!(sizes.outputs);
    let tap = row / comptime!(sizes.outputs);
    let mut value = F::new(0.0);
    if a < comptime!(stage.outputs) && c < comptime!(stage.inputs) {
        let mut at = (a * comptime!(stage.inputs) + c) * comptime!(stage.taps) + tap;
        if comptime!(stage.transposed) {
            at = (c * comptime!(stage.outputs) + a) * comptime!(stage.taps)
                + comptime!(stage.taps - 1)
                - tap;
        }
        value = weights[first as usize + at];
    }
    packed[ABSOLUTE_POS] = value;
}
