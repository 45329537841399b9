//! The operations around attention on GPUs against their definitions in float64 on the CPU: values and every gradient.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};
use gpu::{Named, Numbers, assert_near, read, tensor};
use simattn_kernels::ops::{self, GeluForm, Normed};
use simattn_kernels::reference;

/// The largest RMS relative error of a value or a gradient.
const LIMIT: f64 = 1e-5;

/// A function of some matrices; a row vector stands as [1, C].
type Function<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Value and gradients of Σ f(inputs)·dy for random inputs of these shapes.
fn evaluate(shapes: &[[usize; 2]], f: Function<'_>, device: &Device, dtype: DType) -> Named {
    let mut numbers = Numbers(
        shapes
            .iter()
            .flatten()
            .fold(7, |seed, &n| 31 * seed + n as u64),
    );
    let mut random = |shape: [usize; 2]| {
        let values = numbers.values(shape[0] * shape[1], 1.0);
        tensor(&values, shape, device, dtype)
    };
    let leaves: Vec<_> = shapes
        .iter()
        .map(|&shape| random(shape).require_grad())
        .collect();
    let y = f(&leaves);
    let dy = random(y.dims());
    let gradients = (y.clone() * dy).sum().backward();
    const NAMES: [&str; 4] = ["gradient 0", "gradient 1", "gradient 2", "gradient 3"];
    let of_leaves = leaves
        .iter()
        .zip(NAMES)
        .map(|(leaf, name)| (name, read(leaf.grad(&gradients).unwrap())));
    std::iter::once(("value", read(y.inner())))
        .chain(of_leaves)
        .collect()
}

/// `ours` on the GPU is `definition` in float64, to [`LIMIT`].
#[track_caller]
fn check(
    name: &str,
    device: &Device,
    shapes: &[[usize; 2]],
    ours: Function<'_>,
    definition: Function<'_>,
) {
    check_to(LIMIT, name, device, shapes, ours, definition);
}

/// `ours` on the GPU is `definition` in float64, to `limit`.
#[track_caller]
fn check_to(
    limit: f64,
    name: &str,
    device: &Device,
    shapes: &[[usize; 2]],
    ours: Function<'_>,
    definition: Function<'_>,
) {
    let got = evaluate(shapes, ours, &device.clone().autodiff(), DType::F32);
    let exact = evaluate(shapes, definition, &Device::flex().autodiff(), DType::F64);
    let case = format!("{name} of {shapes:?}");
    let error = assert_near(&case, &got, &exact, limit);
    println!("{error:.1e} {case}");
    let again = evaluate(shapes, ours, &device.clone().autodiff(), DType::F32);
    assert!(got == again, "{case}: other bits the second time");
}

fn row(x: &Tensor<2>) -> Tensor<1> {
    x.clone().flatten(0, 1)
}

fn ids<const R: usize>(ids: &[i32], shape: [usize; R], device: &Device) -> Tensor<R, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), shape), device)
}

#[test]
fn norms() {
    let Some(device) = gpu::device() else { return };
    for (rows, width) in [(1, 1), (1, 7), (3, 64), (70, 33), (1100, 20), (2, 3001)] {
        let shapes = [[rows, width], [1, width], [1, width]];
        check(
            "layer norm",
            &device,
            &shapes,
            &|t| ops::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
            &|t| reference::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
        );
        // Of one value, x / √(x² + ε) hardly changes with x: what is left of its gradient is rounding, in any float32 code.
        if width == 1 {
            continue;
        }
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
    for (rows, inputs, outputs) in [(1, 1, 1), (7, 13, 9), (70, 33, 65)] {
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

/// Targets below `vocabulary`, of which about one in `ignored` does not count.
fn targets(rows: usize, vocabulary: usize, ignored: usize) -> Vec<i32> {
    let mut numbers = Numbers(rows as u64);
    (0..rows)
        .map(|i| match i % ignored {
            1 => -100,
            _ => numbers.between(0, vocabulary - 1) as i32,
        })
        .collect()
}

/// The rows of `x` whose target counts, and their targets.
fn counted(x: Tensor<2>, all: &[i32]) -> (Tensor<2>, Tensor<1, Int>) {
    let device = x.device();
    let rows: Vec<i32> = (0..all.len() as i32)
        .filter(|&i| all[i as usize] >= 0)
        .collect();
    let kept: Vec<i32> = rows.iter().map(|&i| all[i as usize]).collect();
    let rows = ids(&rows, [rows.len()], &device);
    (x.select(0, rows), ids(&kept, [kept.len()], &device))
}

#[test]
fn cross_entropy_alone() {
    let Some(device) = gpu::device() else { return };
    for (rows, vocabulary) in [(1, 2), (1, 300), (17, 31), (300, 5), (5, 50_304)] {
        let all = targets(rows, vocabulary, 3);
        check(
            "cross-entropy",
            &device,
            &[[rows, vocabulary]],
            &|t| ops::cross_entropy(t[0].clone(), ids(&all, [rows], &t[0].device())).unsqueeze(),
            &|t| {
                let (logits, targets) = counted(t[0].clone(), &all);
                reference::cross_entropy(logits, targets).unsqueeze()
            },
        );
    }
}

#[test]
fn heads_with_cross_entropy() {
    let Some(device) = gpu::device() else { return };
    // A hidden state's gradient is a product over the vocabulary. In one float32 accumulator that the target's −1 dominates, each of
    // 50,304 small terms is rounded to a unit in its last place: √50,304 · 3e-8 in all, and some more.
    for (rows, width, vocabulary, limit) in
        [(1, 3, 2, LIMIT), (17, 10, 31, LIMIT), (5, 6, 50_304, 3e-5)]
    {
        let all = targets(rows, vocabulary, 4);
        check_to(
            limit,
            "head",
            &device,
            &[[rows, width], [vocabulary, width]],
            &|t| {
                let targets = ids(&all, [rows], &t[0].device());
                ops::head_cross_entropy(t[0].clone(), t[1].clone(), targets).unsqueeze()
            },
            &|t| {
                let (hidden, targets) = counted(t[0].clone(), &all);
                reference::head_cross_entropy(hidden, t[1].clone(), targets).unsqueeze()
            },
        );
    }
}

#[test]
fn heads_in_several_blocks_of_rows() {
    let Some(device) = gpu::device() else { return };
    let [rows, width, vocabulary] = [200, 12, 45];
    let all = targets(rows, vocabulary, 5);
    let run = |device: &Device, dtype: DType| {
        let mut numbers = Numbers(11);
        let hidden = numbers.values(rows * width, 1.0);
        let weight = numbers.values(vocabulary * width, 1.0);
        (
            tensor(&hidden, [rows, width], device, dtype),
            tensor(&weight, [vocabulary, width], device, dtype),
        )
    };
    let (hidden, weight) = run(&device, DType::F32);
    // 64 rows at a time: four blocks, the last with eight.
    let targets = ids(&all, [rows], &device);
    let (loss, [of_hidden, of_weight]) =
        ops::head_with_gradients(hidden, weight, targets, 64 * vocabulary)
            .expect("tensors of this device");
    let got = vec![
        ("loss", read(loss)),
        ("dhidden", read(of_hidden)),
        ("dweight", read(of_weight)),
    ];
    let (hidden, weight) = run(&Device::flex().autodiff(), DType::F64);
    let [hidden, weight] = [hidden, weight].map(Tensor::require_grad);
    let (some, targets) = counted(hidden.clone(), &all);
    let loss = reference::head_cross_entropy(some, weight.clone(), targets);
    let gradients = loss.backward();
    let exact = vec![
        ("loss", read(loss.inner())),
        ("dhidden", read(hidden.grad(&gradients).unwrap())),
        ("dweight", read(weight.grad(&gradients).unwrap())),
    ];
    let error = assert_near("blocks of rows", &got, &exact, LIMIT);
    println!("{error:.1e} blocks of rows");
}

#[test]
fn where_no_target_counts_gradients_are_zero() {
    let Some(device) = gpu::device() else { return };
    let device = device.autodiff();
    let numbers = Numbers(1).values(4 * 6, 1.0);
    let hidden = tensor(&numbers, [4, 6], &device, DType::F32).require_grad();
    let weight = tensor(&numbers[..18], [3, 6], &device, DType::F32).require_grad();
    let none = ids(&[-1, -100, -1, -7], [4], &device);
    let loss = ops::head_cross_entropy(hidden.clone(), weight.clone(), none);
    let gradients = loss.backward();
    assert!(read(loss.inner())[0].is_nan());
    let of_both = [hidden, weight].map(|x| read(x.grad(&gradients).unwrap()));
    assert!(of_both.iter().flatten().all(|&g| g == 0.0));
}

#[test]
fn a_target_beyond_the_vocabulary_shows() {
    let Some(device) = gpu::device() else { return };
    let logits = tensor(&[0.5; 12], [3, 4], &device, DType::F32);
    let loss = ops::cross_entropy(logits, ids(&[1, 4, 2], [3], &device));
    assert!(read(loss)[0].is_nan());
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
