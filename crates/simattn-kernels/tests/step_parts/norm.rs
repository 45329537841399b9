use proptest::prelude::*;
use simattn_kernels::cpu::norm::{layer_norm, layer_norm_gradient, rms_norm, rms_norm_gradient};

use crate::{assert_same_on_any_number_of_threads, assert_sums, normals, over_nan, wide};

const EPSILON: f32 = 1e-5;

/// Values, and the sizes of the sums that make them.
#[derive(Default)]
struct Sums {
    values: Vec<f64>,
    sizes: Vec<f64>,
}

impl Sums {
    fn push(&mut self, terms: &[f64]) {
        self.values.push(terms.iter().sum());
        self.sizes.push(terms.iter().map(|term| term.abs()).sum());
    }

    fn add(&mut self, i: usize, term: f64) {
        self.values[i] += term;
        self.sizes[i] += term.abs();
    }

    fn zeros(len: usize) -> Self {
        Self {
            values: vec![0.0; len],
            sizes: vec![0.0; len],
        }
    }
}

/// y and the gradients of x, weight and bias for the upstream gradient `dy`, of one row after
/// another; without `centre` for RMSNorm.
fn norm_64(centre: bool, x: &[f32], weight: &[f32], bias: &[f32], dy: &[f32]) -> [Sums; 4] {
    let width = weight.len();
    let (weight, bias) = (wide(weight), wide(bias));
    let (mut y, mut dx) = (Sums::default(), Sums::default());
    let (mut dw, mut db) = (Sums::zeros(width), Sums::zeros(width));
    for (x, dy) in x.chunks(width).zip(dy.chunks(width)) {
        let (x, dy) = (wide(x), wide(dy));
        let mean =
            |values: &dyn Fn(usize) -> f64| (0..width).map(values).sum::<f64>() / width as f64;
        let middle = if centre { mean(&|i| x[i]) } else { 0.0 };
        let variance = mean(&|i| (x[i] - middle).powi(2));
        let reciprocal = 1.0 / (variance + f64::from(EPSILON)).sqrt();
        let normal: Vec<f64> = x.iter().map(|x| (x - middle) * reciprocal).collect();
        let plain = if centre {
            mean(&|i| dy[i] * weight[i])
        } else {
            0.0
        };
        let shared = mean(&|i| dy[i] * weight[i] * normal[i]);
        let plain_size = if centre {
            mean(&|i| (dy[i] * weight[i]).abs())
        } else {
            0.0
        };
        let shared_size = mean(&|i| (dy[i] * weight[i] * normal[i]).abs());
        for i in 0..width {
            y.push(&[normal[i] * weight[i], bias[i]]);
            let own = dy[i] * weight[i];
            dx.values
                .push(reciprocal * (own - plain - normal[i] * shared));
            // The means are sums too, of terms that may cancel.
            let size = own.abs() + plain_size + normal[i].abs() * shared_size;
            dx.sizes.push(reciprocal * size);
            dw.add(i, dy[i] * normal[i]);
            db.add(i, dy[i]);
        }
    }
    [y, dx, dw, db]
}

/// The analytic gradient above is itself held to finite differences, so that both cannot share a
/// mistake.
#[test]
fn the_float64_gradient_is_the_slope_of_its_values() {
    let (x, weight, bias, dy) = (
        normals("x", 14),
        normals("weight", 7),
        normals("bias", 7),
        normals("dy", 14),
    );
    for centre in [false, true] {
        let objective = |x: &[f32], weight: &[f32]| -> f64 {
            let [y, ..] = norm_64(centre, x, weight, &bias, &dy);
            y.values
                .iter()
                .zip(&dy)
                .map(|(y, &dy)| y * f64::from(dy))
                .sum()
        };
        let [_, dx, dw, _] = norm_64(centre, &x, &weight, &bias, &dy);
        for (i, want) in dx.values.iter().enumerate() {
            let (mut above, mut below) = (x.clone(), x.clone());
            (above[i], below[i]) = (x[i] + 1e-3, x[i] - 1e-3);
            let step = f64::from(above[i]) - f64::from(below[i]);
            let slope = (objective(&above, &weight) - objective(&below, &weight)) / step;
            assert!((slope - want).abs() < 1e-5, "dx[{i}]: {slope} for {want}");
        }
        for (i, want) in dw.values.iter().enumerate() {
            let (mut above, mut below) = (weight.clone(), weight.clone());
            (above[i], below[i]) = (weight[i] + 1e-3, weight[i] - 1e-3);
            let step = f64::from(above[i]) - f64::from(below[i]);
            let slope = (objective(&x, &above) - objective(&x, &below)) / step;
            assert!((slope - want).abs() < 1e-5, "dw[{i}]: {slope} for {want}");
        }
    }
}

#[track_caller]
fn assert_norm(name: &str, got: &[f32], want: &Sums, most: f64) {
    assert_sums(name, got, &want.values, &want.sizes, most);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn values_and_gradients_are_those_of_plain_loops(
        rows in 0..140_usize,
        width in 1..200_usize,
        offset in -3.0..3.0_f32,
    ) {
        let [weight, bias] = ["weight", "bias"].map(|name| normals(name, width));
        let dy = normals("dy", rows * width);
        let x: Vec<f32> = normals("x", rows * width).iter().map(|x| x * 0.5 + offset).collect();

        let [y, dx, dw, _] = norm_64(false, &x, &weight, &vec![0.0; width], &dy);
        let got = over_nan(x.len(), |out| rms_norm(EPSILON, &x, &weight, out));
        assert_norm("rms y", &got, &y, 1e-6);
        let mut got_dw = Vec::new();
        let got_dx = over_nan(x.len(), |out| {
            got_dw = rms_norm_gradient(EPSILON, &x, &weight, &dy, out);
        });
        assert_norm("rms dx", &got_dx, &dx, 2e-6);
        assert_norm("rms dw", &got_dw, &dw, 2e-6);

        let [y, dx, dw, db] = norm_64(true, &x, &weight, &bias, &dy);
        let mut gradients = (Vec::new(), Vec::new());
        let got_dx = over_nan(x.len(), |out| {
            gradients = layer_norm_gradient(EPSILON, &x, &weight, &dy, out);
        });
        assert_norm("layer db", &gradients.1, &db, 1e-6);
        // The mean is rounded at the size of the offset, and so are the differences from it: as
        // much as 1e-3 of them where a row's few values lie close together.
        if width >= 16 {
            let got = over_nan(x.len(), |out| layer_norm(EPSILON, &x, &weight, &bias, out));
            let size: f64 = y.sizes.iter().map(|size| size * size).sum();
            let error: f64 = got.iter().zip(&y.values).map(|(&got, y)| (f64::from(got) - y).powi(2)).sum();
            prop_assert!(error <= 4e-12 * size, "layer y: {}", (error / size).sqrt());
            let size: f64 = dx.sizes.iter().map(|size| size * size).sum();
            let error: f64 = got_dx.iter().zip(&dx.values).map(|(&got, dx)| (f64::from(got) - dx).powi(2)).sum();
            prop_assert!(error <= 1e-11 * size, "layer dx: {}", (error / size).sqrt());
            assert_norm("layer dw", &gradients.0, &dw, 1e-4);
        }
    }
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let (rows, width) = (301, 77);
    let (x, weight, dy) = (
        normals("x", rows * width),
        normals("weight", width),
        normals("dy", rows * width),
    );
    assert_same_on_any_number_of_threads(|| {
        let (mut d_rms, mut d_layer) = (Vec::new(), Default::default());
        let dx = over_nan(x.len(), |out| {
            d_rms = rms_norm_gradient(EPSILON, &x, &weight, &dy, out)
        });
        let dx_2 = over_nan(x.len(), |out| {
            d_layer = layer_norm_gradient(EPSILON, &x, &weight, &dy, out)
        });
        vec![dx, dx_2, d_rms, d_layer.0, d_layer.1]
    });
}
