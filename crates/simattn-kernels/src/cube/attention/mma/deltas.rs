use cubecl::prelude::*;

use crate::cube::tensor_cores::Chunk;
use crate::cube::tensor_cores::lanes::CHUNK;
use crate::cube::tile::rows_of;

/// Threads that share a row.
const LANES: usize = 4;

/// [`attention_deltas`](crate::cube::attention::backward::attention_deltas) with four threads to a
/// query, which read 16 bytes at a time: neighbouring threads then read neighbouring memory.
#[cube(launch, address_type = "dynamic")]
pub(super) fn attention_row_deltas<F: Float>(
    out: &Tensor<Chunk<F>>,
    dy: &Tensor<Chunk<F>>,
    deltas: &mut Tensor<f32>,
    #[comptime] width: usize,
    #[define(F)] _element: ElemType,
) {
    let lane = ABSOLUTE_POS % LANES;
    // Threads beyond the last row work it out again: the row's four must meet.
    let row = min(ABSOLUTE_POS / LANES, deltas.len() - 1);
    let token = row % out.shape(2);
    let line = row / out.shape(2);
    let (batch, head) = (line / out.shape(1), line % out.shape(1));
    let of_out = rows_of::<Chunk<F>>(out, batch, head, token);
    let of_dy = rows_of::<Chunk<F>>(dy, batch, head % dy.shape(1), token);
    let out_row = (of_out.base + token * of_out.row_stride) / CHUNK;
    let dy_row = (of_dy.base + token * of_dy.row_stride) / CHUNK;
    let mut sum = f32::new(0.0);
    #[unroll]
    for turn in 0..comptime!((width / CHUNK).div_ceil(LANES)) {
        let chunk = lane + comptime!(turn * LANES);
        if chunk < comptime!(width / CHUNK) {
            let y = Vector::<f32, Const<8>>::cast_from(out[out_row + chunk]);
            let g = Vector::<f32, Const<8>>::cast_from(dy[dy_row + chunk]);
            #[unroll]
            for i in 0..CHUNK {
                sum += y.extract(i) * g.extract(i);
            }
        }
    }
    sum += plane_shuffle_xor(sum, 1u32);
    sum += plane_shuffle_xor(sum, 2u32);
    if lane == 0 && ABSOLUTE_POS / LANES < deltas.len() {
        deltas[row] = sum;
    }
}

/// Threads for `rows` rows.
pub(super) fn threads_for(rows: usize) -> usize {
    rows * LANES
}
