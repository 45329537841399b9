//! The operations around attention on GPUs in bfloat16 and float16, where the device has them,
//! against their definitions in float64 on the same rounded inputs.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use gpu::{Named, Numbers, assert_near, read, tensor};
use simattn_kernels::ops::{self, GeluForm};
use simattn_kernels::reference;

/// Some roundings of bfloat16, each up to 2⁻⁸.
const LIMIT: f64 = 1e-2;

/// The half-precision types that `device` has.
fn types(device: &Device) -> Vec<DType> {
    let both = [DType::BF16, DType::F16];
    let there: Vec<_> = both
        .into_iter()
        .filter(|&dtype| device.supports_dtype(dtype))
        .collect();
    println!("{there:?}");
    there
}

/// A leaf of `dtype`, and one in float64 with the same values.
fn leaves<const R: usize>(
    seed: u64,
    shape: [usize; R],
    device: &Device,
    dtype: DType,
) -> [Tensor<R>; 2] {
    let values = Numbers(seed).values(shape.iter().product(), 1.0);
    let ours = tensor(&values, shape, &device.clone().autodiff(), dtype);
    let rounded: Vec<f32> = ours.clone().into_data().iter::<f32>().collect();
    let exact = tensor(&rounded, shape, &Device::flex().autodiff(), DType::F64);
    [ours, exact].map(Tensor::require_grad)
}

#[test]
fn norms_with_float32_weights() {
    let Some(device) = gpu::device() else { return };
    for dtype in types(&device) {
        let x = leaves(1, [37, 45], &device, dtype);
        let dy = leaves(2, [37, 45], &device, dtype);
        let [weight, bias] = [3, 4].map(|seed| leaves(seed, [45], &device, DType::F32));
        let run = |i: usize| -> Named {
            let (x, weight, bias) = (x[i].clone(), weight[i].clone(), bias[i].clone());
            let y = match i {
                0 => ops::layer_norm(x.clone(), weight.clone(), bias.clone(), 1e-5),
                _ => reference::layer_norm(x.clone(), weight.clone(), bias.clone(), 1e-5),
            };
            let gradients = (y.clone() * dy[i].clone()).sum().backward();
            let dw = weight.grad(&gradients).unwrap();
            assert_eq!(dw.dtype(), weight.dtype());
            vec![
                ("value", read(y.inner())),
                ("dx", read(x.grad(&gradients).unwrap())),
                ("dw", read(dw)),
                ("db", read(bias.grad(&gradients).unwrap())),
            ]
        };
        let error = assert_near(&format!("{dtype:?}"), &run(0), &run(1), LIMIT);
        println!("{error:.1e} layer norm in {dtype:?}");
    }
}

#[test]
fn a_network_and_its_head() {
    let Some(device) = gpu::device() else { return };
    for dtype in types(&device) {
        let table = leaves(1, [9, 24], &device, dtype);
        let up = leaves(2, [40, 24], &device, dtype);
        let down = leaves(3, [24, 40], &device, dtype);
        let ids = |device: &Device| {
            let ids = vec![3, 1, 8, 3, 0, 7, 3, 2];
            Tensor::<2, Int>::from_data(TensorData::new(ids, [1, 8]), device)
        };
        let run = |i: usize| -> Named {
            let (table, up, down) = (table[i].clone(), up[i].clone(), down[i].clone());
            let ids = ids(&table.device());
            let targets = ids.clone().reshape([8]);
            let loss = match i {
                0 => {
                    let x = ops::embedding(table.clone(), ids).reshape([8, 24]);
                    let x = ops::linear(x, up.clone(), None) * 0.1;
                    let x = ops::gelu_linear(x, down.clone(), None, GeluForm::Exact);
                    ops::head_cross_entropy(x, table.clone(), targets)
                }
                _ => {
                    let x = reference::embedding(table.clone(), ids).reshape([8, 24]);
                    let x = reference::gelu(reference::linear(x, up.clone(), None) * 0.1);
                    let x = reference::linear(x, down.clone(), None);
                    reference::head_cross_entropy(x, table.clone(), targets)
                }
            };
            let gradients = loss.backward();
            vec![
                ("loss", read(loss.inner())),
                ("table", read(table.grad(&gradients).unwrap())),
                ("up", read(up.grad(&gradients).unwrap())),
                ("down", read(down.grad(&gradients).unwrap())),
            ]
        };
        let error = assert_near(&format!("{dtype:?}"), &run(0), &run(1), 5.0 * LIMIT);
        println!("{error:.1e} network in {dtype:?}");
    }
}

fn many_rows(sizes: &[[usize; 3]]) {
    let Some(device) = gpu::device() else { return };
    for dtype in types(&device) {
        for &[rows, inputs, outputs] in sizes {
            let x = leaves(1, [rows, inputs], &device, dtype);
            let weight = leaves(2, [outputs, inputs], &device, dtype);
            let bias = leaves(3, [outputs], &device, dtype);
            let dy = leaves(4, [rows, outputs], &device, dtype);
            let run = |i: usize| -> Named {
                let (x, weight, bias) = (x[i].clone(), weight[i].clone(), bias[i].clone());
                let y = match i {
                    0 => ops::linear(x.clone(), weight.clone(), Some(bias.clone())),
                    _ => reference::linear(x.clone(), weight.clone(), Some(bias.clone())),
                };
                let gradients = (y.clone() * dy[i].clone()).sum().backward();
                vec![
                    ("value", read(y.inner())),
                    ("dx", read(x.grad(&gradients).unwrap())),
                    ("dw", read(weight.grad(&gradients).unwrap())),
                    ("db", read(bias.grad(&gradients).unwrap())),
                ]
            };
            let case = format!("{rows} rows, {inputs} to {outputs} in {dtype:?}");
            let error = assert_near(&case, &run(0), &run(1), LIMIT);
            println!("{error:.1e} {case}");
        }
    }
}

/// Sizes that products on tensor cores take: rows, inputs and outputs, none of them whole tiles; of
/// the second the weight's gradient is cut along its sum. Where the terms are a multiple of 64,
/// compute capability 9.0 has another kernel; of the last it takes all three products.
#[test]
fn linear_maps_of_many_rows() {
    many_rows(&[
        [160, 64, 96],
        [2048, 64, 64],
        [288, 96, 160],
        [256, 128, 192],
    ]);
}

/// So many results that the tiles are wide; the last of them are not whole.
#[test]
fn linear_maps_of_wide_tiles() {
    many_rows(&[[4032, 32, 2272], [4032, 64, 2240]]);
}
