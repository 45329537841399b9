//! What a plane of the kernels in `cube/attention/mma` does, step by step as in `products.rs`,
//! `softmax.rs` and the kernels there, with the addresses and places of `lanes.rs`.

use super::instructions::{Chunk, Operand, Sum, ldmatrix, mma};
use super::lanes::{
    CHUNK, COLUMNS, PLANE, SIDE, half_of_register, left_chunk, left_row, product_of_register,
    right_chunk, right_row, row_chunks, sum_column, sum_row, turned_chunk, turned_row,
};

/// Scores below every real one.
const LOWEST: f32 = -1e30;
const SLACK: f32 = 7.0;

/// A matrix, row by row.
pub struct Rows {
    pub values: Vec<f32>,
    pub width: usize,
}

impl Rows {
    pub fn len(&self) -> usize {
        self.values.len() / self.width
    }

    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.width..][..self.width]
    }

    /// `count` rows from `first` on in shared memory; the last row stands for those beyond it, and
    /// what is between rows is no number.
    pub fn staged(&self, first: usize, count: usize) -> Vec<Chunk> {
        let mut memory = vec![[f32::NAN; 8]; count * row_chunks(self.width)];
        for place in 0..count * self.width / CHUNK {
            let (row, column) = (place / (self.width / CHUNK), place % (self.width / CHUNK));
            let from = (first + row).min(self.len() - 1);
            memory[row * row_chunks(self.width) + column]
                .copy_from_slice(&self.row(from)[column * CHUNK..][..CHUNK]);
        }
        memory
    }
}

pub fn no_sums(count: usize) -> Vec<Sum> {
    vec![Sum::default(); count]
}

pub fn load_left(rows: &[Chunk], parts: usize, width: usize) -> Vec<Operand> {
    let of_part = |part: usize| {
        (0..width / SIDE).map(move |term| {
            let address = |lane| {
                (part * SIDE + left_row(lane)) * row_chunks(width) + 2 * term + left_chunk(lane)
            };
            ldmatrix(rows, address, false)
        })
    };
    (0..parts).flat_map(of_part).collect()
}

pub fn multiply_rows(
    sums: &mut [Sum],
    left: &[Operand],
    rows: &[Chunk],
    [first, count]: [usize; 2],
    width: usize,
) {
    let terms = width / SIDE;
    for (i, left) in left.iter().enumerate() {
        let (part, term) = (i / terms, i % terms);
        for both in 0..count / SIDE {
            let address = |lane| {
                (first + both * SIDE + right_row(lane)) * row_chunks(width)
                    + 2 * term
                    + right_chunk(lane)
            };
            let right = ldmatrix(rows, address, false);
            for half in 0..2 {
                let sum = &mut sums[part * count / COLUMNS + 2 * both + half];
                mma(sum, left, &right, half);
            }
        }
    }
}

pub fn multiply_turned(
    sums: &mut [Sum],
    left: &[Operand],
    rows: &[Chunk],
    first: usize,
    width: usize,
) {
    for (part, left) in left.iter().enumerate() {
        for both in 0..width / SIDE {
            let address = |lane| {
                (first + turned_row(lane)) * row_chunks(width) + 2 * both + turned_chunk(lane)
            };
            let right = ldmatrix(rows, address, true);
            for half in 0..2 {
                let sum = &mut sums[part * width / COLUMNS + 2 * both + half];
                mma(sum, left, &right, half);
            }
        }
    }
}

pub fn as_left(sums: &[Sum], first: usize) -> Operand {
    std::array::from_fn(|lane| {
        std::array::from_fn(|register| {
            sums[first + product_of_register(register)][lane][half_of_register(register)]
        })
    })
}

/// Calls `f` with the row, the column and every value of sums whose parts have `products` each.
pub fn each(sums: &mut [Sum], products: usize, mut f: impl FnMut(usize, usize, &mut f32)) {
    for (at, sum) in sums.iter_mut().enumerate() {
        for (lane, halves) in sum.iter_mut().enumerate() {
            for (half, pair) in halves.iter_mut().enumerate() {
                for (nth, value) in pair.iter_mut().enumerate() {
                    let row = at / products * SIDE + sum_row(lane, half);
                    f(row, at % products * COLUMNS + sum_column(lane) + nth, value);
                }
            }
        }
    }
}

pub fn hide(scores: &mut [Sum], products: usize, seen: impl Fn(usize, usize) -> bool) {
    each(scores, products, |row, column, score| {
        if !seen(row, column) {
            *score = LOWEST;
        }
    });
}

/// The online softmax of a plane's rows: a level and a total for each of a thread's rows.
pub struct Softmax {
    levels: Vec<[f32; PLANE]>,
    totals: Vec<[f32; PLANE]>,
}

impl Softmax {
    pub fn new(parts: usize) -> Self {
        Self {
            levels: vec![[LOWEST; PLANE]; 2 * parts],
            totals: vec![[0.0; PLANE]; 2 * parts],
        }
    }

    pub fn raise(&mut self, scores: &[Sum], outputs: &mut [Sum], factor: f32) {
        let rows = self.levels.len();
        let (products, of_part) = (scores.len() * 2 / rows, outputs.len() * 2 / rows);
        for own in 0..rows {
            let scores = &scores[own / 2 * products..][..products];
            let of_thread = |lane: usize| {
                let pairs = scores.iter().map(|score| score[lane][own % 2]);
                pairs.flatten().fold(LOWEST, f32::max)
            };
            for lane in 0..PLANE {
                // Four neighbouring threads have a row's scores.
                let first = lane / 4 * 4;
                let best = (first..first + 4).map(of_thread).fold(LOWEST, f32::max);
                let level = self.levels[own][lane];
                let next = if best - level > SLACK / factor {
                    best
                } else {
                    level
                };
                let fall = ((level - next) * factor).exp2();
                self.levels[own][lane] = next;
                self.totals[own][lane] *= fall;
                for output in &mut outputs[own / 2 * of_part..][..of_part] {
                    output[lane][own % 2] = output[lane][own % 2].map(|value| value * fall);
                }
            }
        }
    }

    /// Scores become weights, which are added to the totals.
    pub fn weigh(&mut self, scores: &mut [Sum], factor: f32) {
        let products = scores.len() * 2 / self.levels.len();
        for (at, score) in scores.iter_mut().enumerate() {
            for (lane, halves) in score.iter_mut().enumerate() {
                for (half, pair) in halves.iter_mut().enumerate() {
                    let own = 2 * (at / products) + half;
                    let level = self.levels[own][lane];
                    let level = if level <= LOWEST { 0.0 } else { level } * factor;
                    *pair = pair.map(|score| (score * factor - level).exp2());
                    self.totals[own][lane] += pair[0] + pair[1];
                }
            }
        }
    }

    /// The sum of a row's weights and its log-sum-exp.
    pub fn row(&self, row: usize, scale: f32) -> (f32, f32) {
        let (own, first) = (row / SIDE * 2 + row % SIDE / 8, row % 8 * 4);
        let total: f32 = self.totals[own][first..first + 4].iter().sum();
        (total, self.levels[own][first] * scale + total.ln())
    }
}
