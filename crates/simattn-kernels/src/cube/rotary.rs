//! Rotary positions on CubeCL devices.

use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::tensor::{addresses, element, unwritten};

/// `x` [B, T, H, W] rotated by the tables of its T positions, one thread a value; `sign` −1 turns
/// back. See its definition.
#[cube(launch, address_type = "dynamic")]
fn rotate_pairs<F: Float, T: Float>(
    x: &Tensor<F>,
    table: &Tensor<T>,
    y: &mut Tensor<F>,
    first: u32,
    sign: f32,
    #[comptime] half: usize,
    #[define(F, T)] _elements: [ElemType; 2],
) {
    if ABSOLUTE_POS >= y.len() {
        terminate!();
    }
    let feature = ABSOLUTE_POS % x.shape(3);
    let tokens = x.shape(1);
    let token = ABSOLUTE_POS / (x.shape(3) * x.shape(2)) % tokens;
    let mut value = f32::cast_from(x[ABSOLUTE_POS]);
    if feature < comptime!(2 * half) {
        let pair = feature % half;
        let at = first as usize + token * half + pair;
        let cos = f32::cast_from(table[at]);
        let sin = f32::cast_from(table[at + tokens * half]) * sign;
        if feature < half {
            value = value * cos - f32::cast_from(x[ABSOLUTE_POS + half]) * sin;
        } else {
            value = value * cos + f32::cast_from(x[ABSOLUTE_POS - half]) * sin;
        }
    }
    y[ABSOLUTE_POS] = F::cast_from(value);
}

/// The cosines [T, half] and sines [T, half] for a tensor's positions, one after the other in a
/// flat tensor.
#[derive(Clone)]
pub(crate) struct Rotation {
    /// All tables.
    pub table: CubeTensor,
    /// Where these begin.
    pub first: usize,
    /// Pairs of features.
    pub half: usize,
}

impl Rotation {
    /// Contiguous `x` [B, T, H, W], rotated.
    pub fn apply(&self, x: &CubeTensor) -> CubeTensor {
        self.turn(x, 1.0)
    }

    /// The gradient of [`Self::apply`]'s input from that of its output: the rotation back.
    pub fn undo(&self, dy: &CubeTensor) -> CubeTensor {
        self.turn(dy, -1.0)
    }

    fn turn(&self, x: &CubeTensor, sign: f32) -> CubeTensor {
        let y = unwritten(x, x.meta.shape().clone(), x.dtype);
        let values = y.meta.num_elements();
        if values > 0 {
            rotate_pairs::launch(
                &x.client,
                calculate_cube_count_elemwise(&x.client, values, CubeDim::new_1d(256)),
                CubeDim::new_1d(256),
                addresses(&[x, &y]),
                x.clone().into_tensor_arg(),
                self.table.clone().into_tensor_arg(),
                y.clone().into_tensor_arg(),
                self.first as u32,
                sign,
                self.half,
                [element(x), element(&self.table)],
            );
        }
        y
    }
}
