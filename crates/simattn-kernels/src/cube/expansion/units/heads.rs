use cubecl::prelude::*;

use super::convolution::{convolve, stage_windows};
use super::weights::Packed;
use crate::cube::expansion::stage::Stage;
use crate::cube::units::{Units, load_results, no_sums, results_stride, store_results};

/// Rows of a cube, if its memory holds them.
const ROWS: usize = 128;

/// Both maps along the heads in one kernel: what it is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct HeadsPlan {
    /// The first map.
    pub first: Stage,
    /// The second one.
    pub second: Stage,
    pub units: Units,
    /// Tokens of a cube.
    pub tokens: usize,
    /// Whether the first map's result is written too: backward reads it.
    pub keep: bool,
}

impl HeadsPlan {
    /// The plan of most tokens that fits into a cube's shared memory, if there is one.
    pub fn fitting(self, shared_memory: usize) -> Option<Self> {
        let mut tokens = ROWS / self.chunk();
        while tokens > 0 {
            let shares = if (self.chunk() * tokens / self.units.side).is_multiple_of(2) {
                2
            } else {
                1
            };
            let plan = Self {
                tokens,
                units: self.units.sharing(shares),
                ..self
            };
            let inputs = plan.tokens * plan.reach();
            let bytes = plan.units.staged(inputs, plan.first.inputs)
                + plan.units.staged(inputs, plan.first.outputs)
                + 4 * plan.scratch();
            if bytes <= shared_memory {
                return Some(plan);
            }
            tokens /= 2;
        }
        None
    }

    /// Rows of a token: its positions, padded.
    pub fn chunk(&self) -> usize {
        self.first.positions.next_multiple_of(self.units.side)
    }

    /// Rows of a token's input: its positions and what the windows reach beyond.
    pub fn reach(&self) -> usize {
        self.chunk() + self.first.taps - 1
    }

    /// Rows of a cube.
    pub fn rows(&self) -> usize {
        self.chunk() * self.tokens
    }

    pub fn threads(&self) -> usize {
        self.rows() / self.units.rows() * self.units.plane
    }

    /// Float32 values between two rows of results, positions by channels.
    pub fn row_line(&self) -> usize {
        results_stride(self.units.padded(self.first.outputs))
    }

    /// Float32 values between two columns of results, channels by positions.
    pub fn column_line(&self) -> usize {
        results_stride(self.rows())
    }

    /// Float32 values that hold all results either way.
    pub fn scratch(&self) -> usize {
        let channels = self.units.padded(self.first.outputs);
        (self.rows() * self.row_line()).max(channels * self.column_line())
    }
}

/// `E1 = conv(x, W1) + b1`, `y = E1 + conv(relu(E1), W2) + b2`, convolutions over the positions:
/// `x` [N, C, P] → `y` [N, A, P], with or without the residual and the ReLU, and E1 too where it is
/// kept. One cube takes [`HeadsPlan::tokens`] of the N tokens.
///
/// x is read once and y written once; all between stays in shared memory and in the units'
/// registers.
#[cube(launch, address_type = "dynamic")]
pub(super) fn expand_heads_units<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    packed_first: &Tensor<F>,
    packed_second: &Tensor<F>,
    weights: &Tensor<F>,
    first: &mut Tensor<F>,
    y: &mut Tensor<Vector<F, N>>,
    first_bias: u32,
    second_bias: u32,
    #[comptime] plan: HeadsPlan,
    #[define(F)] _element: ElemType,
) {
    let units = comptime!(plan.units);
    let size = N::value().comptime();
    let outputs = comptime!(plan.first.outputs);
    let positions = comptime!(plan.first.positions);
    let threads = comptime!(plan.threads());
    let results = comptime!(units.results(plan.first.outputs));
    let chunk = comptime!(plan.chunk());
    let reach = comptime!(plan.reach());
    let line = comptime!(plan.row_line());
    let column_line = comptime!(plan.column_line());
    let input_stride = comptime!(units.stride(plan.first.inputs));
    let inner_stride = comptime!(units.stride(plan.first.outputs));
    let padding = comptime!((plan.first.taps - 1) / 2);
    let end = y.len() * size / comptime!(outputs * positions);
    let begin = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * comptime!(plan.tokens);

    let mut staged =
        Shared::<[F]>::new_aligned_slice(comptime!(plan.tokens * reach * input_stride), 32usize);
    let mut inner =
        Shared::<[F]>::new_aligned_slice(comptime!(plan.tokens * reach * inner_stride), 32usize);
    let mut scratch = Shared::<[f32]>::new_aligned_slice(comptime!(plan.scratch()), 32usize);
    let mut sums = no_sums(results, units);
    stage_windows::<F, N>(
        &mut staged,
        x,
        begin,
        end,
        chunk,
        comptime!(plan.tokens),
        comptime!(plan.first),
        threads,
        units,
    );
    // What the second map's windows reach beyond a token's positions.
    let mut place = UNIT_POS as usize;
    while place < comptime!(plan.tokens * reach * inner_stride) {
        inner[place] = F::new(0.0);
        place += threads;
    }
    sync_cube();
    convolve::<F>(
        &sums,
        &staged,
        input_stride,
        packed_first,
        comptime!(Packed::of(&plan.first, plan.units)),
        chunk,
        reach,
        units,
    );
    store_results(
        &mut scratch,
        &sums,
        0usize,
        results,
        results,
        line,
        false,
        units,
    );
    sync_cube();
    let mut place = UNIT_POS as usize;
    while place < comptime!(plan.rows() * outputs) {
        let row = place % comptime!(plan.rows());
        let a = place / comptime!(plan.rows());
        let part = row / chunk;
        let position = row % chunk;
        let at = row * line + a;
        let value = scratch[at] + f32::cast_from(weights[first_bias as usize + a]);
        let mut next = f32::cast_from(weights[second_bias as usize + a]);
        if comptime!(plan.second.residual) {
            next += value;
        }
        scratch[at] = next;
        if position < positions {
            let mut open = value;
            if comptime!(plan.second.relu) {
                open = select(value > f32::new(0.0), value, f32::new(0.0));
            }
            inner[(part * reach + position + padding) * inner_stride + a] = F::cast_from(open);
            if comptime!(plan.keep) {
                if begin + part < end {
                    first[((begin + part) * outputs + a) * positions + position] =
                        F::cast_from(value);
                }
            }
        }
        place += threads;
    }
    sync_cube();
    load_results(&scratch, &mut sums, 0usize, results, results, line, units);
    convolve::<F>(
        &sums,
        &inner,
        inner_stride,
        packed_second,
        comptime!(Packed::of(&plan.second, plan.units)),
        chunk,
        reach,
        units,
    );
    sync_cube();
    store_results(
        &mut scratch,
        &sums,
        0usize,
        results,
        results,
        column_line,
        true,
        units,
    );
    sync_cube();
    let across = comptime!(plan.rows() / size);
    let mut place = UNIT_POS as usize;
    while place < comptime!(outputs * across) {
        let row = place % across * size;
        let a = place / across;
        let part = row / chunk;
        let position = row % chunk;
        if begin + part < end && position < positions {
            let mut value = Vector::<F, N>::empty();
            #[unroll]
            for i in 0..size {
                value.insert(i, F::cast_from(scratch[a * column_line + row + i]));
            }
            y[(((begin + part) * outputs + a) * positions + position) / size] = value;
        }
        place += threads;
    }
}
