use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::cube::rows::cubes;
use crate::cube::tensor::{addresses, element, unwritten};

/// Sums that lie beside one another in a cube of [`sum_map_slices`], and threads that share each.
const BESIDE: usize = 32;
const SHARES: usize = 8;

/// Into how many slices a sum is cut, at most: by the shape alone, so that the same shape gives the
/// same bits.
pub(super) const SLICES: usize = 384;

/// How the sums of one map's weights lie in a slice: [lines, columns], of a line first [κ, stride]
/// and then, in column `bias`, that of the bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slice {
    /// Output channels, and lines with those beyond them.
    pub outputs: usize,
    pub lines: usize,
    pub columns: usize,
    pub bias: usize,
    pub taps: usize,
    pub stride: usize,
    /// Input channels.
    pub inputs: usize,
}

impl Slice {
    fn values(&self) -> usize {
        self.lines * self.columns
    }

    /// Room for the sums of `count` slices.
    pub fn room(&self, count: usize, like: &CubeTensor) -> CubeTensor {
        unwritten(like, [count, self.values()], DType::F32)
    }

    /// Adds the slices, in a fixed order, into the weights [A, C, κ] and the bias [A] that follow
    /// one another from place `first` on in `gradients`.
    pub fn add(self, sums: CubeTensor, gradients: &CubeTensor, first: usize) {
        sum_map_slices::launch(
            &gradients.client,
            cubes(self.values().div_ceil(BESIDE)),
            CubeDim::new_1d((BESIDE * SHARES) as u32),
            addresses(&[&sums, gradients]),
            sums.into_tensor_arg(),
            gradients.clone().into_tensor_arg(),
            first as u32,
            self,
            element(gradients),
        );
    }
}

#[cube(launch, address_type = "dynamic")]
fn sum_map_slices<F: Float>(
    sums: &Tensor<f32>,
    gradients: &mut Tensor<F>,
    first: u32,
    #[comptime] form: Slice,
    #[define(F)] _element: ElemType,
) {
    let place =
        (CUBE_POS_Y * CUBE_COUNT_X + CUBE_POS_X) as usize * BESIDE + UNIT_POS as usize % BESIDE;
    let share = UNIT_POS as usize / BESIDE;
    let mut shares = Shared::<[f32]>::new_slice(comptime!(BESIDE * SHARES));
    let mut sum = f32::new(0.0);
    if place < comptime!(form.values()) {
        let mut slice = share;
        while slice < sums.shape(0) {
            sum += sums[slice * comptime!(form.values()) + place];
            slice += comptime!(SHARES);
        }
    }
    shares[UNIT_POS as usize] = sum;
    sync_cube();
    if share == 0 && place < comptime!(form.values()) {
        #[unroll]
        for other in 1..SHARES {
            sum += shares[comptime!(other * BESIDE) + place % BESIDE];
        }
        let a = place / comptime!(form.columns);
        let column = place % comptime!(form.columns);
        let tap = column / comptime!(form.stride);
        let c = column % comptime!(form.stride);
        if a < comptime!(form.outputs) {
            if column == comptime!(form.bias) {
                let biases = comptime!(form.outputs * form.inputs * form.taps);
                gradients[first as usize + biases + a] = F::cast_from(sum);
            } else if tap < comptime!(form.taps) && c < comptime!(form.inputs) {
                let weight = (a * comptime!(form.inputs) + c) * comptime!(form.taps) + tap;
                gradients[first as usize + weight] = F::cast_from(sum);
            }
        }
    }
}
