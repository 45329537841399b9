//! Where the operands of a product stand, and what becomes of its result.

use pulp::Simd;

/// Left operand: the value of row `i` at step `k` is at `pointer + i * row_stride + k *
/// step_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// First value.
    pub pointer: *const f32,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between steps of the sum.
    pub step_stride: usize,
}

impl Left {
    /// A block of rows `stride` values long: row `i` of it at step `k` is its value `[i][k]`.
    #[inline(always)]
    pub fn rows(block: *const f32, stride: usize) -> Self {
        Self {
            pointer: block,
            row_stride: stride,
            step_stride: 1,
        }
    }

    /// The transpose of such a block: row `i` at step `k` is its value `[k][i]`.
    #[inline(always)]
    pub fn columns(block: *const f32, stride: usize) -> Self {
        Self {
            pointer: block,
            row_stride: 1,
            step_stride: stride,
        }
    }
}

/// Right operand: vector `j` at step `k` is at `pointer + j * vector_stride + k * step_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    /// First value.
    pub pointer: *const f32,
    /// Distance between vectors.
    pub vector_stride: usize,
    /// Distance between steps of the sum.
    pub step_stride: usize,
}

impl Right {
    /// A block of rows `stride` values long: step `k` is its row `k`, cut into vectors.
    #[inline(always)]
    pub fn rows<S: Simd>(block: *const f32, stride: usize) -> Self {
        Self {
            pointer: block,
            vector_stride: S::F32_LANES,
            step_stride: stride,
        }
    }
}

/// Result: vector `j` of row `i` is at `pointer + i * row_stride + j * vector_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// First value.
    pub pointer: *mut f32,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between vectors.
    pub vector_stride: usize,
}

impl Target {
    /// A block of rows `stride` values long, each cut into vectors.
    #[inline(always)]
    pub fn rows<S: Simd>(block: *mut f32, stride: usize) -> Self {
        Self {
            pointer: block,
            row_stride: stride,
            vector_stride: S::F32_LANES,
        }
    }

    /// Nowhere.
    pub const NOWHERE: Self = Self {
        pointer: std::ptr::null_mut(),
        row_stride: 0,
        vector_stride: 0,
    };
}

/// What becomes of a computed vector `x` of the product.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    /// `C = x`.
    Store,
    /// `C += x`.
    Add,
    /// `C = C * s + x`, where vector `j` of `s` is at the pointer plus `j` vectors.
    ScaleAdd(*const f32),
    /// With `y = x + bias[row]`: `C = y + skip[row]`, and `relu(y)` to the second target. Pieces
    /// may be left out.
    Expand(Expand),
    /// `C = C + [M > 0] x`, where M is laid out as C.
    AddMasked(*const f32),
    /// `C = [M > 0] x`, where M is laid out as C.
    Masked(*const f32),
}

impl Finish {
    /// The same for operands that begin `distance` values further on.
    pub fn moved_by(self, distance: usize) -> Self {
        match self {
            Self::Expand(mut expand) if !expand.activated.pointer.is_null() => {
                expand.activated.pointer = expand.activated.pointer.wrapping_add(distance);
                Self::Expand(expand)
            }
            Self::AddMasked(mask) => Self::AddMasked(mask.wrapping_add(distance)),
            Self::Masked(mask) => Self::Masked(mask.wrapping_add(distance)),
            other => other,
        }
    }
}

/// How a stage of an expansion ends; see [`Finish::Expand`].
#[derive(Clone, Copy, Debug)]
pub struct Expand {
    /// One bias a row, added to what both targets get.
    pub bias: *const f32,
    /// Whether C holds a value to be added to what is written to it.
    pub accumulate: bool,
    /// Whether C is written at all.
    pub keep: bool,
    /// Where the activated value goes; null for nowhere.
    pub activated: Target,
    /// Whether the activation is ReLU; otherwise the identity.
    pub relu: bool,
}
