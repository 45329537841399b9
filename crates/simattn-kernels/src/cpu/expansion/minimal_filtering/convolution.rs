//! A convolution by minimal filtering.

use pulp::{Simd, WithSimd};

use super::points::{gather_outputs, spread_inputs};
use super::{OUTPUTS, POINTS, TOGETHER};
use crate::cpu::tile::{Finish, Left, Product, Right, Target, load, store};

/// One convolution of a chunk, one vector of tokens.
pub(in crate::cpu::expansion) struct MinimalConvolution<'a> {
    /// [8][outputs][inputs].
    pub(in crate::cpu::expansion) filters: &'a [f32],
    /// Heads that come in.
    pub(in crate::cpu::expansion) inputs: usize,
    /// Heads that go out.
    pub(in crate::cpu::expansion) outputs: usize,
    /// Features, a multiple of 4.
    pub(in crate::cpu::expansion) width: usize,
    /// width + 4 planes of `inputs` vectors.
    pub(in crate::cpu::expansion) from: *const f32,
    /// `width` planes of `outputs` vectors; so are the other operands of `finish`.
    pub(in crate::cpu::expansion) to: *mut f32,
    /// What becomes of the result.
    pub(in crate::cpu::expansion) finish: Finish,
    /// [`room`](super::room) values.
    pub(in crate::cpu::expansion) room: *mut f32,
}

impl WithSimd for MinimalConvolution<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            inputs,
            outputs,
            from,
            ..
        } = self;
        let lanes = S::F32_LANES;
        let (plane, row) = (inputs * lanes, TOGETHER * lanes);
        let spread = self.room;
        let results = spread.wrapping_add(POINTS * inputs * row);
        let tiles = self.width / OUTPUTS;
        // SAFETY: tile t reads planes 4 t .. 4 t + 8 of width + 4 and writes planes 4 t .. 4 t + 4
        // of width; the room holds TOGETHER vectors for each point and head on both sides.
        unsafe {
            for tile in (0..tiles).step_by(TOGETHER) {
                let count = (tiles - tile).min(TOGETHER);
                for head in 0..inputs {
                    for v in 0..count {
                        let x = from.add((tile + v) * OUTPUTS * plane + head * lanes);
                        let to = spread.add(head * row + v * lanes);
                        spread_inputs(simd, x, plane, to, inputs * row);
                    }
                }
                for p in 0..POINTS {
                    Product {
                        rows: outputs,
                        vectors: count,
                        steps: inputs,
                        left: Left::rows(self.filters.as_ptr().add(p * outputs * inputs), inputs),
                        right: Right::rows::<S>(spread.add(p * inputs * row), row),
                        target: Target::rows::<S>(results.add(p * outputs * row), row),
                        finish: Finish::Store,
                    }
                    .run(simd);
                }
                for head in 0..outputs {
                    for v in 0..count {
                        let at = results.add(head * row + v * lanes);
                        let y = gather_outputs(simd, at, outputs * row);
                        for (j, y) in y.into_iter().enumerate() {
                            let feature = (tile + v) * OUTPUTS + j;
                            let place = (feature * outputs + head) * lanes;
                            conclude(simd, self.finish, self.to, place, head, y);
                        }
                    }
                }
            }
        }
    }
}

/// What the tile of a product does with a finished vector of row `row`, for the ways that
/// convolutions end.
///
/// # Safety
/// `place` lies inside the target and the other operands of `finish`.
#[inline(always)]
unsafe fn conclude<S: Simd>(
    simd: S,
    finish: Finish,
    target: *mut f32,
    place: usize,
    row: usize,
    x: S::f32s,
) {
    let zero = simd.splat_f32s(0.0);
    // SAFETY: by the caller's promise; pieces that are left out are not touched.
    unsafe {
        let c = target.wrapping_add(place);
        let masked = |mask: *const f32| {
            simd.select_f32s(
                simd.greater_than_f32s(load(simd, mask.add(place)), zero),
                x,
                zero,
            )
        };
        match finish {
            Finish::Store => store(simd, c, x),
            Finish::Add => store(simd, c, simd.add_f32s(load(simd, c), x)),
            Finish::AddMasked(mask) => {
                store(simd, c, simd.add_f32s(load(simd, c), masked(mask)));
            }
            Finish::Masked(mask) => store(simd, c, masked(mask)),
            Finish::Expand(expand) => {
                let y = simd.add_f32s(x, simd.splat_f32s(*expand.bias.add(row)));
                if expand.keep {
                    let kept = if expand.accumulate {
                        simd.add_f32s(load(simd, c), y)
                    } else {
                        y
                    };
                    store(simd, c, kept);
                }
                if !expand.activated.pointer.is_null() {
                    let y = if expand.relu {
                        simd.max_f32s(y, zero)
                    } else {
                        y
                    };
                    store(simd, expand.activated.pointer.add(place), y);
                }
            }
            Finish::ScaleAdd(_) => unreachable!("no convolution ends so"),
        }
    }
}
