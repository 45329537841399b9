//! The kernels for tensor cores (`cube/attention/mma`, `cube/product`, `cube/expansion/mma`) without a
//! GPU: which thread holds which value, and which address it gives, on a model of both instructions.
//! A plane computes attention forward and backward, products of matrices, and maps along the heads,
//! as its kernels do.
//!
//! Not covered: what CubeCL makes of the kernels' text, copies and barriers between planes.

#[allow(dead_code)]
#[path = "../src/cube/tensor_cores/lanes.rs"]
mod lanes;

/// The name under which the layout of windows knows `lanes`.
mod cube {
    pub mod tensor_cores {
        pub(crate) use crate::lanes;
    }
}

#[allow(dead_code)]
#[path = "../src/cube/expansion/mma/heads/layout.rs"]
mod layout;

#[allow(dead_code)]
#[path = "../src/cube/product/wgmma/layout.rs"]
mod swizzled;

#[path = "tensor_cores/instructions.rs"]
mod instructions;
#[path = "tensor_cores/maps.rs"]
mod maps;
#[path = "tensor_cores/plane.rs"]
mod plane;
#[path = "tensor_cores/product.rs"]
mod product;
#[path = "tensor_cores/wgmma.rs"]
mod wgmma;

use instructions::{Sum, place_in_left, place_in_sum};
use lanes::{COLUMNS, SIDE, half_of_register, product_of_register, row_chunks};
use plane::{
    Rows, Softmax, as_left, each, hide, load_left, multiply_rows, multiply_turned, no_sums,
};

const BLOCK: usize = 64;
const LOG2_E: f32 = std::f32::consts::LOG2_E;

/// One head, with the definition's results in float64.
struct Case {
    q: Rows,
    k: Rows,
    v: Rows,
    dy: Rows,
    causal: bool,
    scale: f32,
}

/// What attention and its gradients are, row by row.
struct Exact {
    out: Vec<f64>,
    sums: Vec<f64>,
    deltas: Vec<f64>,
    dq: Vec<f64>,
    dk: Vec<f64>,
    dv: Vec<f64>,
}

impl Case {
    fn new(queries: usize, keys: usize, [width, value_width]: [usize; 2], causal: bool) -> Self {
        let mut state = (queries * 1000 + keys * 10 + width) as u64;
        let mut rows = |count: usize, width: usize| {
            let mut value = || {
                state = state
                    .wrapping_mul(6364136223846793005)
                    .wrapping_add(1442695040888963407);
                (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
            };
            Rows {
                values: (0..count * width).map(|_| value()).collect(),
                width,
            }
        };
        Self {
            q: rows(queries, width),
            k: rows(keys, width),
            v: rows(keys, value_width),
            dy: rows(queries, value_width),
            causal,
            scale: 2.0 / (width as f32).sqrt(),
        }
    }

    /// Whether query `i` sees key `j`; the last queries see all keys.
    fn sees(&self, i: usize, j: usize) -> bool {
        let there = i < self.q.len() && j < self.k.len();
        there && (!self.causal || j + self.q.len() <= i + self.k.len())
    }

    fn exact(&self) -> Exact {
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(&a, &b)| f64::from(a) * f64::from(b))
                .sum()
        };
        let (queries, keys) = (self.q.len(), self.k.len());
        let mut exact = Exact {
            out: vec![0.0; queries * self.v.width],
            sums: Vec::new(),
            deltas: Vec::new(),
            dq: vec![0.0; queries * self.q.width],
            dk: vec![0.0; keys * self.k.width],
            dv: vec![0.0; keys * self.v.width],
        };
        let add = |to: &mut [f64], row: usize, from: &[f32], factor: f64| {
            let to = &mut to[row * from.len()..][..from.len()];
            to.iter_mut()
                .zip(from)
                .for_each(|(to, &x)| *to += factor * f64::from(x));
        };
        for i in 0..queries {
            let score = |j: usize| dot(self.q.row(i), self.k.row(j)) * f64::from(self.scale);
            let seen: Vec<_> = (0..keys).filter(|&j| self.sees(i, j)).collect();
            let sum = seen.iter().map(|&j| score(j).exp()).sum::<f64>().ln();
            let weight = |j: usize| (score(j) - sum).exp();
            let of_weight = |j: usize| dot(self.dy.row(i), self.v.row(j));
            let delta = seen.iter().map(|&j| weight(j) * of_weight(j)).sum::<f64>();
            for &j in &seen {
                let of_score = weight(j) * (of_weight(j) - delta) * f64::from(self.scale);
                add(&mut exact.out, i, self.v.row(j), weight(j));
                add(&mut exact.dq, i, self.k.row(j), of_score);
                add(&mut exact.dk, j, self.q.row(i), of_score);
                add(&mut exact.dv, j, self.dy.row(i), weight(j));
            }
            exact.sums.push(sum);
            exact.deltas.push(delta);
        }
        exact
    }

    /// The output and the log-sum-exp of a plane's queries from `first` on, as
    /// `attention_forward_mma` computes them.
    fn forward(&self, first: usize, parts: usize) -> (Vec<Sum>, Softmax) {
        let (width, value_width) = (self.q.width, self.v.width);
        let (factor, products) = (self.scale * LOG2_E, BLOCK / COLUMNS);
        let left = load_left(&self.q.staged(first, parts * SIDE), parts, width);
        let mut outputs = no_sums(parts * value_width / COLUMNS);
        let mut softmax = Softmax::new(parts);
        for key in (0..self.k.len()).step_by(BLOCK) {
            let (keys, values) = (self.k.staged(key, BLOCK), self.v.staged(key, BLOCK));
            let mut scores = no_sums(parts * products);
            multiply_rows(&mut scores, &left, &keys, [0, BLOCK], width);
            hide(&mut scores, products, |i, j| self.sees(first + i, key + j));
            softmax.raise(&scores, &mut outputs, factor);
            softmax.weigh(&mut scores, factor);
            for step in 0..BLOCK / SIDE {
                let left = |part| as_left(&scores, part * products + 2 * step);
                let left: Vec<_> = (0..parts).map(left).collect();
                multiply_turned(&mut outputs, &left, &values, step * SIDE, value_width);
            }
        }
        (outputs, softmax)
    }

    /// The gradient of a plane's queries, without the scale, as `attention_query_gradients_mma`
    /// computes it.
    fn query_gradients(&self, exact: &Exact, first: usize, parts: usize, step: usize) -> Vec<Sum> {
        let (width, value_width) = (self.q.width, self.v.width);
        let (factor, products) = (self.scale * LOG2_E, step / COLUMNS);
        let of_row = |terms: &[f64], row: usize| terms[(first + row).min(terms.len() - 1)] as f32;
        let q = load_left(&self.q.staged(first, parts * SIDE), parts, width);
        let dy = load_left(&self.dy.staged(first, parts * SIDE), parts, value_width);
        let mut outputs = no_sums(parts * width / COLUMNS);
        for key in (0..self.k.len()).step_by(BLOCK) {
            let (keys, values) = (self.k.staged(key, BLOCK), self.v.staged(key, BLOCK));
            for from in (0..BLOCK).step_by(step) {
                let mut scores = no_sums(parts * products);
                multiply_rows(&mut scores, &q, &keys, [from, step], width);
                let mut gradients = no_sums(parts * products);
                multiply_rows(&mut gradients, &dy, &values, [from, step], value_width);
                hide(&mut scores, products, |i, j| {
                    self.sees(first + i, key + from + j)
                });
                each(&mut scores, products, |row, _, score| {
                    *score = (*score * factor - of_row(&exact.sums, row) * LOG2_E).exp2();
                });
                each(&mut gradients, products, |row, _, gradient| {
                    *gradient -= of_row(&exact.deltas, row);
                });
                product_of(&mut gradients, &scores);
                for terms in 0..step / SIDE {
                    let left = |part| as_left(&gradients, part * products + 2 * terms);
                    let left: Vec<_> = (0..parts).map(left).collect();
                    multiply_turned(&mut outputs, &left, &keys, from + terms * SIDE, width);
                }
            }
        }
        outputs
    }

    /// The gradients of a plane's keys and values, without the scale, as
    /// `attention_key_gradients_mma` computes them.
    fn key_gradients(&self, exact: &Exact, first: usize, step: usize) -> [Vec<Sum>; 2] {
        let (width, value_width) = (self.q.width, self.v.width);
        let (factor, products) = (self.scale * LOG2_E, step / COLUMNS);
        let k = load_left(&self.k.staged(first, SIDE), 1, width);
        let v = load_left(&self.v.staged(first, SIDE), 1, value_width);
        let (mut of_keys, mut of_values) =
            (no_sums(width / COLUMNS), no_sums(value_width / COLUMNS));
        for query in (0..self.q.len()).step_by(BLOCK) {
            let (queries, gradients) = (self.q.staged(query, BLOCK), self.dy.staged(query, BLOCK));
            let term = |terms: &[f64], i: usize| terms[(query + i).min(terms.len() - 1)] as f32;
            for from in (0..BLOCK).step_by(step) {
                let mut scores = no_sums(products);
                multiply_rows(&mut scores, &k, &queries, [from, step], width);
                let mut of_scores = no_sums(products);
                multiply_rows(&mut of_scores, &v, &gradients, [from, step], value_width);
                hide(&mut scores, products, |j, i| {
                    self.sees(query + from + i, first + j)
                });
                each(&mut scores, products, |_, i, score| {
                    *score = (*score * factor - term(&exact.sums, from + i) * LOG2_E).exp2();
                });
                each(&mut of_scores, products, |_, i, gradient| {
                    *gradient -= term(&exact.deltas, from + i);
                });
                product_of(&mut of_scores, &scores);
                for group in 0..step / SIDE {
                    let at = from + group * SIDE;
                    let weights = [as_left(&scores, 2 * group)];
                    multiply_turned(&mut of_values, &weights, &gradients, at, value_width);
                    let of_scores = [as_left(&of_scores, 2 * group)];
                    multiply_turned(&mut of_keys, &of_scores, &queries, at, width);
                }
            }
        }
        [of_keys, of_values]
    }
}

/// Value by value, where both lie in the same places.
fn product_of(sums: &mut [Sum], factors: &[Sum]) {
    let values = |sum: &Sum| -> Vec<f32> { sum.iter().flatten().flatten().copied().collect() };
    for (sum, factor) in sums.iter_mut().zip(factors) {
        let factors = values(factor);
        let values = sum.iter_mut().flatten().flatten();
        values
            .zip(factors)
            .for_each(|(value, factor)| *value *= factor);
    }
}

/// Asserts that the plane's rows from `first` on are those of `exact`, those that there are.
#[track_caller]
fn assert_rows(
    what: &str,
    mut sums: Vec<Sum>,
    exact: &[f64],
    first: usize,
    width: usize,
    factor: impl Fn(usize) -> f32,
) {
    let mut count = 0;
    each(&mut sums, width / COLUMNS, |row, column, value| {
        let Some(&exact) = exact.get((first + row) * width + column) else {
            return;
        };
        let got = f64::from(*value * factor(row));
        let near = (got - exact).abs() <= 2e-5 * (1.0 + exact.abs());
        assert!(
            near,
            "{what}, row {row}, column {column}: {got} for {exact}"
        );
        count += 1;
    });
    let rows = (exact.len() / width).saturating_sub(first);
    assert_eq!(
        count,
        rows.min(sums.len() * COLUMNS / width * SIDE) * width,
        "{what}"
    );
}

/// Lengths that blocks divide and others, fewer queries than keys, every width of the kernels once.
fn cases() -> impl Iterator<Item = Case> {
    [
        (64, 64, [64, 64], true),
        (33, 70, [96, 64], true),
        (70, 131, [16, 48], false),
        (17, 17, [128, 128], true),
        (20, 129, [32, 112], true),
        (66, 5, [80, 16], false),
    ]
    .into_iter()
    .map(|(queries, keys, widths, causal)| Case::new(queries, keys, widths, causal))
}

#[test]
fn a_plane_computes_attention() {
    for case in cases() {
        let exact = case.exact();
        for parts in [1, 2] {
            for first in (0..case.q.len()).step_by(parts * SIDE) {
                let (outputs, softmax) = case.forward(first, parts);
                let factor = |row| 1.0 / softmax.row(row, case.scale).0;
                assert_rows("output", outputs, &exact.out, first, case.v.width, factor);
                for row in 0..(parts * SIDE).min(case.q.len() - first) {
                    let sum = f64::from(softmax.row(row, case.scale).1);
                    assert!((sum - exact.sums[first + row]).abs() < 1e-5);
                }
            }
        }
    }
}

#[test]
fn a_plane_computes_the_gradient_of_its_queries() {
    for case in cases() {
        let exact = case.exact();
        for (parts, step) in [(1, 32), (2, 16)] {
            for first in (0..case.q.len()).step_by(parts * SIDE) {
                let outputs = case.query_gradients(&exact, first, parts, step);
                let factor = |_| case.scale;
                assert_rows("dq", outputs, &exact.dq, first, case.q.width, factor);
            }
        }
    }
}

#[test]
fn a_plane_computes_the_gradients_of_its_keys() {
    for case in cases() {
        let exact = case.exact();
        for step in [16, 32] {
            for first in (0..case.k.len()).step_by(SIDE) {
                let [of_keys, of_values] = case.key_gradients(&exact, first, step);
                let factor = |_| case.scale;
                assert_rows("dk", of_keys, &exact.dk, first, case.k.width, factor);
                assert_rows("dv", of_values, &exact.dv, first, case.v.width, |_| 1.0);
            }
        }
    }
}

/// Two neighbouring products lie where a left operand's values do.
#[test]
fn results_are_left_operands() {
    for thread in 0..32 {
        for i in 0..8 {
            let (product, half) = (product_of_register(i / 2), half_of_register(i / 2));
            let (row, column) = place_in_sum(thread, 2 * half + i % 2);
            let place = (row, column + product * COLUMNS);
            assert_eq!(place_in_left(thread, i), place);
            assert_eq!(lanes::register_of(product, half), i / 2);
            assert_eq!(lanes::sum_row(thread, half), row);
            assert_eq!(lanes::sum_column(thread) + i % 2, column);
        }
    }
}

/// The eight rows that `ldmatrix` reads at once lie in different banks: 32 of 4 bytes, which eight
/// chunks fill.
#[test]
fn rows_below_one_another_lie_in_different_banks() {
    for width in (16..=128).step_by(16) {
        let mut banks: Vec<_> = (0..8).map(|row| row * row_chunks(width) % 8).collect();
        banks.sort_unstable();
        assert_eq!(banks, [0, 1, 2, 3, 4, 5, 6, 7], "width {width}");
    }
}
