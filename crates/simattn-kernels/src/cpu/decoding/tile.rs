//! The product of decoding: rows of float32 by panels of 32 columns.

use pulp::{Simd, WithSimd};

use super::number::Number;
use crate::cpu::tile::{load, store, unrolled, unrolled_by_four};

/// Columns of a panel.
pub(super) const PANEL: usize = 32;

/// Which rows of the right operand are summed over, in order: `outer` runs of `inner`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Steps {
    /// Runs.
    pub(super) outer: usize,
    /// Distance between the beginnings of runs.
    pub(super) outer_stride: usize,
    /// Rows of a run.
    pub(super) inner: usize,
    /// Distance between rows.
    pub(super) inner_stride: usize,
}

impl Steps {
    /// `count` rows of a panel, one behind the other.
    pub(super) fn of_panel(count: usize) -> Self {
        Self {
            outer: 1,
            outer_stride: 0,
            inner: count,
            inner_stride: PANEL,
        }
    }
}

/// Up to so many rows two panels are multiplied at once, where there are two: one panel's sums alone
/// would wait for each other.
const FEW_ROWS: usize = 3;

/// How far ahead of the sums memory is asked for the right operand, in bytes. The processor's own
/// look-ahead falls behind where a row of it is multiplied by several rows: with 8 rows this takes
/// 0.6 to 0.9 of the time (docs/measurements/kernels.md).
const AHEAD: usize = 4096;

/// Asks memory for what the sums will reach soon. It may lie behind the operand: nothing is read.
#[inline(always)]
fn ask_ahead<N>(at: *const N) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a request for memory reads and writes nothing and cannot fail, wherever it
        // points; every x86-64 has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(AHEAD)) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// `target[row][column] (+)= Σ left[row][step] · right[step][column]` for the columns of some
/// panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile<N> {
    /// Rows.
    pub(super) rows: usize,
    /// Their values; those of a row are contiguous.
    pub(super) left: *const f32,
    /// Distance between rows.
    pub(super) left_stride: usize,
    /// The first panel.
    pub(super) right: *const N,
    /// Panels.
    pub(super) panels: usize,
    /// Distance between panels.
    pub(super) panel_stride: usize,
    /// What is summed.
    pub(super) steps: Steps,
    /// Where the sums go.
    pub(super) target: *mut f32,
    /// Distance between rows there.
    pub(super) target_stride: usize,
    /// Whether the sums go on from what is there.
    pub(super) add: bool,
}

impl<N: Number> Tile<N> {
    /// Works it out.
    ///
    /// # Safety
    /// The operands are readable and the target is writable over their whole ranges, 32 columns of
    /// each panel and row; the target overlaps no operand.
    #[inline(always)]
    pub(super) unsafe fn run<S: Simd>(self, simd: S) {
        simd.vectorize(self);
    }

    /// M rows of V vectors from `row` and `column` of a panel on, with `PAIR` of two panels.
    #[inline(always)]
    unsafe fn tile<S: Simd, const V: usize, const M: usize, const PAIR: bool>(
        &self,
        simd: S,
        row: usize,
        panel: usize,
        column: usize,
    ) {
        let lanes = S::F32_LANES;
        let place = |v: usize| match PAIR {
            true => v * lanes / PANEL * self.panel_stride + v * lanes % PANEL,
            false => v * lanes,
        };
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        // SAFETY: `row + M <= rows`, and the vectors end with the panel or the second of a pair:
        // inside the operands and the target by the promise of the caller of `run`.
        unsafe {
            let from = panel * PANEL + column;
            let target = self.target.add(row * self.target_stride + from);
            let right = self.right.add(panel * self.panel_stride + column);
            if self.add {
                unrolled!(m < M, {
                    unrolled_by_four!(v < V, {
                        sums[m][v] = load(simd, target.add(m * self.target_stride + v * lanes));
                    });
                });
            }
            let steps = self.steps;
            let mut a = self.left.add(row * self.left_stride);
            for run in 0..steps.outer {
                let mut b = right.add(run * steps.outer_stride);
                for _ in 0..steps.inner {
                    let mut vectors = [simd.splat_f32s(0.0); V];
                    unrolled_by_four!(v < V, {
                        vectors[v] = N::load(simd, b.add(place(v)));
                        ask_ahead(b.wrapping_add(place(v)));
                    });
                    unrolled!(m < M, {
                        let value = simd.splat_f32s(*a.add(m * self.left_stride));
                        unrolled_by_four!(v < V, {
                            sums[m][v] = simd.mul_add_e_f32s(value, vectors[v], sums[m][v]);
                        });
                    });
                    a = a.wrapping_add(1);
                    b = b.wrapping_add(steps.inner_stride);
                }
            }
            unrolled!(m < M, {
                unrolled_by_four!(v < V, {
                    store(
                        simd,
                        target.add(m * self.target_stride + v * lanes),
                        sums[m][v],
                    );
                });
            });
        }
    }
}

impl<N: Number> WithSimd for Tile<N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut panel = 0;
        while panel < self.panels {
            // SAFETY: the panels are there by the promise of the caller of `run`.
            panel += unsafe {
                if S::F32_LANES == 16 && self.rows <= FEW_ROWS && self.panels - panel >= 2 {
                    match self.rows {
                        3 => self.tile::<S, 4, 3, true>(simd, 0, panel, 0),
                        2 => self.tile::<S, 4, 2, true>(simd, 0, panel, 0),
                        1 => self.tile::<S, 4, 1, true>(simd, 0, panel, 0),
                        _ => {}
                    }
                    2
                } else {
                    self.one_panel(simd, panel);
                    1
                }
            };
        }
    }
}

impl<N: Number> Tile<N> {
    /// All rows of one panel.
    ///
    /// # Safety
    /// As [`Tile::run`], for this panel.
    #[inline(always)]
    unsafe fn one_panel<S: Simd>(&self, simd: S, panel: usize) {
        let mut row = 0;
        while row < self.rows {
            let left = self.rows - row;
            // SAFETY: every tile lies inside the rows and the panel. The sizes fill the registers:
            // accumulators, one row of the panel, one value of a row.
            row += unsafe {
                match S::F32_LANES {
                    16 => match left {
                        12.. => self.across::<S, 2, 12>(simd, row, panel),
                        8.. => self.across::<S, 2, 8>(simd, row, panel),
                        4.. => self.across::<S, 2, 4>(simd, row, panel),
                        3 => self.across::<S, 2, 3>(simd, row, panel),
                        2 => self.across::<S, 2, 2>(simd, row, panel),
                        _ => self.across::<S, 2, 1>(simd, row, panel),
                    },
                    8 => match left {
                        6.. => self.across::<S, 2, 6>(simd, row, panel),
                        3.. => self.across::<S, 2, 3>(simd, row, panel),
                        _ => self.across::<S, 4, 1>(simd, row, panel),
                    },
                    4 => match left {
                        4.. => self.across::<S, 4, 4>(simd, row, panel),
                        _ => self.across::<S, 4, 1>(simd, row, panel),
                    },
                    _ => self.across::<S, 4, 1>(simd, row, panel),
                }
            };
        }
    }

    /// M rows of a panel, V vectors at a time; returns M.
    ///
    /// # Safety
    /// As [`Tile::run`], for these rows.
    #[inline(always)]
    unsafe fn across<S: Simd, const V: usize, const M: usize>(
        &self,
        simd: S,
        row: usize,
        panel: usize,
    ) -> usize {
        for column in (0..PANEL).step_by(V * S::F32_LANES) {
            // SAFETY: the caller's promise; V vectors divide a panel.
            unsafe { self.tile::<S, V, M, false>(simd, row, panel, column) };
        }
        M
    }
}
