//! Tokens on their way into shared memory: as they are, and turned so that channels lie side by
//! side.

use cubecl::cmma::MatrixIdent;
use cubecl::frontend::barrier::copy_async;
use cubecl::prelude::*;

use super::layout::{Raw, Windows};
use crate::cube::tensor_cores::Chunk;
use crate::cube::tensor_cores::lanes::{CHUNK, PLANE, row_chunks, sum_column, sum_row};
use crate::cube::tensor_cores::products::{Pair, lane, tensor_cores};

/// Sets `count` chunks of `room` to zero. All threads of the cube take part.
#[cube]
pub(super) fn clear_chunks<F: Float>(
    room: &mut Shared<[Chunk<F>]>,
    #[comptime] count: usize,
    #[comptime] threads: usize,
) {
    let mut place = UNIT_POS as usize;
    while place < count {
        room[place] = Chunk::<F>::zeroed();
        place += threads;
    }
}

/// The same of windows that are written by pairs.
#[cube]
pub(super) fn clear_pairs<F: Float>(
    room: &mut Shared<[Pair<F>]>,
    #[comptime] count: usize,
    #[comptime] threads: usize,
) {
    let mut place = UNIT_POS as usize;
    while place < count {
        room[place] = Pair::<F>::zeroed();
        place += threads;
    }
}

/// Begins to copy tokens from `token` on of `x` [N, C, P] into `room`, from chunk `at` on. All
/// threads of the cube take part, and nothing waits. The last token stands for those beyond it.
#[cube]
pub(super) fn order_channels<F: Float>(
    x: &Tensor<Chunk<F>>,
    token: usize,
    last: usize,
    room: &mut Shared<[Chunk<F>]>,
    at: usize,
    #[comptime] raw: Raw,
    #[comptime] threads: usize,
) {
    let across = comptime!(raw.positions / CHUNK);
    let of_token = comptime!(raw.channels * raw.positions / CHUNK);
    let mut place = UNIT_POS as usize;
    while place < comptime!(raw.tokens) * of_token {
        let part = place / of_token;
        let within = place % of_token;
        let line = part * comptime!(raw.lines) + within / across;
        let source = min(token + part, last) * of_token + within;
        let target = at + line * comptime!(row_chunks(raw.positions)) + within % across;
        copy_async(
            &x.as_slice()[source..source + 1],
            &mut room.as_mut_slice()[target..target + 1],
            8u32,
        );
        place += threads;
    }
}

/// The same of `x` [N, P, `width`] into windows.
#[cube]
pub(super) fn order_positions<F: Float>(
    x: &Tensor<Chunk<F>>,
    token: usize,
    last: usize,
    room: &mut Shared<[Chunk<F>]>,
    at: usize,
    #[comptime] width: usize,
    #[comptime] windows: Windows,
    #[comptime] threads: usize,
) {
    let across = comptime!(width / CHUNK);
    let of_token = comptime!(windows.positions * width / CHUNK);
    let mut place = UNIT_POS as usize;
    while place < comptime!(windows.tokens) * of_token {
        let part = place / of_token;
        let within = place % of_token;
        let row =
            part * comptime!(windows.reach()) + comptime!(windows.padding()) + within / across;
        let source = min(token + part, last) * of_token + within;
        let target = at + row * comptime!(windows.stride() / CHUNK) + within % across;
        copy_async(
            &x.as_slice()[source..source + 1],
            &mut room.as_mut_slice()[target..target + 1],
            8u32,
        );
        place += threads;
    }
}

/// Sets tokens from chunk `at` of `room` on into `windows`: blocks of eight channels and eight
/// positions, which `ldmatrix` turns, four to a plane at a time.
#[cube]
pub(super) fn turn_channels<F: Float>(
    room: &Shared<[Chunk<F>]>,
    at: usize,
    into: &mut Shared<[Pair<F>]>,
    #[comptime] raw: Raw,
    #[comptime] windows: Windows,
    #[comptime] planes: usize,
) {
    let mma = tensor_cores::<F>();
    let lane = lane();
    let across = comptime!(windows.rows() / (4 * CHUNK));
    let mut group = UNIT_POS as usize / PLANE;
    while group < comptime!(raw.lines / CHUNK) * across {
        let channels = group / across * CHUNK;
        let first = group % across * comptime!(4 * CHUNK);
        // Eight threads give the addresses of a block's channels.
        let row = first + lane / CHUNK * CHUNK;
        let line =
            row / comptime!(windows.positions) * comptime!(raw.lines) + channels + lane % CHUNK;
        let place = at
            + line * comptime!(row_chunks(raw.positions))
            + row % comptime!(windows.positions) / CHUNK;
        let blocks = mma.load_matrix::<Chunk<F>, Const<2>>(
            &room[place..place + 1],
            MatrixIdent::A,
            4usize,
            true,
        );
        #[unroll]
        for nth in 0..4usize {
            let row = first + comptime!(nth * CHUNK) + sum_row(lane, 0usize);
            into[pair_place(row, channels + sum_column(lane), windows)] = blocks[nth];
        }
        group += planes;
    }
}

/// Where a position's channels `channel` and `channel + 1` are in windows, in pairs: position `row`
/// of all tokens, without the empty ones.
#[cube]
pub(super) fn pair_place(row: usize, channel: usize, #[comptime] windows: Windows) -> usize {
    (window_of(row, windows) + comptime!(windows.padding() * windows.stride()) + channel) / 2
}

/// Where position `row`'s window begins.
#[cube]
pub(super) fn window_of(row: usize, #[comptime] windows: Windows) -> usize {
    (row / comptime!(windows.positions) * comptime!(windows.reach())
        + row % comptime!(windows.positions))
        * comptime!(windows.stride())
}
