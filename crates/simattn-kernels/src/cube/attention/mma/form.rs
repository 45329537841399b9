//! How a kernel's work is cut, by the widths and by what fits into registers and shared memory.

use cubecl::prelude::*;

use crate::cube::tensor_cores::lanes::{COLUMNS, PLANE, SIDE, row_chunks};

/// The widest rows of q, k and v that these kernels hold in registers.
const WIDEST: usize = 128;

/// Planes of a cube: two cubes of them use a processor's registers with up to 255 for a thread,
/// three with up to 168.
const PLANES: usize = 4;

/// Rows of the other side that are copied at a time.
const BLOCK: usize = 64;

/// Registers of a thread that operands and results may take in the kernels along queries; the rest
/// of 255 is for addresses, single operands and what the softmax needs. Found with ptxas: nothing
/// spills.
const HELD: usize = 208;

/// The same for the gradients of keys and values, which need more beside them.
const HELD_FOR_KEYS: usize = 200;

/// How a kernel is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Form {
    /// Planes of a cube.
    pub planes: usize,
    /// Products of 16 rows below one another that belong to a plane. What it reads of shared memory
    /// serves all of them.
    pub parts: usize,
    /// Rows of the other side that are copied at a time.
    pub block: usize,
    /// Of those, how many are multiplied at a time.
    pub step: usize,
    /// Blocks in shared memory: all but one are under way while one is used.
    pub stages: usize,
}

impl Form {
    /// Rows of a cube.
    pub fn rows(&self) -> usize {
        self.planes * self.plane_rows()
    }

    /// Rows of a plane.
    pub fn plane_rows(&self) -> usize {
        self.parts * SIDE
    }

    pub fn threads(&self) -> usize {
        self.planes * PLANE
    }

    /// Products beside one another in a step.
    pub fn products(&self) -> usize {
        self.step / COLUMNS
    }

    pub fn cube(&self) -> CubeDim {
        CubeDim::new_1d(self.threads() as u32)
    }

    /// Bytes of shared memory for the blocks. The cube's own rows pass through the same room before
    /// the first block, on their way into registers.
    fn bytes(&self, widths: Widths) -> usize {
        let chunks = row_chunks(widths.keys) + row_chunks(widths.values);
        // Two float32 a row: the gradients of keys and values need each query's sum and delta.
        self.stages * self.block * (16 * chunks + 8)
    }

    /// With three stages, if that leaves room for three cubes, else two; none if even one cube with
    /// two does not fit.
    fn staged(self, widths: Widths, shared_memory: usize) -> Option<Self> {
        let three = Self { stages: 3, ..self };
        let two = Self { stages: 2, ..self };
        match () {
            () if 3 * three.bytes(widths) <= shared_memory => Some(three),
            () if two.bytes(widths) <= shared_memory => Some(two),
            () => None,
        }
    }
}

/// Width of q and k, and of v and the output.
#[derive(Clone, Copy, Debug)]
pub(super) struct Widths {
    pub keys: usize,
    pub values: usize,
}

impl Widths {
    /// Whether they are made of whole products and narrow enough for registers.
    pub fn fit(self) -> bool {
        [self.keys, self.values]
            .iter()
            .all(|width| (SIDE..=WIDEST).contains(width) && width.is_multiple_of(SIDE))
    }

    /// Two products below one another where registers allow it, so that each part of keys and values
    /// is read from shared memory once for 32 rows. With 16 rows, reading takes longer than
    /// multiplying: 512 bytes, four cycles, for two products, 3.2 cycles.
    fn along_queries(self, step: usize, held: impl Fn(usize) -> usize) -> Form {
        let parts = if held(2) <= HELD { 2 } else { 1 };
        Form {
            planes: PLANES,
            parts,
            block: BLOCK,
            step,
            stages: 2,
        }
    }

    /// Outputs, a block's scores and q of `parts` products, in registers of a thread.
    pub fn forward(self, shared_memory: usize) -> Option<Form> {
        let held = |parts| parts * (self.values / 2 + BLOCK / 2 + self.keys / 4);
        self.along_queries(BLOCK, held).staged(self, shared_memory)
    }

    /// The gradient of q, a step's scores and weights' gradients, q and the output's gradient.
    pub fn query_gradients(self, shared_memory: usize) -> Option<Form> {
        let held = |parts| parts * (self.keys / 2 + SIDE + (self.keys + self.values) / 4);
        let form = self.along_queries(SIDE, held);
        let step = if form.parts == 1 { 2 * SIDE } else { SIDE };
        Form { step, ..form }.staged(self, shared_memory)
    }

    /// The gradients of k and v, a step's scores and weights' gradients, k and v.
    pub fn key_gradients(self, shared_memory: usize) -> Option<Form> {
        let held = |step| (self.keys + self.values) * 3 / 4 + step;
        let step = if held(2 * SIDE) <= HELD_FOR_KEYS {
            2 * SIDE
        } else {
            SIDE
        };
        let form = Form {
            planes: PLANES,
            parts: 1,
            block: BLOCK,
            step,
            stages: 2,
        };
        form.staged(self, shared_memory)
    }
}
