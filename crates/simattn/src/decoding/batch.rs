//! The tokens that are computed together, and the rotations of their positions.

use simattn_kernels::cpu::decoding::{Rotate, rotate_rows};

use crate::config::ModelConfig;

/// Tokens of one sequence, one behind the other and all on one page.
#[derive(Clone, Copy, Debug)]
pub(super) struct RunPlace {
    /// Row of the first token in the batch.
    pub(super) row: usize,
    /// Its position in the sequence.
    pub(super) position: usize,
    /// Tokens.
    pub(super) tokens: usize,
}

/// What is computed together.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    pub(super) runs: Vec<RunPlace>,
    /// Of every row.
    pub(super) positions: Vec<usize>,
    pub(super) rope: Option<&'a Rope>,
}

impl<'a> Batch<'a> {
    /// So many tokens of sequences that hold so many already.
    pub(super) fn new(
        runs: impl IntoIterator<Item = (usize, usize)>,
        rope: Option<&'a Rope>,
    ) -> Self {
        let (mut places, mut positions) = (Vec::new(), Vec::new());
        for (position, tokens) in runs {
            places.push(RunPlace {
                row: positions.len(),
                position,
                tokens,
            });
            positions.extend(position..position + tokens);
        }
        Self {
            runs: places,
            positions,
            rope,
        }
    }

    /// Tokens of all runs.
    pub(super) fn rows(&self) -> usize {
        self.positions.len()
    }

    /// Turns heads by their rows' positions, from feature `first` of each on.
    pub(super) fn rotate(&self, heads: usize, width: usize, first: usize, x: &mut [f32]) {
        rotate(self.rope, &self.positions, [heads, width, first], x);
    }
}

/// Turns `[heads, width, first feature]` of every row by its position, where anything rotates.
pub(super) fn rotate(
    rope: Option<&Rope>,
    positions: &[usize],
    [heads, width, first]: [usize; 3],
    x: &mut [f32],
) {
    if let Some(rope) = rope {
        let rotate = Rotate {
            cos: &rope.cos,
            sin: &rope.sin,
            half: rope.half,
            heads,
            width,
            first,
        };
        rotate_rows(&rotate, positions, x);
    }
}

/// Cosines and sines of all positions of the context.
#[derive(Clone, Debug)]
pub(super) struct Rope {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl Rope {
    /// The model's rotations; `None` where nothing rotates.
    pub(super) fn of(config: &ModelConfig) -> Option<Self> {
        let (rotary_dim, base) = config.rotation()?;
        let frequencies = config.rope_scaling.frequencies(rotary_dim, base);
        let table = |f: fn(f64) -> f64| {
            let row = |position: usize| {
                frequencies
                    .iter()
                    .map(move |w| f(position as f64 * w) as f32)
            };
            (0..config.context).flat_map(row).collect()
        };
        Some(Self {
            cos: table(f64::cos),
            sin: table(f64::sin),
            half: frequencies.len(),
        })
    }

    /// Bytes of the tables.
    pub(super) fn bytes(&self) -> usize {
        4 * (self.cos.len() + self.sin.len())
    }
}
