//! Matrix units: what a device multiplies at once, and products of tiles in shared memory through
//! them.
//!
//! They are used for float16 and bfloat16, and for float32 where a device has them for float32 as
//! it is; sums are always float32. A cube is [`Units::plane`] × planes threads; a plane works out
//! whole rows of a product, [`Units::rows`] of them.

use cubecl::client::Client;
use cubecl::cmma::{self, Matrix, MatrixIdent, MatrixLayout};
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;

/// Which kernels on matrix units may be chosen: `SIMATTN_MATRIX_UNITS` in the environment, to compare
/// them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MatrixUnits {
    /// Those made for a device, where it has what they need.
    Best,
    /// The same without `wgmma` (`mma`).
    Mma,
    /// Only those that run wherever there are matrix units (`portable`).
    Portable,
    /// None (`off`).
    Off,
}

impl MatrixUnits {
    pub fn chosen() -> Self {
        match std::env::var("SIMATTN_MATRIX_UNITS").as_deref() {
            Ok("off") => Self::Off,
            Ok("portable") => Self::Portable,
            Ok("mma") => Self::Mma,
            _ => Self::Best,
        }
    }

    /// Whether tensor cores may be used by kernels of their own.
    pub fn tensor_cores() -> bool {
        matches!(Self::chosen(), Self::Best | Self::Mma)
    }
}

/// What a plane of a device multiplies at once: [m, k] × [k, n], n being m.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Units {
    /// Rows of a result, and its columns.
    pub side: usize,
    /// Terms of each sum.
    pub depth: usize,
    /// Threads of a plane.
    pub plane: usize,
    /// Bytes of a value.
    pub bytes: usize,
    /// Results below one another that a plane works out: each part of a right operand is loaded
    /// once for all of them.
    pub shares: usize,
}

impl Units {
    /// Those of a device for values of type `element`, if it has them and its planes are all of one
    /// size.
    ///
    /// [`MatrixUnits::Off`] hides them.
    pub fn of(client: &Client, element: ElemType) -> Option<Self> {
        if MatrixUnits::chosen() == MatrixUnits::Off {
            return None;
        }
        let properties = client.properties();
        let plane = properties.hardware.plane_size_min as usize;
        // Rows of scores belong to four neighbouring threads, which must not stand in two planes.
        let usable =
            plane == properties.hardware.plane_size_max as usize && plane.is_multiple_of(4);
        let float32 = ElemType::Float(FloatKind::F32);
        properties
            .features
            .matmul
            .cmma
            .iter()
            .filter(|unit| {
                usable
                    && [unit.a_type, unit.b_type] == [element; 2]
                    && unit.cd_type == float32
                    && unit.m == unit.n
                    && unit.m.is_power_of_two()
                    && unit.k.is_power_of_two()
            })
            .map(|unit| Self {
                side: unit.m as usize,
                depth: unit.k as usize,
                plane,
                bytes: element.size(),
                shares: 1,
            })
            .max_by_key(|unit| unit.side * unit.depth)
    }

    /// With `shares` results below one another for every plane.
    pub fn sharing(self, shares: usize) -> Self {
        Self { shares, ..self }
    }

    /// Rows of a product that a plane works out.
    pub fn rows(&self) -> usize {
        self.side * self.shares
    }

    /// Results of the unit beside one another that hold `width` columns.
    pub fn results(&self, width: usize) -> usize {
        width.div_ceil(self.side)
    }

    /// The next width that the unit divides, as columns and as terms.
    pub fn padded(&self, width: usize) -> usize {
        width.next_multiple_of(self.side.max(self.depth))
    }

    /// Values between two rows of `width` values in shared memory: 16 bytes more than they need, so
    /// that a column's values lie in different banks.
    pub fn stride(&self, width: usize) -> usize {
        self.padded(width) + 16 / self.bytes
    }

    /// Bytes of `rows` rows of `width` values in shared memory.
    pub fn staged(&self, rows: usize, width: usize) -> usize {
        rows * self.stride(width) * self.bytes
    }

    /// The cube for a tile of `tile` rows.
    pub fn cube(&self, tile: usize) -> CubeDim {
        CubeDim::new_2d(self.plane as u32, (tile / self.rows()) as u32)
    }
}

/// Float32 values between two rows of a tile of results in shared memory.
pub(super) const fn results_stride(columns: usize) -> usize {
    columns + 4
}

/// A plane's results, [`Units::shares`] below and `results` beside one another, all zero.
#[cube]
pub(super) fn no_sums(
    #[comptime] results: usize,
    #[comptime] units: Units,
) -> Sequence<Matrix<f32>> {
    let mut sums = Sequence::new();
    #[unroll]
    for _ in 0..comptime!(units.shares * results) {
        sums.push(zero::<f32>(
            MatrixIdent::Accumulator,
            MatrixLayout::Undefined,
            units,
        ));
    }
    sums
}

/// One operand or result of the unit, all zero.
#[cube]
pub(super) fn zero<F: Float>(
    #[comptime] ident: MatrixIdent,
    #[comptime] layout: MatrixLayout,
    #[comptime] units: Units,
) -> Matrix<F> {
    Matrix::<F>::from_value(
        ident,
        comptime!(units.side),
        comptime!(units.side),
        comptime!(units.depth),
        layout,
        F::new(0.0),
    )
}

/// Where an operand is in shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Operand {
    /// Values between two rows.
    pub stride: usize,
    /// Values of an element of the buffer.
    pub vector: usize,
}

/// `sums[i, j] += Σ_w left[i, w] · right[w, j]` over `depth` values, a multiple of the unit's
/// depth, for the plane's rows.
///
/// With `by_rows`, `right` is [j, w] instead, row by row.
#[cube]
pub(super) fn multiply<F: Float, L: CubePrimitive, R: CubePrimitive>(
    sums: &mut Sequence<Matrix<f32>>,
    left: &[L],
    #[comptime] of_left: Operand,
    right: &[R],
    #[comptime] of_right: Operand,
    #[comptime] by_rows: bool,
    #[comptime] depth: usize,
    #[comptime] results: usize,
    #[comptime] units: Units,
) {
    let side = comptime!(units.side);
    let shares = comptime!(units.shares);
    let layout = comptime!(if by_rows {
        MatrixLayout::ColMajor
    } else {
        MatrixLayout::RowMajor
    });
    let first_row = UNIT_POS_Y as usize * comptime!(units.rows());
    let left_end = left.len();
    let right_end = right.len();
    for step in 0..comptime!(depth / units.depth) {
        let term = step * comptime!(units.depth);
        let mut lefts = Sequence::<Matrix<F>>::new();
        #[unroll]
        for share in 0..shares {
            let row = first_row + comptime!(share * side);
            let at = (row * comptime!(of_left.stride) + term) / comptime!(of_left.vector);
            let mut left_part = zero::<F>(MatrixIdent::A, MatrixLayout::RowMajor, units);
            cmma::load(
                &mut left_part,
                left.slice(at, left_end),
                comptime!(of_left.stride as u32),
            );
            lefts.push(left_part);
        }
        #[unroll]
        for result in 0..results {
            let mut at = term * comptime!(of_right.stride) + comptime!(result * side);
            if comptime!(by_rows) {
                at = comptime!(result * side * of_right.stride) + term;
            }
            let mut right_part = zero::<F>(MatrixIdent::B, layout, units);
            cmma::load(
                &mut right_part,
                right.slice(at / comptime!(of_right.vector), right_end),
                comptime!(of_right.stride as u32),
            );
            #[unroll]
            for share in 0..shares {
                let sum = sums.index(comptime!(share * results + result));
                cmma::execute(lefts.index(share), &right_part, sum, sum);
            }
        }
    }
}

/// Sets `count` of the plane's results beside one another, from number `first` on, into `into`
/// [rows, stride]; with `by_columns` a column's values stand beside one another, [columns, stride].
#[cube]
pub(super) fn store_results(
    into: &mut Shared<[f32]>,
    sums: &Sequence<Matrix<f32>>,
    #[comptime] first: usize,
    #[comptime] count: usize,
    #[comptime] results: usize,
    #[comptime] stride: usize,
    #[comptime] by_columns: bool,
    #[comptime] units: Units,
) {
    let layout = comptime!(if by_columns {
        MatrixLayout::ColMajor
    } else {
        MatrixLayout::RowMajor
    });
    let first_row = UNIT_POS_Y as usize * comptime!(units.rows());
    let end = into.len();
    #[unroll]
    for share in 0..comptime!(units.shares) {
        let row = first_row + comptime!(share * units.side);
        #[unroll]
        for result in 0..count {
            let column = comptime!(result * units.side);
            let mut at = row * stride + column;
            if comptime!(by_columns) {
                at = column * stride + row;
            }
            cmma::store(
                into.slice_mut(at, end),
                sums.index(comptime!(share * results + first + result)),
                comptime!(stride as u32),
                layout,
            );
        }
    }
}

/// Takes back what [`store_results`] set.
#[cube]
pub(super) fn load_results(
    from: &Shared<[f32]>,
    sums: &mut Sequence<Matrix<f32>>,
    #[comptime] first: usize,
    #[comptime] count: usize,
    #[comptime] results: usize,
    #[comptime] stride: usize,
    #[comptime] units: Units,
) {
    let first_row = UNIT_POS_Y as usize * comptime!(units.rows());
    let end = from.len();
    #[unroll]
    for share in 0..comptime!(units.shares) {
        #[unroll]
        for result in 0..count {
            let at = (first_row + comptime!(share * units.side)) * stride
                + comptime!(result * units.side);
            cmma::load_with_layout(
                sums.index_mut(comptime!(share * results + first + result)),
                from.slice(at, end),
                comptime!(stride as u32),
                MatrixLayout::RowMajor,
            );
        }
    }
}
