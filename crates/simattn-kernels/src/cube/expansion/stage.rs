use cubecl::prelude::*;

use crate::cube::tile::{DEPTH, SIDE, STRIP, zeros};

/// What one map is, and what a kernel is compiled for.
///
/// A map along the heads is a convolution over the features: the heads are its channels, the
/// features its positions. A map along the features is one with a single position: the features are
/// its channels, every head of every token a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Stage {
    /// Channels of the input, C.
    pub inputs: usize,
    /// Channels of the output, A.
    pub outputs: usize,
    /// Positions, P.
    pub positions: usize,
    /// Odd width of the window over the positions, κ.
    pub taps: usize,
    /// Whether the map's transpose is meant: weights are [C, A, κ], and the window is mirrored.
    pub transposed: bool,
    /// Whether the input goes through a ReLU.
    pub relu: bool,
    /// Whether a bias [A] is added.
    pub bias: bool,
    /// Whether the result counts only where `gate` [N, A, P] is above zero: the derivative of a
    /// ReLU.
    pub gated: bool,
    /// Whether the input, before its ReLU, is added to the result.
    pub residual: bool,
    /// Rows and columns of a tile.
    pub tile: usize,
}

impl Stage {
    /// How many products make one result.
    pub fn depth(&self) -> usize {
        self.inputs * self.taps
    }
}

/// `x[n, c, d + k − (κ−1)/2]`, mirrored for a transpose, through the ReLU if there is one; zero
/// outside. Row `m` is (n, d), place `e` is (c, k).
#[cube]
pub(super) fn window<F: Float>(
    x: &Tensor<F>,
    m: usize,
    e: usize,
    rows: usize,
    #[comptime] stage: Stage,
) -> f32 {
    let n = m / comptime!(stage.positions);
    let d = m % comptime!(stage.positions);
    let c = e / comptime!(stage.taps);
    let k = e % comptime!(stage.taps);
    let padding = comptime!((stage.taps - 1) / 2);
    // Beside `padding`, so that nothing is below zero.
    let mut at = d + k;
    if comptime!(stage.transposed) {
        at = d + 2 * padding - k;
    }
    let inside = m < rows
        && e < comptime!(stage.inputs * stage.taps)
        && at >= padding
        && at < comptime!(stage.positions + (stage.taps - 1) / 2);
    let mut value = f32::new(0.0);
    if inside {
        value = f32::cast_from(
            x[(n * comptime!(stage.inputs) + c) * comptime!(stage.positions) + at - padding],
        );
        if comptime!(stage.relu) {
            value = select(value > f32::new(0.0), value, f32::new(0.0));
        }
    }
    value
}

/// The weight of output channel `a` at place `e`, which is (c, k).
#[cube]
fn weight<F: Float>(
    weights: &Tensor<F>,
    first: usize,
    a: usize,
    e: usize,
    #[comptime] stage: Stage,
) -> f32 {
    let mut value = f32::new(0.0);
    if a < comptime!(stage.outputs) && e < comptime!(stage.inputs * stage.taps) {
        let mut at = a * comptime!(stage.inputs * stage.taps) + e;
        if comptime!(stage.transposed) {
            let c = e / comptime!(stage.taps);
            let k = e % comptime!(stage.taps);
            at = (c * comptime!(stage.outputs) + a) * comptime!(stage.taps) + k;
        }
        value = f32::cast_from(weights[first + at]);
    }
    value
}

/// `x` [N, C, P] → `y` [N, A, P]: one cube a tile of rows (n, d), x and z, by output channels, y.
/// The weights [A, C, κ] begin at `weights[first_weight]`, the bias at `weights[first_bias]`.
#[cube(launch, address_type = "dynamic")]
pub(super) fn expansion_stage<F: Float>(
    x: &Tensor<F>,
    weights: &Tensor<F>,
    gate: &Tensor<F>,
    y: &mut Tensor<F>,
    first_weight: u32,
    first_bias: u32,
    #[comptime] stage: Stage,
    #[define(F)] _element: ElemType,
) {
    let tile = comptime!(stage.tile);
    let per_thread = comptime!(tile / SIDE);
    // Neighbouring threads take neighbouring words: positions where there are some, else channels.
    let along_rows = comptime!(stage.positions > 1);
    let rows = y.len() / comptime!(stage.outputs);
    let row = (CUBE_POS_Z * CUBE_COUNT_X + CUBE_POS_X) as usize * tile;
    let channel = CUBE_POS_Y as usize * tile;
    let first = first_weight as usize;

    let mut of_rows = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut of_channels = Shared::<[f32]>::new_slice(comptime!(tile * STRIP));
    let mut sums = zeros(comptime!(per_thread * per_thread));
    let mut values = Array::<f32>::new(per_thread);
    let mut my_row = UNIT_POS_Y as usize;
    let mut my_channel = UNIT_POS_X as usize;
    if comptime!(along_rows) {
        my_row = UNIT_POS_X as usize;
        my_channel = UNIT_POS_Y as usize;
    }
    for strip in 0..comptime!((stage.inputs * stage.taps).div_ceil(DEPTH)) {
        sync_cube();
        #[unroll]
        for turn in 0..comptime!(tile * DEPTH / (SIDE * SIDE)) {
            let place = UNIT_POS as usize + turn * comptime!(SIDE * SIDE);
            let mut line = place / DEPTH;
            let mut column = place % DEPTH;
            if comptime!(along_rows) {
                line = place % tile;
                column = place / tile;
            }
            of_rows[line * STRIP + column] =
                window::<F>(x, row + line, strip * DEPTH + column, rows, stage);
            let mut line = place / DEPTH;
            let mut column = place % DEPTH;
            if comptime!(stage.transposed) {
                line = place % tile;
                column = place / tile;
            }
            of_channels[line * STRIP + column] = weight::<F>(
                weights,
                first,
                channel + line,
                strip * DEPTH + column,
                stage,
            );
        }
        sync_cube();
        for e in 0..DEPTH {
            #[unroll]
            for i in 0..per_thread {
                values[i] = of_rows[(my_row + i * SIDE) * STRIP + e];
            }
            #[unroll]
            for j in 0..per_thread {
                let value = of_channels[(my_channel + j * SIDE) * STRIP + e];
                #[unroll]
                for i in 0..per_thread {
                    sums[i * per_thread + j] += values[i] * value;
                }
            }
        }
    }
    #[unroll]
    for i in 0..per_thread {
        let m = row + my_row + i * SIDE;
        let n = m / comptime!(stage.positions);
        let d = m % comptime!(stage.positions);
        #[unroll]
        for j in 0..per_thread {
            let a = channel + my_channel + j * SIDE;
            if m < rows && a < comptime!(stage.outputs) {
                let at = (n * comptime!(stage.outputs) + a) * comptime!(stage.positions) + d;
                let mut value = sums[i * per_thread + j];
                if comptime!(stage.bias) {
                    value += f32::cast_from(weights[first_bias as usize + a]);
                }
                if comptime!(stage.gated) {
                    let open = f32::cast_from(gate[at]) > f32::new(0.0);
                    value = select(open, value, f32::new(0.0));
                }
                if comptime!(stage.residual) {
                    value += f32::cast_from(x[at]);
                }
                y[at] = F::cast_from(value);
            }
        }
    }
}
