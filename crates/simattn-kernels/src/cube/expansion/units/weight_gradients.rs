//! How weight gradients are cut into cubes, and the sum of their slices.

use cubecl::prelude::*;

use super::weights::Packed;
use crate::cube::expansion::stage::Stage;
use crate::cube::units::Units;

/// Rows of a map along the features that are summed at a time.
const ROWS: usize = 64;
/// Positions of a convolution that are summed at a time, at most.
const POSITIONS: usize = 64;
/// Planes of a cube, at most.
const PLANES: usize = 8;

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GradientPlan {
    pub stage: Stage,
    pub units: Units,
    pub sizes: Packed,
    /// Rows or positions that are summed at a time.
    pub chunk: usize,
}

impl GradientPlan {
    /// The plan for a device whose cubes have that much shared memory, if its buffers fit.
    pub fn of(stage: Stage, units: Units, shared_memory: usize) -> Option<Self> {
        let most = match stage.positions {
            1 => ROWS,
            positions => positions.min(POSITIONS),
        };
        let sizes = Packed::of(&stage, units);
        let mut chunk = most.next_multiple_of(units.side.max(units.depth));
        while chunk >= units.side.max(units.depth) {
            let plan = Self {
                stage,
                units,
                sizes,
                chunk,
            };
            if plan.shared_bytes() <= shared_memory && chunk.is_multiple_of(units.padded(1)) {
                return Some(plan);
            }
            chunk /= 2;
        }
        None
    }

    /// Results of the unit that make one tap's weights.
    fn pairs(&self) -> usize {
        self.units.results(self.sizes.outputs) * self.units.results(self.sizes.inputs)
    }

    /// How many of them a plane works out.
    pub fn pairs_of_plane(&self) -> usize {
        self.pairs().div_ceil(PLANES)
    }

    pub fn planes(&self) -> usize {
        self.pairs().div_ceil(self.pairs_of_plane())
    }

    pub fn threads(&self) -> usize {
        self.planes() * self.units.plane
    }

    /// Chunks that hold `rows` rows (n, d).
    pub fn chunks(&self, rows: usize) -> usize {
        match self.stage.positions {
            1 => rows.div_ceil(self.chunk),
            positions => rows / positions * positions.div_ceil(self.chunk),
        }
    }

    /// Values of a slice's sums: the weights, [`Packed`], then the bias.
    pub fn sums(&self) -> usize {
        self.sizes.len() + self.sizes.outputs
    }

    /// Values of the gradients of the outputs in shared memory.
    pub fn of_outputs(&self) -> usize {
        match self.stage.positions {
            1 => self.chunk * self.units.stride(self.stage.outputs),
            _ => self.sizes.outputs * self.units.stride(self.chunk),
        }
    }

    /// Values of the inputs in shared memory.
    pub fn of_inputs(&self) -> usize {
        (self.chunk + self.stage.taps - 1) * self.units.stride(self.stage.inputs)
    }

    fn shared_bytes(&self) -> usize {
        (self.of_outputs() + self.of_inputs()) * self.units.bytes
    }
}

/// Adds the slices, in their order, into the weights [A, C, κ] and the bias [A] that follow one
/// another from `gradients[first]` on; one thread a value.
#[cube(launch, address_type = "dynamic")]
pub(super) fn sum_packed_slices<F: Float>(
    sums: &Tensor<f32>,
    gradients: &mut Tensor<F>,
    first: u32,
    #[comptime] plan: GradientPlan,
    #[define(F)] _element: ElemType,
) {
    let stage = comptime!(plan.stage);
    let sizes = comptime!(plan.sizes);
    let places = comptime!(stage.inputs * stage.taps);
    let value = ABSOLUTE_POS;
    if value >= comptime!(stage.outputs * (places + 1)) {
        terminate!();
    }
    let a = value / places;
    let c = value % places / comptime!(stage.taps);
    let tap = value % comptime!(stage.taps);
    let mut at = (tap * comptime!(sizes.outputs) + a) * comptime!(sizes.inputs) + c;
    if value >= comptime!(stage.outputs * places) {
        at = comptime!(sizes.len()) + value - comptime!(stage.outputs * places);
    }
    let mut sum = f32::new(0.0);
    for slice in 0..sums.shape(0) {
        sum += sums[slice * comptime!(plan.sums()) + at];
    }
    gradients[first as usize + value] = F::cast_from(sum);
}
