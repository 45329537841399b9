//! Maps along the heads as a plane of `cube/expansion/mma/heads` works them out: tokens turned into
//! windows, both maps as products of windows, and the gradient of the weights.

use super::cube::tensor_cores::lanes::{
    CHUNK, COLUMNS, SIDE, left_chunk, left_row, right_chunk, right_row, row_chunks, sum_column,
    sum_row, turned_chunk, turned_row,
};
use super::instructions::{Chunk, Operand, Sum, ldmatrix, mma};
use super::layout::{Raw, Windows};
use super::plane::{each, no_sums};

/// Channels by positions of some tokens, and where in it a value is.
struct Tokens {
    values: Vec<f32>,
    channels: usize,
    positions: usize,
}

impl Tokens {
    fn new(tokens: usize, channels: usize, positions: usize, seed: usize) -> Self {
        let value = |at: usize| ((at * 7 + seed * at * at) % 19) as f32 - 9.0;
        Self {
            values: (0..tokens * channels * positions).map(value).collect(),
            channels,
            positions,
        }
    }

    /// Zero beyond a token's ends.
    fn at(&self, token: usize, channel: usize, position: isize) -> f32 {
        if position < 0 || position >= self.positions as isize {
            return 0.0;
        }
        let line = token * self.channels + channel;
        self.values[line * self.positions + position as usize]
    }

    /// As `order_channels` copies them; empty lines are zero, and what is between lines is no
    /// number.
    fn staged(&self, raw: Raw) -> Vec<Chunk> {
        let mut memory = vec![[f32::NAN; 8]; raw.chunks()];
        for line in 0..raw.tokens * raw.lines {
            let (token, channel) = (line / raw.lines, line % raw.lines);
            for chunk in 0..raw.positions / CHUNK {
                memory[line * row_chunks(raw.positions) + chunk] = std::array::from_fn(|nth| {
                    let position = (chunk * CHUNK + nth) as isize;
                    match channel < self.channels {
                        true => self.at(token, channel, position),
                        false => 0.0,
                    }
                });
            }
        }
        memory
    }
}

/// Where position `row`'s window begins, as `window_of` has it.
fn window_of(row: usize, windows: &Windows) -> usize {
    (row / windows.positions * windows.reach() + row % windows.positions) * windows.stride()
}

/// As `turn_channels` sets them.
fn turned(room: &[Chunk], raw: Raw, windows: &Windows) -> Vec<Chunk> {
    let mut values = vec![0.0; windows.len()];
    let across = windows.rows() / (4 * CHUNK);
    for group in 0..raw.lines / CHUNK * across {
        let (channels, first) = (group / across * CHUNK, group % across * 4 * CHUNK);
        let address = |lane: usize| {
            let row = first + lane / CHUNK * CHUNK;
            let line = row / windows.positions * raw.lines + channels + lane % CHUNK;
            line * row_chunks(raw.positions) + row % windows.positions / CHUNK
        };
        let blocks = ldmatrix(room, address, true);
        for (lane, block) in blocks.iter().enumerate() {
            for (nth, pair) in block.iter().enumerate() {
                let row = first + nth * CHUNK + sum_row(lane, 0);
                let at = window_of(row, windows)
                    + windows.padding() * windows.stride()
                    + channels
                    + sum_column(lane);
                values[at..at + 2].copy_from_slice(pair);
            }
        }
    }
    assert_eq!(values.len() % CHUNK, 0);
    let chunk = |at: usize| values[at * CHUNK..][..CHUNK].try_into().expect("eight");
    (0..values.len() / CHUNK).map(chunk).collect()
}

/// The weight of output channel `a` for channel `c` at tap `j`.
fn weight(a: usize, c: usize, j: usize) -> f32 {
    ((a * 5 + c * 3 + j * 11) % 13) as f32 - 6.0
}

/// As `pack_windows` and `order_weights` set them.
fn packed(windows: &Windows, outputs: usize) -> Vec<Chunk> {
    let line = row_chunks(windows.terms());
    let mut memory = vec![[f32::NAN; 8]; outputs.next_multiple_of(SIDE) * line];
    for a in 0..outputs.next_multiple_of(SIDE) {
        for term in 0..windows.terms() {
            let (tap, c) = (term / windows.stride(), term % windows.stride());
            let there = a < outputs && c < windows.channels && tap < windows.taps;
            let value = if there { weight(a, c, tap) } else { 0.0 };
            memory[a * line + term / CHUNK][term % CHUNK] = value;
        }
    }
    memory
}

/// The sums of 16 rows from `row` on, as `convolve` works them out.
fn convolve(
    memory: &[Chunk],
    weights: &[Chunk],
    windows: &Windows,
    outputs: usize,
    row: usize,
) -> Vec<Sum> {
    let products = outputs.div_ceil(COLUMNS);
    let line = row_chunks(windows.terms());
    let mut sums = no_sums(products);
    for step in 0..windows.terms() / SIDE {
        let of_left = |lane: usize| {
            window_of(row + left_row(lane), windows) / CHUNK + left_chunk(lane) + 2 * step
        };
        let left = ldmatrix(memory, of_left, false);
        for both in 0..products.div_ceil(2) {
            let of_right =
                |lane: usize| (right_row(lane) + both * SIDE) * line + right_chunk(lane) + 2 * step;
            let right = ldmatrix(weights, of_right, false);
            for half in 0..2.min(products - 2 * both) {
                mma(&mut sums[2 * both + half], &left, &right, half);
            }
        }
    }
    sums
}

/// Sizes of heads, expanded or not, that tensor cores do not divide, and widths of heads.
const SIZES: [[usize; 4]; 6] = [
    // Channels, outputs, positions, taps.
    [12, 36, 64, 5],
    [36, 12, 64, 5],
    [8, 24, 16, 3],
    [32, 7, 48, 1],
    [1, 20, 32, 7],
    [64, 8, 16, 3],
];

#[test]
fn windows_end_to_end_make_a_map_along_the_heads() {
    for [channels, outputs, positions, taps] in SIZES {
        let windows = Windows {
            channels,
            positions,
            taps,
            tokens: if positions == 48 { 2 } else { 128 / positions },
        };
        let raw = Raw::new(windows, channels, CHUNK);
        let x = Tokens::new(windows.tokens, channels, positions, 3);
        let memory = turned(&x.staged(raw), raw, &windows);
        let weights = packed(&windows, outputs);
        for first in (0..windows.rows()).step_by(SIDE) {
            let mut sums = convolve(&memory, &weights, &windows, outputs, first);
            each(&mut sums, outputs.div_ceil(COLUMNS), |row, a, found| {
                let (token, position) = ((first + row) / positions, (first + row) % positions);
                let place = |tap: usize| (position + tap) as isize - windows.padding() as isize;
                let of_channel = |c: usize| (0..taps).map(move |tap| (c, tap)).collect::<Vec<_>>();
                let terms = (0..channels).flat_map(of_channel);
                let expected: f32 = match a < outputs {
                    true => terms
                        .map(|(c, tap)| weight(a, c, tap) * x.at(token, c, place(tap)))
                        .sum(),
                    false => 0.0,
                };
                assert_eq!(*found, expected, "{windows:?} {first} {row} {a}");
            });
        }
    }
}

/// Of a gradient [A, rows] in shared memory and windows, the sums of 16 output channels from `a` on
/// with the terms of `group`, as `multiply` works them out.
fn weight_gradient(
    dy: &[Chunk],
    memory: &[Chunk],
    windows: &Windows,
    raw: Raw,
    [a, group]: [usize; 2],
) -> [Sum; 2] {
    let mut sums = [Sum::default(); 2];
    for step in 0..windows.rows() / SIDE {
        let (token, position) = (
            step * SIDE / windows.positions,
            step * SIDE % windows.positions,
        );
        let of_left = |lane: usize| {
            let row = token * raw.lines + a + left_row(lane);
            row * row_chunks(windows.positions) + position / CHUNK + left_chunk(lane)
        };
        let left: Operand = ldmatrix(dy, of_left, false);
        let of_right = |lane: usize| {
            let row = token * windows.reach() + position + turned_row(lane);
            row * windows.stride() / CHUNK + turned_chunk(lane) + group * SIDE / CHUNK
        };
        let right = ldmatrix(memory, of_right, true);
        for (half, sum) in sums.iter_mut().enumerate() {
            mma(sum, &left, &right, half);
        }
    }
    sums
}

#[test]
fn windows_as_a_right_operand_make_the_gradient_of_the_weights() {
    for [channels, outputs, positions, taps] in SIZES {
        let windows = Windows {
            channels,
            positions,
            taps,
            tokens: if positions == 48 {
                2
            } else {
                64usize.div_ceil(positions)
            },
        };
        let (of_x, of_dy) = (
            Raw::new(windows, channels, CHUNK),
            Raw::new(windows, outputs, SIDE),
        );
        let x = Tokens::new(windows.tokens, channels, positions, 3);
        let dy = Tokens::new(windows.tokens, outputs, positions, 5);
        let (memory, gradient) = (turned(&x.staged(of_x), of_x, &windows), dy.staged(of_dy));
        for first in (0..outputs).step_by(SIDE) {
            for group in 0..windows.terms() / SIDE {
                let mut sums = weight_gradient(&gradient, &memory, &windows, of_dy, [first, group]);
                each(&mut sums, 2, |row, column, found| {
                    let (a, term) = (first + row, group * SIDE + column);
                    let (tap, c) = (term / windows.stride(), term % windows.stride());
                    if a >= outputs || c >= channels || tap >= taps {
                        return;
                    }
                    let mut expected = 0.0;
                    for token in 0..windows.tokens {
                        for d in 0..positions as isize {
                            let at = d + tap as isize - windows.padding() as isize;
                            expected += dy.at(token, a, d) * x.at(token, c, at);
                        }
                    }
                    assert_eq!(*found, expected, "{windows:?} {a} {c} {tap}");
                });
            }
        }
    }
}
