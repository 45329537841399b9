//! Cross-entropy on GPUs, alone and behind a head, against its definition in float64 on the CPU:
//! values and every gradient.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::{DType, Device, Int, Tensor};
use gpu::definition::{LIMIT, check, check_to, ids};
use gpu::{Numbers, assert_near, read, tensor};
use simattn_kernels::ops;
use simattn_kernels::reference;

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
    // A hidden state's gradient is a product over the vocabulary. In one float32 accumulator that
    // the target's −1 dominates, each of 50,304 small terms is rounded to a unit in its last place:
    // √50,304 · 3e-8 in all, and some more.
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
