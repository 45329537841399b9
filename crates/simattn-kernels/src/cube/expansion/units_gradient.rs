use cubecl::cmma::{self, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::stage::Stage;
use super::units_convolution::stage_windows;
use super::units_map::stage_lines;
use super::units_weights::Packed;
use crate::cube::units::{Units, no_sums, zero};

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

/// `sums[s, j, a, c] = Σ dy[n, a, d] · x[n, c, d + j − (κ−1)/2]` over the chunks of slice s, and after them `sums[s, a] = Σ dy[n, a,
/// d]`, for a map along the heads, through matrix units. One cube a slice.
#[cube(launch, address_type = "dynamic")]
pub(super) fn convolution_weight_gradient<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    dy: &Tensor<Vector<F, N>>,
    sums: &mut Tensor<f32>,
    chunks_of_slice: u32,
    #[comptime] plan: GradientPlan,
    #[define(F)] _element: ElemType,
) {
    let stage = comptime!(plan.stage);
    let units = comptime!(plan.units);
    let sizes = comptime!(plan.sizes);
    let size = N::value().comptime();
    let threads = comptime!(plan.threads());
    let chunk = comptime!(plan.chunk);
    let chunks_of_row = comptime!(stage.positions.div_ceil(chunk));
    let input_stride = comptime!(units.stride(stage.inputs));
    let output_stride = comptime!(units.stride(chunk));
    let pairs = comptime!(plan.pairs_of_plane());
    let across = comptime!(units.results(sizes.inputs));
    let rows = dy.len() * size / comptime!(stage.outputs * stage.positions);
    let slice = CUBE_POS_X as usize;
    let mut number = slice * chunks_of_slice as usize;
    let mut end = number + chunks_of_slice as usize;
    if end > rows * chunks_of_row {
        end = rows * chunks_of_row;
    }

    let mut of_outputs =
        Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(plan.of_outputs() / size), 32usize);
    let mut of_inputs = Shared::<[F]>::new_aligned_slice(comptime!(plan.of_inputs()), 32usize);
    let outputs_end = of_outputs.len();
    let inputs_end = of_inputs.len();
    let products = no_sums(comptime!(pairs * stage.taps), comptime!(units.sharing(1)));
    let mut bias = Array::<f32>::new(comptime!(sizes.outputs.div_ceil(plan.threads())));
    #[unroll]
    for turn in 0..comptime!(sizes.outputs.div_ceil(plan.threads())) {
        bias[turn] = f32::new(0.0);
    }
    while number < end {
        sync_cube();
        stage_windows::<F, N>(
            &mut of_inputs,
            x,
            number,
            end,
            chunk,
            1usize,
            stage,
            threads,
            units,
        );
        let n = number / chunks_of_row;
        let position = number % chunks_of_row * chunk;
        let mut place = UNIT_POS as usize;
        while place < comptime!(sizes.outputs * chunk / size) {
            let a = place / comptime!(chunk / size);
            let d = position + place % comptime!(chunk / size) * size;
            let mut value = Vector::<F, N>::zeroed();
            if a < comptime!(stage.outputs) && d < comptime!(stage.positions) {
                value = dy
                    [((n * comptime!(stage.outputs) + a) * comptime!(stage.positions) + d) / size];
            }
            of_outputs[a * comptime!(output_stride / size) + place % comptime!(chunk / size)] =
                value;
            place += threads;
        }
        sync_cube();
        #[unroll]
        for turn in 0..comptime!(sizes.outputs.div_ceil(plan.threads())) {
            let a = UNIT_POS as usize + turn * threads;
            if a < comptime!(sizes.outputs) {
                for d in 0..comptime!(chunk / size) {
                    let value = of_outputs[a * comptime!(output_stride / size) + d];
                    #[unroll]
                    for i in 0..size {
                        bias[turn] += f32::cast_from(value.extract(i));
                    }
                }
            }
        }
        #[unroll]
        for turn in 0..pairs {
            let pair = UNIT_POS_Y as usize * pairs + turn;
            let row = pair / across * comptime!(units.side);
            let column = pair % across * comptime!(units.side);
            if row < comptime!(sizes.outputs) {
                for step in 0..comptime!(chunk / units.depth) {
                    let term = step * comptime!(units.depth);
                    let mut left = zero::<F>(MatrixIdent::A, MatrixLayout::RowMajor, units);
                    cmma::load(
                        &mut left,
                        of_outputs.slice((row * output_stride + term) / size, outputs_end),
                        comptime!(output_stride as u32),
                    );
                    #[unroll]
                    for tap in 0..comptime!(stage.taps) {
                        let mut right = zero::<F>(MatrixIdent::B, MatrixLayout::RowMajor, units);
                        cmma::load(
                            &mut right,
                            of_inputs.slice((term + tap) * input_stride + column, inputs_end),
                            comptime!(input_stride as u32),
                        );
                        let sum = products.index(comptime!(turn * stage.taps + tap));
                        cmma::execute(&left, &right, sum, sum);
                    }
                }
            }
        }
        number += 1;
    }
    let begin = slice * comptime!(plan.sums());
    let sums_end = sums.len();
    #[unroll]
    for turn in 0..pairs {
        let pair = UNIT_POS_Y as usize * pairs + turn;
        let row = pair / across * comptime!(units.side);
        let column = pair % across * comptime!(units.side);
        if row < comptime!(sizes.outputs) {
            #[unroll]
            for tap in 0..comptime!(stage.taps) {
                let at = begin
                    + (comptime!(tap * sizes.outputs) + row) * comptime!(sizes.inputs)
                    + column;
                cmma::store(
                    sums.slice_mut(at, sums_end),
                    products.index(comptime!(turn * stage.taps + tap)),
                    comptime!(sizes.inputs as u32),
                    MatrixLayout::RowMajor,
                );
            }
        }
    }
    #[unroll]
    for turn in 0..comptime!(sizes.outputs.div_ceil(plan.threads())) {
        let a = UNIT_POS as usize + turn * threads;
        if a < comptime!(sizes.outputs) {
            sums[begin + comptime!(sizes.len()) + a] = bias[turn];
        }
    }
}

/// [`convolution_weight_gradient`] for a map along the features: `sums[s, a, c] = Σ dy[m, a] · x[m, c]`, then `sums[s, a] = Σ dy[m,
/// a]`, over the rows m of slice s.
#[cube(launch, address_type = "dynamic")]
pub(super) fn map_weight_gradient<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    dy: &Tensor<Vector<F, N>>,
    sums: &mut Tensor<f32>,
    chunks_of_slice: u32,
    #[comptime] plan: GradientPlan,
    #[define(F)] _element: ElemType,
) {
    let stage = comptime!(plan.stage);
    let units = comptime!(plan.units);
    let sizes = comptime!(plan.sizes);
    let size = N::value().comptime();
    let threads = comptime!(plan.threads());
    let chunk = comptime!(plan.chunk);
    let input_stride = comptime!(units.stride(stage.inputs));
    let output_stride = comptime!(units.stride(stage.outputs));
    let pairs = comptime!(plan.pairs_of_plane());
    let across = comptime!(units.results(sizes.inputs));
    let slice = CUBE_POS_X as usize;
    let mut row_of_chunk = slice * chunks_of_slice as usize * chunk;
    let mut end = row_of_chunk + chunks_of_slice as usize * chunk;
    let rows = dy.len() * size / comptime!(stage.outputs);
    if end > rows {
        end = rows;
    }

    let mut of_outputs =
        Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(plan.of_outputs() / size), 32usize);
    let mut of_inputs =
        Shared::<[Vector<F, N>]>::new_aligned_slice(comptime!(plan.of_inputs() / size), 32usize);
    let outputs_end = of_outputs.len();
    let inputs_end = of_inputs.len();
    let products = no_sums(pairs, comptime!(units.sharing(1)));
    let vectors = comptime!(sizes.outputs / size);
    let turns = comptime!((sizes.outputs / size).div_ceil(plan.threads()));
    let mut bias = Array::<f32>::new(comptime!(turns * size));
    #[unroll]
    for turn in 0..comptime!(turns * size) {
        bias[turn] = f32::new(0.0);
    }
    while row_of_chunk < end {
        sync_cube();
        stage_lines::<F, N>(
            &mut of_inputs,
            x,
            row_of_chunk,
            end,
            chunk,
            comptime!(stage.inputs),
            comptime!(stage.relu),
            threads,
            units,
        );
        stage_lines::<F, N>(
            &mut of_outputs,
            dy,
            row_of_chunk,
            end,
            chunk,
            comptime!(stage.outputs),
            false,
            threads,
            units,
        );
        sync_cube();
        #[unroll]
        for turn in 0..turns {
            let vector = UNIT_POS as usize + turn * threads;
            if vector < vectors {
                for row in 0..chunk {
                    let value = of_outputs[row * comptime!(output_stride / size) + vector];
                    #[unroll]
                    for i in 0..size {
                        bias[turn * size + i] += f32::cast_from(value.extract(i));
                    }
                }
            }
        }
        #[unroll]
        for turn in 0..pairs {
            let pair = UNIT_POS_Y as usize * pairs + turn;
            let row = pair / across * comptime!(units.side);
            let column = pair % across * comptime!(units.side);
            if row < comptime!(sizes.outputs) {
                for step in 0..comptime!(chunk / units.depth) {
                    let term = step * comptime!(units.depth);
                    let mut left = zero::<F>(MatrixIdent::A, MatrixLayout::ColMajor, units);
                    cmma::load(
                        &mut left,
                        of_outputs.slice((term * output_stride + row) / size, outputs_end),
                        comptime!(output_stride as u32),
                    );
                    let mut right = zero::<F>(MatrixIdent::B, MatrixLayout::RowMajor, units);
                    cmma::load(
                        &mut right,
                        of_inputs.slice((term * input_stride + column) / size, inputs_end),
                        comptime!(input_stride as u32),
                    );
                    let sum = products.index(turn);
                    cmma::execute(&left, &right, sum, sum);
                }
            }
        }
        row_of_chunk += chunk;
    }
    let begin = slice * comptime!(plan.sums());
    let sums_end = sums.len();
    #[unroll]
    for turn in 0..pairs {
        let pair = UNIT_POS_Y as usize * pairs + turn;
        let row = pair / across * comptime!(units.side);
        let column = pair % across * comptime!(units.side);
        if row < comptime!(sizes.outputs) {
            let at = begin + row * comptime!(sizes.inputs) + column;
            cmma::store(
                sums.slice_mut(at, sums_end),
                products.index(turn),
                comptime!(sizes.inputs as u32),
                MatrixLayout::RowMajor,
            );
        }
    }
    #[unroll]
    for turn in 0..turns {
        let vector = UNIT_POS as usize + turn * threads;
        if vector < vectors {
            #[unroll]
            for i in 0..size {
                sums[begin + comptime!(sizes.len()) + vector * size + i] = bias[turn * size + i];
            }
        }
    }
}

/// Adds the slices, in their order, into the weights [A, C, κ] and the bias [A] that follow one another from `gradients[first]` on;
/// one thread a value.
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
