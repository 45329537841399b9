//! How maps along the heads are cut for tensor cores.

use super::layout::{Raw, Windows};
use crate::cube::expansion::MapSizes;
use crate::cube::expansion::mma::slices::Slice;
use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE, row_chunks};

/// Planes of a cube, about.
const PLANES: usize = 4;

/// Results of 16 × 8 that a plane keeps in its registers, at most.
const MOST_PRODUCTS: usize = 32;

/// Weights as a right operand: `outputs` lines of [`Windows::terms`] terms, zeros beyond what there
/// is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Weights {
    pub windows: Windows,
    pub outputs: usize,
    /// Whether the map's transpose is meant: weights are [C, A, κ], and the window is mirrored.
    pub transposed: bool,
}

impl Weights {
    pub fn lines(&self) -> usize {
        self.outputs.next_multiple_of(SIDE)
    }

    /// Results of 16 × 8 beside one another.
    pub fn products(&self) -> usize {
        self.outputs.div_ceil(COLUMNS)
    }

    /// Chunks of the packed weights in device memory.
    pub fn chunks(&self) -> usize {
        self.lines() * self.windows.terms() / CHUNK
    }

    /// Chunks in shared memory.
    pub fn room(&self) -> usize {
        self.lines() * row_chunks(self.windows.terms())
    }
}

/// Two maps along the heads in a row, C → A → E channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct BothForm {
    pub first: Weights,
    pub second: Weights,
    /// Rows of 16 results below one another in a plane.
    pub parts: usize,
    /// Whether these are the maps themselves; else their transposes, for the gradient.
    pub forward: bool,
    /// Whether a ReLU is between the maps.
    pub relu: bool,
    /// Whether what enters the second map is added to its result.
    pub residual: bool,
    /// Whether what is between the maps is written.
    pub keep: bool,
}

impl BothForm {
    /// The form for these sizes, if tensor cores suit them and a cube's shared memory is enough.
    pub fn of(sizes: &MapSizes, forward: bool, shared_memory: usize) -> Option<Self> {
        if sizes.positions == 1 || !sizes.positions.is_multiple_of(SIDE) {
            return None;
        }
        let (compact, expanded) = (sizes.inputs, sizes.outputs);
        let [inputs, outputs] = match forward {
            true => [compact, expanded],
            false => [expanded, compact],
        };
        let products = expanded.max(outputs).div_ceil(COLUMNS);
        let parts = [4, 2, 1]
            .into_iter()
            .find(|parts| parts * products <= MOST_PRODUCTS)?;
        let map = |channels, outputs, tokens| Weights {
            windows: Windows {
                channels,
                positions: sizes.positions,
                taps: sizes.taps,
                tokens,
            },
            outputs,
            transposed: !forward,
        };
        let of_plane = parts * SIDE;
        // What `turn_channels` takes at a time is four blocks of eight positions.
        let step = of_plane.max(4 * CHUNK);
        let least = (1..=step).find(|tokens| (tokens * sizes.positions).is_multiple_of(step))?;
        let planes = least * sizes.positions / of_plane;
        let tokens = least * (PLANES / planes).max(1);
        let form = Self {
            first: map(inputs, expanded, tokens),
            second: map(expanded, outputs, tokens),
            parts,
            forward,
            relu: false,
            residual: false,
            keep: false,
        };
        (form.bytes() <= shared_memory && form.planes() * PLANE <= 1024).then_some(form)
    }

    pub fn tokens(&self) -> usize {
        self.first.windows.tokens
    }

    pub fn planes(&self) -> usize {
        self.first.windows.rows() / self.rows_of_plane()
    }

    pub fn threads(&self) -> usize {
        self.planes() * PLANE
    }

    pub fn rows_of_plane(&self) -> usize {
        self.parts * SIDE
    }

    /// Channels of what is between the maps, [N, P, these], in device memory.
    pub fn between(&self) -> usize {
        self.first.products() * COLUMNS
    }

    pub fn raw(&self) -> Raw {
        Raw::new(self.first.windows, self.first.windows.channels, CHUNK)
    }

    fn bytes(&self) -> usize {
        let chunks = self.raw().chunks() + self.first.room() + self.second.room();
        2 * (chunks * CHUNK + self.first.windows.len() + self.second.windows.len())
    }
}

/// The gradient of the weights of one map along the heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct GradientForm {
    /// The map's input.
    pub windows: Windows,
    pub outputs: usize,
    /// Which of the two maps it is: the first reads its input as [N, C, P] and the gradient of its
    /// result as the kernel of both maps has written it, [N, P, A]; the second the other way round.
    pub first: bool,
    /// Whether the input goes through a ReLU.
    pub relu: bool,
}

impl GradientForm {
    /// The form for these sizes, if a cube's shared memory is enough and a plane's registers are.
    pub fn of(sizes: &MapSizes, first: bool, shared_memory: usize) -> Option<Self> {
        let channels = if first { sizes.inputs } else { sizes.outputs };
        // `turn_channels` takes 32 positions at a time, and about 128 are under way.
        let least = (1..=2).find(|tokens| (tokens * sizes.positions).is_multiple_of(4 * CHUNK))?;
        let tokens = least * (128 / (least * sizes.positions)).max(1);
        let windows = Windows {
            channels,
            positions: sizes.positions,
            taps: sizes.taps,
            tokens,
        };
        let form = Self {
            windows,
            outputs: sizes.outputs,
            first,
            relu: false,
        };
        (form.bytes() <= shared_memory && form.products() <= MOST_PRODUCTS).then_some(form)
    }

    /// Rows of 16 results below one another.
    pub fn parts(&self) -> usize {
        self.outputs.div_ceil(SIDE)
    }

    /// Terms of the map in columns of 16.
    pub fn groups(&self) -> usize {
        self.windows.terms() / SIDE
    }

    /// How many of them a plane has, at most.
    pub fn groups_of_plane(&self) -> usize {
        self.groups().div_ceil(self.planes())
    }

    pub fn planes(&self) -> usize {
        let of_plane = |planes: usize| 2 * self.groups().div_ceil(planes) * self.parts();
        let enough = |planes: &usize| of_plane(*planes) <= MOST_PRODUCTS - 8;
        (PLANES.min(self.groups())..=8).find(enough).unwrap_or(8)
    }

    /// Results of 16 × 8 in a plane, those of the bias too.
    pub fn products(&self) -> usize {
        self.parts() * (2 * self.groups_of_plane() + 1)
    }

    pub fn threads(&self) -> usize {
        self.planes() * PLANE
    }

    /// Columns of a slice's sums: the terms, then eight that all are the bias.
    pub fn columns(&self) -> usize {
        self.windows.terms() + COLUMNS
    }

    /// How a slice's sums lie.
    pub fn slice(&self) -> Slice {
        Slice {
            outputs: self.outputs,
            lines: self.parts() * SIDE,
            columns: self.columns(),
            bias: self.windows.terms(),
            taps: self.windows.taps,
            stride: self.windows.stride(),
            inputs: self.windows.channels,
        }
    }

    /// The input as it is in device memory, where it has to be turned.
    pub fn raw(&self) -> Raw {
        Raw::new(self.windows, self.windows.channels, CHUNK)
    }

    /// The gradient of the result where it lies as [N, A, P].
    pub fn raw_gradient(&self) -> Raw {
        Raw::new(self.windows, self.outputs, SIDE)
    }

    /// Where it lies as [N, P, A].
    pub fn gradient_rows(&self) -> Windows {
        Windows {
            channels: self.outputs,
            taps: 1,
            ..self.windows
        }
    }

    /// Chunks of a stage of what is read as [N, P, ·]: the gradient of the first map, the input of
    /// the second one.
    pub fn turned_chunks(&self) -> usize {
        match self.first {
            true => self.gradient_rows().len() / CHUNK,
            false => self.windows.len() / CHUNK,
        }
    }

    /// Chunks of a stage of what is read as [N, ·, P].
    pub fn raw_chunks(&self) -> usize {
        match self.first {
            true => self.raw().chunks(),
            false => self.raw_gradient().chunks(),
        }
    }

    /// Values of the windows that the kernel makes itself.
    pub fn own_windows(&self) -> usize {
        match self.first {
            true => self.windows.len(),
            false => 2,
        }
    }

    fn bytes(&self) -> usize {
        2 * (2 * CHUNK * (self.turned_chunks() + self.raw_chunks()) + self.own_windows())
    }
}
