//! The operations around attention on GPUs against their definitions in float64 on the CPU: values
//! and every gradient.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::{DType, Device, Tensor, activation};
use gpu::definition::{check, ids, row};
use gpu::{Numbers, read, tensor};
use simattn_kernels::ops::{self, GeluForm, Normed};
use simattn_kernels::reference;

#[test]
fn norms() {
    let Some(device) = gpu::device() else { return };
    // Not of one value: a layer norm of it is constant, and x / √(x² + ε) hardly changes with x. What is
    // left of the gradient is rounding, in any float32 code.
    for (rows, width) in [(1, 2), (1, 7), (3, 64), (70, 33), (1100, 20), (2, 3001)] {
        let shapes = [[rows, width], [1, width], [1, width]];
        check(
            "layer norm",
            &device,
            &shapes,
            &|t| ops::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
            &|t| reference::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
        );
        check(
            "rms norm",
            &device,
            &shapes[..2],
            &|t| ops::rms_norm(t[0].clone(), row(&t[1]), 1e-5),
            &|t| reference::rms_norm(t[0].clone(), row(&t[1]), 1e-5),
        );
    }
}

#[test]
fn norms_of_views_and_of_more_axes() {
    let Some(device) = gpu::device() else { return };
    let turned = |t: &Tensor<2>| t.clone().transpose().reshape([3, 5, 8]);
    check(
        "layer norm of a view",
        &device,
        &[[8, 15], [1, 8], [1, 8]],
        &|t| ops::layer_norm(turned(&t[0]), row(&t[1]), row(&t[2]), 1e-5).reshape([15, 8]),
        &|t| reference::layer_norm(turned(&t[0]), row(&t[1]), row(&t[2]), 1e-5).reshape([15, 8]),
    );
}

#[test]
fn activations() {
    let Some(device) = gpu::device() else { return };
    for (rows, width) in [(1, 1), (7, 5), (33, 130)] {
        let two = [[rows, width], [rows, width]];
        check(
            "gelu",
            &device,
            &two[..1],
            &|t| ops::gelu(t[0].clone(), GeluForm::Exact),
            &|t| reference::gelu(t[0].clone()),
        );
        check(
            "tanh gelu",
            &device,
            &two[..1],
            &|t| ops::gelu(t[0].clone(), GeluForm::Tanh),
            &|t| activation::gelu_approximate(t[0].clone()),
        );
        check(
            "bias and gelu",
            &device,
            &[[rows, width], [1, width]],
            &|t| ops::bias_gelu(t[0].clone(), row(&t[1]), GeluForm::Exact),
            &|t| reference::gelu(t[0].clone() + t[1].clone()),
        );
        check(
            "swiglu",
            &device,
            &two,
            &|t| ops::swiglu(t[0].clone(), t[1].clone()),
            &|t| reference::swiglu(t[0].clone(), t[1].clone()),
        );
        let half = |t: &Tensor<2>, first| t.clone().narrow(1, first, width);
        check(
            "packed swiglu",
            &device,
            &[[rows, 2 * width]],
            &|t| ops::swiglu_packed(t[0].clone()),
            &|t| reference::swiglu(half(&t[0], 0), half(&t[0], width)),
        );
    }
}

/// Value and derivative of a GELU at each of `x`.
fn gelu_at(x: &[f32], form: GeluForm, device: &Device, dtype: DType) -> [Vec<f64>; 2] {
    let x = tensor(x, [x.len()], &device.clone().autodiff(), dtype).require_grad();
    let y = match (dtype, form) {
        (DType::F32, _) => ops::gelu(x.clone(), form),
        (_, GeluForm::Exact) => reference::gelu(x.clone()),
        (_, GeluForm::Tanh) => activation::gelu_approximate(x.clone()),
    };
    let gradients = y.clone().sum().backward();
    [read(y.inner()), read(x.grad(&gradients).unwrap())]
}

#[test]
fn gelu_is_exact_over_its_range() {
    let Some(device) = gpu::device() else { return };
    let x: Vec<f32> = (-20_000..=20_000).map(|i| i as f32 / 1000.0).collect();
    for form in [GeluForm::Exact, GeluForm::Tanh] {
        let [y, slope] = gelu_at(&x, form, &device, DType::F32);
        let [exact_y, exact_slope] = gelu_at(&x, form, &Device::flex(), DType::F64);
        let largest = |got: &[f64], exact: &[f64], unit: &dyn Fn(f32) -> f64| {
            let errors = got.iter().zip(exact).zip(&x);
            errors.fold(0.0f64, |worst, ((got, exact), &x)| {
                assert!(got.is_finite());
                worst.max((got - exact).abs() / unit(x))
            })
        };
        // x·Φ(x) is rounded as x is: the error of Φ.
        let of_value = largest(&y, &exact_y, &|x| f64::from(x.abs()).max(1.0));
        let of_slope = largest(&slope, &exact_slope, &|_| 1.0);
        println!("{form:?}: Φ {of_value:.1e}, derivative {of_slope:.1e}");
        assert!(of_value < 1e-6 && of_slope < 2e-6);
    }
}

#[test]
fn linear_maps() {
    let Some(device) = gpu::device() else { return };
    // Of 4,096 rows, the sum of the weight's gradient is cut into slices.
    for (rows, inputs, outputs) in [(1, 1, 1), (7, 13, 9), (70, 33, 65), (4096, 12, 20)] {
        let shapes = [[rows, inputs], [outputs, inputs], [1, outputs]];
        check(
            "linear with bias",
            &device,
            &shapes,
            &|t| ops::linear(t[0].clone(), t[1].clone(), Some(row(&t[2]))),
            &|t| reference::linear(t[0].clone(), t[1].clone(), Some(row(&t[2]))),
        );
        check(
            "linear",
            &device,
            &shapes[..2],
            &|t| ops::linear(t[0].clone(), t[1].clone(), None),
            &|t| reference::linear(t[0].clone(), t[1].clone(), None),
        );
    }
}

#[test]
fn linear_maps_of_norms() {
    let Some(device) = gpu::device() else { return };
    // x, scale and shift of the norm, weight of the map.
    let shapes = [[37, 24], [1, 24], [1, 24], [19, 24]];
    let ours = |t: &[Tensor<2>], shift: bool| {
        let normed = Normed::new(t[0].clone(), row(&t[1]), shift.then(|| row(&t[2])), 1e-5);
        ops::normed_linear(&normed, t[t.len() - 1].clone(), None)
    };
    check(
        "linear of layer norm",
        &device,
        &shapes,
        &|t| ours(t, true),
        &|t| {
            let normed = reference::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5);
            reference::linear(normed, t[3].clone(), None)
        },
    );
    check(
        "linear of rms norm",
        &device,
        &[shapes[0], shapes[1], shapes[3]],
        &|t| ours(t, false),
        &|t| {
            let normed = reference::rms_norm(t[0].clone(), row(&t[1]), 1e-5);
            reference::linear(normed, t[2].clone(), None)
        },
    );
}

#[test]
fn linear_maps_of_activations() {
    let Some(device) = gpu::device() else { return };
    let shapes = [[21, 34], [21, 34], [11, 34], [1, 11]];
    check(
        "linear of gelu",
        &device,
        &shapes[1..],
        &|t| {
            ops::gelu_linear(
                t[0].clone(),
                t[1].clone(),
                Some(row(&t[2])),
                GeluForm::Exact,
            )
        },
        &|t| {
            reference::linear(
                reference::gelu(t[0].clone()),
                t[1].clone(),
                Some(row(&t[2])),
            )
        },
    );
    let product = |t: &[Tensor<2>]| reference::swiglu(t[0].clone(), t[1].clone());
    check(
        "linear of swiglu",
        &device,
        &shapes,
        &|t| ops::swiglu_linear(t[0].clone(), t[1].clone(), t[2].clone(), Some(row(&t[3]))),
        &|t| reference::linear(product(t), t[2].clone(), Some(row(&t[3]))),
    );
    check(
        "linear of swiglu without bias",
        &device,
        &shapes[..3],
        &|t| ops::swiglu_linear(t[0].clone(), t[1].clone(), t[2].clone(), None),
        &|t| reference::linear(product(t), t[2].clone(), None),
    );
}

#[test]
fn embeddings() {
    let Some(device) = gpu::device() else { return };
    for (rows, width, batch, tokens) in [
        (1, 1, 1, 1),
        (9, 5, 3, 4),
        (7, 40, 2, 350),
        (50_304, 3, 1, 20),
    ] {
        let mut numbers = Numbers(tokens as u64);
        let all: Vec<i32> = (0..batch * tokens)
            .map(|_| numbers.between(0, rows - 1) as i32)
            .collect();
        let shape = [batch, tokens];
        check(
            "embedding",
            &device,
            &[[rows, width]],
            &|t| ops::embedding(t[0].clone(), ids(&all, shape, &t[0].device())).flatten(0, 1),
            &|t| reference::embedding(t[0].clone(), ids(&all, shape, &t[0].device())).flatten(0, 1),
        );
    }
}
