//! The product that everything in attention and in the expansions is made of:
//! `C[m × n] = A[m × k] · B[k × n]` on operands that lie in the cache, without packing.
//!
//! A may have any strides, its values are broadcast. B and C are made of vectors: the lanes of a vector are
//! contiguous, and so every operand that holds tokens in its lanes can be read without being moved.

use pulp::Simd;

/// Repeats a block for `$index` = 0, 1, … below the constant `$count` (at most 12), written out: a loop that the compiler
/// leaves rolled would index the accumulators at run time and so keep them in memory.
macro_rules! unrolled {
    ($index:ident < $count:expr, $body:block) => {
        unrolled!(@ $index, $count, $body, 0 1 2 3 4 5 6 7 8 9 10 11)
    };
    (@ $index:ident, $count:expr, $body:block, $($value:literal)*) => {$(
        if $value < $count {
            let $index: usize = $value;
            $body
        }
    )*};
}

pub(super) use unrolled;

/// As [`unrolled`], for at most 4.
macro_rules! unrolled_by_four {
    ($index:ident < $count:expr, $body:block) => {
        unrolled!(@ $index, $count, $body, 0 1 2 3)
    };
}

/// Left operand: the value of row `i` at step `k` stands at `pointer + i * row_stride + k * step_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Left {
    /// First value.
    pub pointer: *const f32,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between steps of the sum.
    pub step_stride: usize,
}

/// Right operand: vector `j` at step `k` stands at `pointer + j * vector_stride + k * step_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Right {
    /// First value.
    pub pointer: *const f32,
    /// Distance between vectors.
    pub vector_stride: usize,
    /// Distance between steps of the sum.
    pub step_stride: usize,
}

/// Result: vector `j` of row `i` stands at `pointer + i * row_stride + j * vector_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// First value.
    pub pointer: *mut f32,
    /// Distance between rows.
    pub row_stride: usize,
    /// Distance between vectors.
    pub vector_stride: usize,
}

/// What becomes of a computed vector `x` of the product.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    /// `C = x`.
    Store,
    /// `C += x`.
    Add,
    /// `C = C * s + x`, where vector `j` of `s` stands at the pointer plus `j` vectors.
    ScaleAdd(*const f32),
    /// With `y = x + bias[row]`: `C = y + skip[row]`, and `relu(y)` to the second target. Pieces may be left out.
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

/// Loads one vector.
///
/// # Safety
/// `pointer` is readable for `S::F32_LANES` values.
#[inline(always)]
pub unsafe fn load<S: Simd>(_simd: S, pointer: *const f32) -> S::f32s {
    // SAFETY: readable by the caller's promise; a vector of float32 is plain data of any alignment here.
    unsafe { pointer.cast::<S::f32s>().read_unaligned() }
}

/// Stores one vector.
///
/// # Safety
/// `pointer` is writable for `S::F32_LANES` values.
#[inline(always)]
pub unsafe fn store<S: Simd>(_simd: S, pointer: *mut f32, value: S::f32s) {
    // SAFETY: writable by the caller's promise; a vector of float32 is plain data of any alignment here.
    unsafe { pointer.cast::<S::f32s>().write_unaligned(value) }
}

/// `Σ a·b` in float32, in one fixed order on every machine.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let (a_whole, a_rest) = a.as_chunks::<LANES>();
    let (b_whole, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_whole.iter().zip(b_whole) {
        for i in 0..LANES {
            sums[i] += a[i] * b[i];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// `rows × vectors` of the product, summed over `steps`, each vector of S.
///
/// # Safety
/// The operands are readable, the targets writable, over the whole index range; targets overlap no operand.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
pub unsafe fn product<S: Simd>(
    simd: S,
    rows: usize,
    vectors: usize,
    steps: usize,
    left: Left,
    right: Right,
    target: Target,
    finish: Finish,
) {
    let kernel = Product {
        rows,
        vectors,
        steps,
        left,
        right,
        target,
        finish,
    };
    simd.vectorize(kernel);
}

struct Product {
    rows: usize,
    vectors: usize,
    steps: usize,
    left: Left,
    right: Right,
    target: Target,
    finish: Finish,
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
            // SAFETY: a sub-range of the ranges that the caller of `product` vouched for.
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
        // SAFETY: `row + M <= rows`, `first + V <= vectors`, `step < steps`: inside the operands by the caller's promise.
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
        // SAFETY: `row + M <= rows` and `first + V <= vectors`: inside the targets by the caller's promise.
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
                Finish::Expand(expand) => {
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
                                let place = (row + m) * second.row_stride
                                    + (first + v) * second.vector_stride;
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
}
