use proptest::prelude::*;
use simattn_kernels::cpu::linear::{
    LinearShape, bias_gradient, forward, input_gradient, weight_gradient,
};

use crate::{assert_same_on_any_number_of_threads, assert_sums, normals, over_nan};

/// Σ term(i, j, k) over k for each i and j in float64, and the same of the absolute values.
fn product(
    rows: usize,
    columns: usize,
    inner: usize,
    term: impl Fn(usize, usize, usize) -> (f32, f32),
) -> (Vec<f64>, Vec<f64>) {
    let mut sums = (Vec::new(), Vec::new());
    for i in 0..rows {
        for j in 0..columns {
            let terms = (0..inner).map(|k| {
                let (a, b) = term(i, j, k);
                f64::from(a) * f64::from(b)
            });
            sums.0.push(terms.clone().sum());
            sums.1.push(terms.map(f64::abs).sum());
        }
    }
    sums
}

struct Case {
    shape: LinearShape,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    dy: Vec<f32>,
}

impl Case {
    fn new(rows: usize, inputs: usize, outputs: usize) -> Self {
        Self {
            shape: LinearShape {
                rows,
                inputs,
                outputs,
            },
            x: normals("x", rows * inputs),
            weight: normals("weight", inputs * outputs),
            bias: normals("bias", outputs),
            dy: normals("dy", rows * outputs),
        }
    }

    fn forward(&self, bias: bool) -> Vec<f32> {
        let bias = bias.then_some(self.bias.as_slice());
        over_nan(self.dy.len(), |y| {
            forward(self.shape, &self.x, &self.weight, bias, y)
        })
    }

    fn gradients(&self) -> [Vec<f32>; 3] {
        [
            over_nan(self.x.len(), |dx| {
                input_gradient(self.shape, &self.dy, &self.weight, dx)
            }),
            over_nan(self.weight.len(), |dw| {
                weight_gradient(self.shape, &self.dy, &self.x, dw)
            }),
            bias_gradient(self.shape.outputs, &self.dy),
        ]
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn values_and_gradients_are_those_of_plain_loops(
        rows in 0..200_usize,
        inputs in 0..70_usize,
        outputs in 0..90_usize,
    ) {
        const MOST: f64 = 5e-7;
        let case = Case::new(rows, inputs, outputs);
        let (mut want, mut size) = product(rows, outputs, inputs, |n, o, i| {
            (case.x[n * inputs + i], case.weight[o * inputs + i])
        });
        assert_sums("y without bias", &case.forward(false), &want, &size, MOST);
        for (i, (want, size)) in want.iter_mut().zip(&mut size).enumerate() {
            let bias = f64::from(case.bias[i % outputs]);
            *want += bias;
            *size += bias.abs();
        }
        assert_sums("y", &case.forward(true), &want, &size, MOST);
        let [dx, dw, db] = case.gradients();
        let (want, size) = product(rows, inputs, outputs, |n, i, o| {
            (case.dy[n * outputs + o], case.weight[o * inputs + i])
        });
        assert_sums("dx", &dx, &want, &size, MOST);
        let (want, size) = product(outputs, inputs, rows, |o, i, n| {
            (case.dy[n * outputs + o], case.x[n * inputs + i])
        });
        assert_sums("dW", &dw, &want, &size, MOST);
        let (want, size) = product(outputs, 1, rows, |o, _, n| (case.dy[n * outputs + o], 1.0));
        assert_sums("db", &db, &want, &size, MOST);
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    // Above and below the size from which `gemm` uses threads, one row and one column included.
    for (rows, inputs, outputs) in [
        (515, 200, 333),
        (67, 1100, 129),
        (1, 700, 900),
        (300, 40, 1),
        (33, 2, 3000),
    ] {
        let case = Case::new(rows, inputs, outputs);
        assert_same_on_any_number_of_threads(|| {
            let [dx, dw, db] = case.gradients();
            vec![case.forward(true), dx, dw, db]
        });
    }
}
