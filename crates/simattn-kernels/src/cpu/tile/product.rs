//! The product itself, in tiles of registers.

use pulp::Simd;

use super::{Expand, Finish, Left, Right, Target, load, store};

/// One product: `rows × vectors` of the result, summed over `steps`, each vector of S.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// Rows of A and C.
    pub rows: usize,
    /// Vectors in a row of B and C.
    pub vectors: usize,
    /// Values that are summed.
    pub steps: usize,
    /// A
    pub left: Left,
    /// B
    pub right: Right,
    /// C
    pub target: Target,
    /// What becomes of it.
    pub finish: Finish,
}

impl Product {
    /// Works it out.
    ///
    /// # Safety
    /// The operands are readable, the targets writable, over the whole index range; targets overlap
    /// no operand.
    #[inline(always)]
    pub unsafe fn run<S: Simd>(self, simd: S) {
        simd.vectorize(self);
    }
}

impl pulp::WithSimd for Product {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let mut done = 0;
        // Registers: the accumulators, one row of B, one broadcast of A.
        let widest = if S::REGISTER_COUNT >= 32 { 4 } else { 2 };
        while done < self.vectors {
            let vectors = match self.vectors - done {
                left if left >= widest => widest,
                2 | 3 => 2,
                _ => 1,
            };
            // SAFETY: a sub-range of the ranges that the caller of `run` vouched for.
            unsafe {
                match vectors {
                    4 if S::REGISTER_COUNT >= 32 => self.columns::<S, 4, 6>(simd, done),
                    2 if S::REGISTER_COUNT >= 32 => self.columns::<S, 2, 12>(simd, done),
                    2 => self.columns::<S, 2, 6>(simd, done),
                    _ => self.columns::<S, 1, 12>(simd, done),
                }
            }
            done += vectors;
        }
    }
}

impl Product {
    /// All rows of `V` vectors from vector `first`, `M` rows at a time, the rest in smaller tiles.
    #[inline(always)]
    unsafe fn columns<S: Simd, const V: usize, const M: usize>(&self, simd: S, first: usize) {
        let mut row = 0;
        // SAFETY: every tile lies inside `rows` and `vectors`.
        unsafe {
            while self.rows - row >= M {
                self.tile::<S, V, M>(simd, first, row);
                row += M;
            }
            // Few sizes of tiles: each is compiled for every instruction set.
            if self.rows - row >= 4 {
                self.tile::<S, V, 4>(simd, first, row);
                row += 4;
            }
            if M > 8 && self.rows - row >= 4 {
                self.tile::<S, V, 4>(simd, first, row);
                row += 4;
            }
            while self.rows > row {
                self.tile::<S, V, 1>(simd, first, row);
                row += 1;
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<S: Simd, const V: usize, const M: usize>(
        &self,
        simd: S,
        first: usize,
        row: usize,
    ) {
        let (left, right) = (self.left, self.right);
        let mut sums = [[simd.splat_f32s(0.0); V]; M];
        // SAFETY: `row + M <= rows`, `first + V <= vectors`, `step < steps`: inside the operands by
        // the caller's promise.
        unsafe {
            let mut a = left.pointer.add(row * left.row_stride);
            let mut b = right.pointer.add(first * right.vector_stride);
            for _ in 0..self.steps {
                let mut vectors = [simd.splat_f32s(0.0); V];
                unrolled_by_four!(v < V, {
                    vectors[v] = load(simd, b.add(v * right.vector_stride));
                });
                unrolled!(m < M, {
                    let value = simd.splat_f32s(*a.add(m * left.row_stride));
                    unrolled_by_four!(v < V, {
                        sums[m][v] = simd.mul_add_e_f32s(value, vectors[v], sums[m][v]);
                    });
                });
                a = a.wrapping_add(left.step_stride);
                b = b.wrapping_add(right.step_stride);
            }
            self.end::<S, V, M>(simd, first, row, &sums);
        }
    }

    #[inline(always)]
    unsafe fn end<S: Simd, const V: usize, const M: usize>(
        &self,
        simd: S,
        first: usize,
        row: usize,
        sums: &[[S::f32s; V]; M],
    ) {
        let target = self.target;
        let at =
            |m: usize, v: usize| (row + m) * target.row_stride + (first + v) * target.vector_stride;
        let zero = simd.splat_f32s(0.0);
        // SAFETY: `row + M <= rows` and `first + V <= vectors`: inside the targets by the caller's
        // promise.
        unsafe {
            match self.finish {
                Finish::Store => {
                    unrolled!(m < M, {
                        unrolled_by_four!(v < V, {
                            store(simd, target.pointer.add(at(m, v)), sums[m][v]);
                        });
                    });
                }
                Finish::Add => {
                    unrolled!(m < M, {
                        unrolled_by_four!(v < V, {
                            let c = target.pointer.add(at(m, v));
                            store(simd, c, simd.add_f32s(load(simd, c), sums[m][v]));
                        });
                    });
                }
                Finish::ScaleAdd(scale) => {
                    unrolled_by_four!(v < V, {
                        let scale = load(simd, scale.add((first + v) * S::F32_LANES));
                        unrolled!(m < M, {
                            let c = target.pointer.add(at(m, v));
                            store(
                                simd,
                                c,
                                simd.mul_add_e_f32s(load(simd, c), scale, sums[m][v]),
                            );
                        });
                    });
                }
                Finish::Expand(expand) => self.expand(simd, expand, first, row, sums),
                Finish::AddMasked(mask) => {
                    unrolled!(m < M, {
                        unrolled_by_four!(v < V, {
                            let c = target.pointer.add(at(m, v));
                            let on = simd.greater_than_f32s(load(simd, mask.add(at(m, v))), zero);
                            store(
                                simd,
                                c,
                                simd.add_f32s(
                                    load(simd, c),
                                    simd.select_f32s(on, sums[m][v], zero),
                                ),
                            );
                        });
                    });
                }
                Finish::Masked(mask) => {
                    unrolled!(m < M, {
                        unrolled_by_four!(v < V, {
                            let on = simd.greater_than_f32s(load(simd, mask.add(at(m, v))), zero);
                            store(
                                simd,
                                target.pointer.add(at(m, v)),
                                simd.select_f32s(on, sums[m][v], zero),
                            );
                        });
                    });
                }
            }
        }
    }

    /// The end of an expansion's stage; see [`Finish::Expand`].
    #[inline(always)]
    unsafe fn expand<S: Simd, const V: usize, const M: usize>(
        &self,
        simd: S,
        expand: Expand,
        first: usize,
        row: usize,
        sums: &[[S::f32s; V]; M],
    ) {
        let target = self.target;
        let at =
            |m: usize, v: usize| (row + m) * target.row_stride + (first + v) * target.vector_stride;
        let zero = simd.splat_f32s(0.0);
        // SAFETY: as `end`.
        unsafe {
            let second = expand.activated;
            unrolled!(m < M, {
                let bias = simd.splat_f32s(*expand.bias.add(row + m));
                unrolled_by_four!(v < V, {
                    let y = simd.add_f32s(sums[m][v], bias);
                    if expand.keep {
                        let c = target.pointer.add(at(m, v));
                        let kept = if expand.accumulate {
                            simd.add_f32s(load(simd, c), y)
                        } else {
                            y
                        };
                        store(simd, c, kept);
                    }
                    if !second.pointer.is_null() {
                        let place =
                            (row + m) * second.row_stride + (first + v) * second.vector_stride;
                        let y = if expand.relu {
                            simd.max_f32s(y, zero)
                        } else {
                            y
                        };
                        store(simd, second.pointer.add(place), y);
                    }
                });
            });
        }
    }
}
