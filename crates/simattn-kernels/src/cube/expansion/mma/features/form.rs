//! How maps along the features are cut for tensor cores.

use crate::cube::expansion::MapSizes;
use crate::cube::expansion::mma::slices::Slice;
use crate::cube::tensor_cores::lanes::{CHUNK, COLUMNS, PLANE, SIDE, row_chunks};

/// Planes of a cube.
const PLANES: usize = 4;

/// Results of 16 × 8 that a plane keeps of each map.
const MOST_PRODUCTS: usize = 24;

/// Two maps along the features in a row, C → A → E.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FeaturesForm {
    pub inputs: usize,
    pub middle: usize,
    pub outputs: usize,
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
    /// Pairs of features that are rotated at the end.
    pub half: usize,
    /// Heads of a token.
    pub heads: usize,
}

impl FeaturesForm {
    /// The form for these sizes, if tensor cores suit them and a cube's shared memory is enough.
    pub fn of(sizes: &MapSizes, forward: bool, shared_memory: usize) -> Option<Self> {
        let widths = [sizes.inputs, sizes.outputs];
        let even = widths.iter().all(|width| width.is_multiple_of(SIDE));
        if sizes.positions != 1 || sizes.taps != 1 || !even {
            return None;
        }
        let products = sizes.inputs.max(sizes.outputs) / COLUMNS;
        let parts = [2, 1]
            .into_iter()
            .find(|parts| parts * products <= MOST_PRODUCTS)?;
        let [inputs, outputs] = match forward {
            true => widths,
            false => [sizes.outputs, sizes.inputs],
        };
        let form = Self {
            inputs,
            middle: sizes.outputs,
            outputs,
            parts,
            forward,
            relu: false,
            residual: false,
            keep: false,
            half: 0,
            heads: 1,
        };
        (form.bytes() <= shared_memory).then_some(form)
    }

    /// Whether the kernel can rotate that many pairs at its end: a thread then has both of a pair.
    pub fn rotates(&self, half: usize) -> bool {
        half.is_multiple_of(COLUMNS) && 2 * half <= self.outputs
    }

    /// Rows of a cube at a time.
    pub fn rows(&self) -> usize {
        PLANES * self.parts * SIDE
    }

    pub fn threads(&self) -> usize {
        PLANES * PLANE
    }

    fn bytes(&self) -> usize {
        let rows = 2 * self.rows() * row_chunks(self.inputs);
        let weights =
            self.middle * row_chunks(self.inputs) + self.outputs * row_chunks(self.middle);
        2 * CHUNK * (rows + weights)
    }
}

/// The gradient of the weights of one map along the features: [A, C].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct FeatureGradientForm {
    /// C.
    pub inputs: usize,
    /// A.
    pub outputs: usize,
    /// Whether the input goes through a ReLU.
    pub relu: bool,
    /// Planes below one another, and beside one another.
    pub planes: [usize; 2],
}

impl FeatureGradientForm {
    /// Rows of a stage.
    pub const ROWS: usize = 64;

    /// The form for these sizes, if a cube's shared memory is enough and a plane's registers are.
    pub fn of([inputs, outputs]: [usize; 2], relu: bool, shared_memory: usize) -> Option<Self> {
        let with = |planes| Self {
            inputs,
            outputs,
            relu,
            planes,
        };
        let fits = |form: &Self| form.products() <= MOST_PRODUCTS && form.bytes() <= shared_memory;
        [[2, 2], [4, 2], [4, 4]].map(with).into_iter().find(fits)
    }

    /// Rows of 16 results in a plane, at most.
    pub fn parts(&self) -> usize {
        (self.outputs / SIDE).div_ceil(self.planes[0])
    }

    /// Columns of 16 results in a plane, at most.
    pub fn groups(&self) -> usize {
        (self.inputs / SIDE).div_ceil(self.planes[1])
    }

    /// Results of 16 × 8 in a plane, those of the bias too.
    pub fn products(&self) -> usize {
        self.parts() * (2 * self.groups() + 1)
    }

    pub fn threads(&self) -> usize {
        self.planes[0] * self.planes[1] * PLANE
    }

    /// Columns of a slice's sums: the inputs, then eight that all are the bias.
    pub fn columns(&self) -> usize {
        self.inputs + COLUMNS
    }

    /// How a slice's sums lie.
    pub fn slice(&self) -> Slice {
        Slice {
            outputs: self.outputs,
            lines: self.outputs,
            columns: self.columns(),
            bias: self.inputs,
            taps: 1,
            stride: self.inputs,
            inputs: self.inputs,
        }
    }

    fn bytes(&self) -> usize {
        2 * CHUNK * 2 * Self::ROWS * (row_chunks(self.inputs) + row_chunks(self.outputs))
    }
}
