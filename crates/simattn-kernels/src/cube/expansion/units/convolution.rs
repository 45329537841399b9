use cubecl::cmma::{self, Matrix, MatrixIdent, MatrixLayout};
use cubecl::prelude::*;

use super::plan::MapPlan;
use super::weights::Packed;
use crate::cube::expansion::stage::Stage;
use crate::cube::units::{Units, no_sums, store_results, zero};

/// Sets the input rows of `chunks` chunks from number `first_chunk` on into `staged` [chunks·(chunk
/// + κ − 1), stride], positions by channels: `x[n, c, d]` [N, C, P] through the ReLU if there is
/// one, zeros beyond a row's ends. Chunks from `end_chunk` on are zeros too. All threads of the
/// cube take part.
#[cube]
pub(super) fn stage_windows<F: Float, N: Size>(
    staged: &mut Shared<[F]>,
    x: &Tensor<Vector<F, N>>,
    first_chunk: usize,
    end_chunk: usize,
    #[comptime] chunk: usize,
    #[comptime] chunks: usize,
    #[comptime] stage: Stage,
    #[comptime] threads: usize,
    #[comptime] units: Units,
) {
    let size = N::value().comptime();
    let channels = comptime!(units.padded(stage.inputs));
    let stride = comptime!(units.stride(stage.inputs));
    let padding = comptime!((stage.taps - 1) / 2);
    // Whole vectors cover what the windows reach to the left and to the right.
    let beside = comptime!(((stage.taps - 1) / 2).next_multiple_of(size));
    let reach = comptime!(chunk + stage.taps - 1);
    let across =
        comptime!((chunk + 2 * ((stage.taps - 1) / 2).next_multiple_of(size)).div_ceil(size));
    let chunks_of_row = comptime!(stage.positions.div_ceil(chunk));
    let mut place = UNIT_POS as usize;
    while place < comptime!(chunks * channels * across) {
        let vector = place % across;
        let line = place / across;
        let c = line % channels;
        let part = line / channels;
        let number = first_chunk + part;
        let n = number / chunks_of_row;
        // Beside `beside`, so that nothing is below zero.
        let position = number % chunks_of_row * chunk + vector * size;
        let mut value = Vector::<F, N>::zeroed();
        if number < end_chunk
            && c < comptime!(stage.inputs)
            && position >= beside
            && position < comptime!(stage.positions) + beside
        {
            value = x[((n * comptime!(stage.inputs) + c) * comptime!(stage.positions) + position
                - beside)
                / size];
        }
        #[unroll]
        for i in 0..size {
            let row = vector * size + i + padding;
            if row >= beside && row - beside < reach {
                let mut one = value.extract(i);
                if comptime!(stage.relu) {
                    one = select(one > F::new(0.0), one, F::new(0.0));
                }
                staged[(part * reach + row - beside) * stride + c] = one;
            }
        }
        place += threads;
    }
}

/// `sums[i, a] += Σ_j Σ_c staged[i + j, c] · packed[j, a, c]` for the plane's rows i: the inputs of
/// a chunk's rows begin where those of the chunk do, `reach` rows a chunk.
#[cube]
pub(super) fn convolve<F: Float>(
    sums: &Sequence<Matrix<f32>>,
    staged: &Shared<[F]>,
    #[comptime] stride: usize,
    packed: &Tensor<F>,
    #[comptime] sizes: Packed,
    #[comptime] chunk: usize,
    #[comptime] reach: usize,
    #[comptime] units: Units,
) {
    let results = comptime!(sums.len() / units.shares);
    let staged_end = staged.len();
    let packed_end = packed.len();
    for tap in 0..comptime!(sizes.taps) {
        for step in 0..comptime!(sizes.inputs / units.depth) {
            let term = step * comptime!(units.depth);
            let mut lefts = Sequence::<Matrix<F>>::new();
            #[unroll]
            for share in 0..comptime!(units.shares) {
                let row =
                    UNIT_POS_Y as usize * comptime!(units.rows()) + comptime!(share * units.side);
                let from = row / chunk * reach + row % chunk + tap;
                let mut left = zero::<F>(MatrixIdent::A, MatrixLayout::RowMajor, units);
                cmma::load(
                    &mut left,
                    staged.slice(from * stride + term, staged_end),
                    comptime!(stride as u32),
                );
                lefts.push(left);
            }
            #[unroll]
            for result in 0..results {
                let at = (tap * comptime!(sizes.outputs) + comptime!(result * units.side))
                    * comptime!(sizes.inputs)
                    + term;
                let mut right = zero::<F>(MatrixIdent::B, MatrixLayout::ColMajor, units);
                cmma::load(
                    &mut right,
                    packed.slice(at, packed_end),
                    comptime!(sizes.inputs as u32),
                );
                #[unroll]
                for share in 0..comptime!(units.shares) {
                    let sum = sums.index(comptime!(share * results + result));
                    cmma::execute(lefts.index(share), &right, sum, sum);
                }
            }
        }
    }
}

/// [`expansion_stage`](crate::cube::expansion::stage::expansion_stage) for a map along the heads,
/// through matrix units: a convolution over the positions as κ products of shifted rows, positions
/// by channels, with the weights of one tap each. Positions stand in shared memory once; the
/// weights, [`Packed`], are read from device memory, where all cubes read the same few.
///
/// One cube takes [`MapPlan::chunks`] chunks of positions and all output channels.
#[cube(launch, address_type = "dynamic")]
pub(super) fn expansion_convolution<F: Float, N: Size>(
    x: &Tensor<Vector<F, N>>,
    packed: &Tensor<F>,
    biases: &Tensor<F>,
    gate: &Tensor<Vector<F, N>>,
    y: &mut Tensor<Vector<F, N>>,
    first_bias: u32,
    #[comptime] plan: MapPlan,
    #[comptime] sizes: Packed,
    #[define(F)] _element: ElemType,
) {
    let stage = comptime!(plan.stage);
    let units = comptime!(plan.units);
    let size = N::value().comptime();
    let threads = comptime!(plan.threads());
    let stride = comptime!(units.stride(stage.inputs));
    let results = comptime!(units.results(stage.outputs));
    let at_once = comptime!(plan.columns / units.side);
    let line = comptime!(plan.line());
    let chunk = comptime!(plan.chunk);
    let chunks_of_row = comptime!(plan.chunks_of_row());
    let rows = y.len() * size / comptime!(stage.outputs * stage.positions);
    let end_chunk = rows * chunks_of_row;
    let first_chunk = (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * comptime!(plan.chunks);

    let mut staged = Shared::<[F]>::new_aligned_slice(
        comptime!(plan.chunks * plan.reach() * units.stride(stage.inputs)),
        32usize,
    );
    let mut scratch =
        Shared::<[f32]>::new_aligned_slice(comptime!(plan.lines() * plan.line()), 32usize);
    let sums = no_sums(results, units);
    stage_windows::<F, N>(
        &mut staged,
        x,
        first_chunk,
        end_chunk,
        chunk,
        comptime!(plan.chunks),
        stage,
        threads,
        units,
    );
    sync_cube();
    convolve::<F>(
        &sums,
        &staged,
        stride,
        packed,
        sizes,
        chunk,
        comptime!(plan.reach()),
        units,
    );
    let across = comptime!(plan.rows() / size);
    #[unroll]
    for group in 0..comptime!(results.div_ceil(at_once)) {
        let here = comptime!(at_once.min(results - group * at_once));
        sync_cube();
        store_results(
            &mut scratch,
            &sums,
            comptime!(group * at_once),
            here,
            results,
            line,
            true,
            units,
        );
        sync_cube();
        let mut place = UNIT_POS as usize;
        while place < comptime!(here * units.side * across) {
            let row = place % across * size;
            let column = place / across;
            let a = comptime!(group * at_once * units.side) + column;
            let number = first_chunk + row / chunk;
            let n = number / chunks_of_row;
            let position = number % chunks_of_row * chunk + row % chunk;
            if number < end_chunk
                && a < comptime!(stage.outputs)
                && position < comptime!(stage.positions)
            {
                let at = ((n * comptime!(stage.outputs) + a) * comptime!(stage.positions)
                    + position)
                    / size;
                let mut bias = f32::new(0.0);
                if comptime!(stage.bias) {
                    bias = f32::cast_from(biases[first_bias as usize + a]);
                }
                let mut value = Vector::<F, N>::empty();
                #[unroll]
                for i in 0..size {
                    let mut one = scratch[column * line + row + i] + bias;
                    if comptime!(stage.gated) {
                        let open = f32::cast_from(gate[at].extract(i)) > f32::new(0.0);
                        one = select(open, one, f32::new(0.0));
                    }
                    if comptime!(stage.residual) {
                        one += f32::cast_from(x[at].extract(i));
                    }
                    value.insert(i, F::cast_from(one));
                }
                y[at] = value;
            }
            place += threads;
        }
    }
}
