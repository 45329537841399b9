//! Attention in bfloat16 and float16, as `cube_attention` checks it.

use burn::tensor::{DType, Device};

use super::gpu::layout::Rows;
use super::gpu::{self, Numbers, assert_near, read, tensor};
use super::{Case, HALF_LIMITS};
use simattn_kernels::ops;
use simattn_kernels::reference::{self, AttentionOptions};

/// Widths that NVIDIA's tensor cores take as they are (`cube/attention/mma`), over lengths on both
/// sides of every block, and every kind of mask.
#[test]
fn half_precision_of_whole_widths() {
    let Some(device) = gpu::device() else { return };
    let halves = HALF_LIMITS.map(|(dtype, _)| device.supports_dtype(dtype));
    if halves == [false, false] {
        println!("skipped: the device has no half-precision type");
        return;
    }
    let masks = [
        (None, true, 0),
        (None, false, 0),
        (Some(40), true, 20),
        (Some(300), true, 0),
        (Some(70), false, 3),
    ];
    for (width, value_width) in [(64, 64), (96, 64), (128, 128), (64, 128), (16, 112)] {
        for (number, tokens) in [1, 17, 64, 129, 200, 333].into_iter().enumerate() {
            let (window, causal, offset) = masks[number % masks.len()];
            let options = AttentionOptions {
                window,
                causal,
                offset,
                ..AttentionOptions::causal(width)
            };
            let case = Case {
                batch: 1 + number % 2,
                heads: [1, 6][number % 2],
                kv_heads: [1, 2][number % 2],
                keys: tokens + offset,
                width,
                value_width,
                options,
                rows: Rows::ALL[number / 2 % 2],
                ..Case::causal(tokens)
            };
            case.check_halves(&device);
        }
    }
    // Fewer queries than keys, keys that nobody sees, queries that see nothing.
    for (queries, keys, offset, window) in [(9, 200, 191, None), (130, 70, 60, Some(8))] {
        let options = AttentionOptions {
            window,
            offset,
            ..AttentionOptions::causal(96)
        };
        let case = Case {
            queries,
            keys,
            width: 96,
            value_width: 64,
            options,
            ..Case::causal(1)
        };
        case.check_halves(&device);
    }
}

#[test]
fn half_precision_has_the_same_bits_every_time() {
    let Some(device) = gpu::device() else { return };
    for (dtype, _) in HALF_LIMITS {
        if !device.supports_dtype(dtype) {
            continue;
        }
        let device = device.clone().autodiff();
        let case = Case {
            width: 96,
            value_width: 64,
            ..Case::causal(300)
        };
        let first = case.run(&device, dtype, dtype, true);
        assert!((0..3).all(|_| case.run(&device, dtype, dtype, true) == first));
    }
}

#[test]
fn half_precision() {
    let Some(device) = gpu::device() else { return };
    for tokens in [1, 16, 65, 130] {
        Case::causal(tokens).check_halves(&device);
    }
    // Every way to read: eight, four, two and single values at a time.
    for (width, value_width) in [(16, 8), (20, 12), (18, 6), (17, 33), (96, 64)] {
        Case {
            width,
            value_width,
            options: AttentionOptions::causal(width),
            ..Case::causal(70)
        }
        .check_halves(&device);
    }
    for (queries, keys, causal, offset, window) in [
        (7, 71, true, 64, None),
        (90, 90, true, 0, Some(17)),
        (50, 35, false, 0, None),
    ] {
        let options = AttentionOptions {
            scale: 0.3,
            causal,
            offset,
            window,
        };
        Case {
            queries,
            keys,
            options,
            ..Case::causal(1)
        }
        .check_halves(&device);
    }
}

/// The highest score of a row rises again and again along the keys, far beyond what its weights may
/// be relative to.
#[test]
fn half_precision_with_rising_scores() {
    let Some(device) = gpu::device() else { return };
    for (dtype, limit) in HALF_LIMITS {
        if !device.supports_dtype(dtype) {
            continue;
        }
        for width in [8, 64] {
            let run = |device: &Device, dtype: DType, fused: bool| -> Vec<f64> {
                let ones = vec![1.0; 150 * width];
                let rising = (0..150 * width).map(|i| ((i / width) / 2) as f32 / 2.0);
                let rising: Vec<f32> = rising.collect();
                let mut numbers = Numbers(3);
                let values = gpu::rounded(numbers.values(150 * width, 1.0), DType::BF16);
                let [q, k, v] = [&ones, &rising, &values]
                    .map(|values| tensor(values, [1, 1, 150, width], device, dtype));
                let options = AttentionOptions {
                    scale: 4.0 / width as f64,
                    ..AttentionOptions::causal(width)
                };
                read(if fused {
                    ops::attention(q, k, v, &options)
                } else {
                    reference::attention(q, k, v, &options)
                })
            };
            let got = vec![("output", run(&device, dtype, true))];
            let exact = vec![("output", run(&Device::flex(), DType::F64, false))];
            let error = assert_near(&format!("{dtype:?}, width {width}"), &got, &exact, limit);
            println!("{error:.1e} {dtype:?}, width {width}");
        }
    }
}
