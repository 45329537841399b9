//! Functions of matrices on a GPU against their definitions in float64 on the CPU, values and every
//! gradient.
#![allow(dead_code)]

use burn::tensor::{DType, Device, Int, Tensor, TensorData};

use super::layout::Rows;
use super::{Named, Numbers, assert_near, read, tensor};

/// The largest RMS relative error of a value or a gradient.
pub const LIMIT: f64 = 1e-5;

/// A function of some matrices; a row vector is [1, C].
pub type Function<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Value and gradients of Σ f(inputs)·dy for random inputs of these shapes, whose rows lie as
/// `rows` says.
fn evaluate(
    shapes: &[[usize; 2]],
    f: Function<'_>,
    device: &Device,
    dtype: DType,
    rows: Rows,
) -> Named {
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
    let inputs: Vec<_> = leaves.iter().map(|leaf| rows.of(leaf.clone())).collect();
    let y = f(&inputs);
    let dy = random(y.dims());
    let gradients = rows.weighted_sum(y.clone(), dy).backward();
    const NAMES: [&str; 4] = ["gradient 0", "gradient 1", "gradient 2", "gradient 3"];
    let of_leaves = leaves
        .iter()
        .zip(NAMES)
        .map(|(leaf, name)| (name, read(leaf.grad(&gradients).unwrap())));
    std::iter::once(("value", read(y.inner())))
        .chain(of_leaves)
        .collect()
}

/// `ours` on the GPU is `definition` in float64, to [`LIMIT`], however the rows of its inputs lie.
#[track_caller]
pub fn check(
    name: &str,
    device: &Device,
    shapes: &[[usize; 2]],
    ours: Function<'_>,
    definition: Function<'_>,
) {
    check_to(LIMIT, name, device, shapes, ours, definition);
}

/// `ours` on the GPU is `definition` in float64, to `limit`, however the rows of its inputs lie.
#[track_caller]
pub fn check_to(
    limit: f64,
    name: &str,
    device: &Device,
    shapes: &[[usize; 2]],
    ours: Function<'_>,
    definition: Function<'_>,
) {
    let exact = &Device::flex().autodiff();
    let exact = evaluate(shapes, definition, exact, DType::F64, Rows::EndToEnd);
    let device = &device.clone().autodiff();
    for rows in Rows::ALL {
        let got = evaluate(shapes, ours, device, DType::F32, rows);
        let case = format!("{name} of {shapes:?}, rows {rows:?}");
        let error = assert_near(&case, &got, &exact, limit);
        println!("{error:.1e} {case}");
        let again = evaluate(shapes, ours, device, DType::F32, rows);
        assert!(got == again, "{case}: other bits the second time");
    }
}

pub fn row(x: &Tensor<2>) -> Tensor<1> {
    x.clone().flatten(0, 1)
}

pub fn ids<const R: usize>(ids: &[i32], shape: [usize; R], device: &Device) -> Tensor<R, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), shape), device)
}
