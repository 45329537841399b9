//! Gradients of weights by minimal filtering.

use pulp::{Simd, WithSimd};

use super::points::{spread_gradients, spread_inputs};
use super::{OUTPUTS, POINTS};
use crate::cpu::correlate::{Rows, correlate};

/// The gradient of a convolution's weights from one chunk, one vector of tokens, at the points.
pub(in crate::cpu::expansion) struct MinimalCorrelation {
    /// Heads that came in.
    pub(in crate::cpu::expansion) inputs: usize,
    /// Heads that went out.
    pub(in crate::cpu::expansion) outputs: usize,
    /// Features, a multiple of 4.
    pub(in crate::cpu::expansion) width: usize,
    /// What came in: width + 4 planes of `inputs` vectors.
    pub(in crate::cpu::expansion) from: *const f32,
    /// Gradient of what went out: `width` planes of `outputs` vectors.
    pub(in crate::cpu::expansion) gradient: *const f32,
    /// [8][outputs][inputs], added to.
    pub(in crate::cpu::expansion) sums: *mut f32,
    /// [`room`](super::room) values.
    pub(in crate::cpu::expansion) room: *mut f32,
}

impl WithSimd for MinimalCorrelation {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            inputs, outputs, ..
        } = self;
        let lanes = S::F32_LANES;
        let tiles = self.width / OUTPUTS;
        let (plane_in, plane_out) = (inputs * lanes, outputs * lanes);
        let gradients = self.room;
        let spread = gradients.wrapping_add(POINTS * tiles * plane_out);
        // SAFETY: planes as in `MinimalConvolution`; the room holds a vector for each point, tile
        // and head on both sides.
        unsafe {
            for tile in 0..tiles {
                for head in 0..outputs {
                    let g = self.gradient.add(tile * OUTPUTS * plane_out + head * lanes);
                    let to = gradients.add(tile * plane_out + head * lanes);
                    spread_gradients(simd, g, plane_out, to, tiles * plane_out);
                }
                for head in 0..inputs {
                    let x = self.from.add(tile * OUTPUTS * plane_in + head * lanes);
                    let to = spread.add(tile * plane_in + head * lanes);
                    spread_inputs(simd, x, plane_in, to, tiles * plane_in);
                }
            }
            let rows = |pointer: *const f32, plane: usize| Rows {
                pointer,
                row_stride: lanes,
                step_stride: plane,
            };
            for p in 0..POINTS {
                correlate(
                    simd,
                    outputs,
                    inputs,
                    tiles,
                    rows(gradients.add(p * tiles * plane_out), plane_out),
                    rows(spread.add(p * tiles * plane_in), plane_in),
                    self.sums.add(p * outputs * inputs),
                );
            }
        }
    }
}
