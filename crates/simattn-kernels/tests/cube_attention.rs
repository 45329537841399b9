//! Attention on GPUs against its definition in float64 on the CPU: values and every gradient.
#![cfg(feature = "cube")]

mod gpu;
#[path = "gpu/attention_in_half.rs"]
mod half;

use burn::tensor::{DType, Device, Tensor};
use gpu::layout::Rows;
use gpu::{Named, Numbers, assert_near, read, tensor};
use simattn_kernels::ops;
use simattn_kernels::reference::{self, AttentionOptions};

/// The largest RMS relative error of a value or a gradient.
const LIMIT: f64 = 1e-5;

/// The same for bfloat16 and float16, whose weights and scores' gradients are rounded before they
/// are multiplied: some roundings of up to 2⁻⁹ and 2⁻¹².
const HALF_LIMITS: [(DType, f64); 2] = [(DType::BF16, 8e-3), (DType::F16, 1e-3)];

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    heads: usize,
    kv_heads: usize,
    queries: usize,
    keys: usize,
    width: usize,
    value_width: usize,
    options: AttentionOptions,
    rows: Rows,
}

impl Case {
    /// Causal over `tokens` tokens, q and k of 24 features and v of 16.
    fn causal(tokens: usize) -> Self {
        Self {
            batch: 2,
            heads: 4,
            kv_heads: 2,
            queries: tokens,
            keys: tokens,
            width: 24,
            value_width: 16,
            options: AttentionOptions::causal(24),
            rows: Rows::EndToEnd,
        }
    }

    /// On inputs rounded to `rounded`, in `dtype`.
    fn run(&self, device: &Device, rounded: DType, dtype: DType, fused: bool) -> Named {
        let mut numbers = Numbers(self.queries as u64 * 1_000 + self.width as u64);
        let q = [self.batch, self.heads, self.queries, self.width];
        let k = [self.batch, self.kv_heads, self.keys, self.width];
        let v = [self.batch, self.kv_heads, self.keys, self.value_width];
        let y = [self.batch, self.heads, self.queries, self.value_width];
        let mut random = |shape: [usize; 4]| {
            let values = numbers.values(shape.iter().product(), 1.0);
            let values = gpu::rounded(values, rounded);
            tensor(&values, shape, device, dtype)
        };
        let [q, k, v] = [q, k, v].map(|shape| random(shape).require_grad());
        let dy = random(y);
        let [own_q, own_k, own_v] = [&q, &k, &v].map(|x| self.rows.of(x.clone()));
        let out = if fused {
            ops::attention(own_q, own_k, own_v, &self.options)
        } else {
            reference::attention(own_q, own_k, own_v, &self.options)
        };
        let gradients = self.rows.weighted_sum(out.clone(), dy).backward();
        let of = |x: &Tensor<4>| read(x.grad(&gradients).unwrap());
        vec![
            ("output", read(out.inner())),
            ("dq", of(&q)),
            ("dk", of(&k)),
            ("dv", of(&v)),
        ]
    }

    #[track_caller]
    fn check(&self, device: &Device) -> f64 {
        self.check_in(device, DType::F32, LIMIT)
    }

    #[track_caller]
    fn check_in(&self, device: &Device, dtype: DType, limit: f64) -> f64 {
        let got = self.run(&device.clone().autodiff(), dtype, dtype, true);
        let exact = self.run(&Device::flex().autodiff(), dtype, DType::F64, false);
        let error = assert_near(&format!("{dtype:?} {self:?}"), &got, &exact, limit);
        println!("{error:.1e} {dtype:?} {self:?}");
        error
    }

    /// In the half-precision types that the device has.
    #[track_caller]
    fn check_halves(&self, device: &Device) {
        for (dtype, limit) in HALF_LIMITS {
            if device.supports_dtype(dtype) {
                self.check_in(device, dtype, limit);
            }
        }
    }
}

#[test]
fn causal_attention_with_shared_heads_and_unequal_widths() {
    let Some(device) = gpu::device() else { return };
    for tokens in [1, 5, 63, 64, 65, 130] {
        Case::causal(tokens).check(&device);
    }
}

#[test]
fn rows_with_room_between_them() {
    let Some(device) = gpu::device() else { return };
    for tokens in [5, 130] {
        let case = Case {
            rows: Rows::Padded,
            ..Case::causal(tokens)
        };
        case.check(&device);
        case.check_halves(&device);
    }
}

#[test]
fn widths_that_no_tile_divides() {
    let Some(device) = gpu::device() else { return };
    for (width, value_width) in [
        (1, 1),
        (3, 5),
        (16, 8),
        (17, 33),
        (60, 60),
        (96, 64),
        (130, 70),
    ] {
        Case {
            width,
            value_width,
            options: AttentionOptions::causal(width),
            ..Case::causal(37)
        }
        .check(&device);
    }
}

#[test]
fn fewer_queries_than_keys_windows_and_no_mask() {
    let Some(device) = gpu::device() else { return };
    for (queries, keys, causal, offset, window) in [
        (7, 71, true, 64, None),
        (70, 133, true, 63, None),
        (90, 90, true, 0, Some(1)),
        (90, 90, true, 0, Some(17)),
        (40, 150, true, 110, Some(70)),
        (50, 35, false, 0, None),
        (35, 50, false, 0, Some(9)),
        (9, 9, true, 0, Some(usize::MAX)),
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
        .check(&device);
    }
}

#[test]
fn a_query_without_keys_gives_zeros() {
    let Some(device) = gpu::device() else { return };
    // Positions 60 to 99 with a window of 8 over 64 keys: most queries see nothing.
    let options = AttentionOptions {
        offset: 60,
        window: Some(8),
        ..AttentionOptions::causal(24)
    };
    let case = Case {
        queries: 40,
        keys: 64,
        options,
        ..Case::causal(1)
    };
    case.check(&device);
    let got = case.run(&device.autodiff(), DType::F32, DType::F32, true);
    let head = 40 * case.value_width;
    assert!(
        got[0].1[head - case.value_width..head]
            .iter()
            .all(|&y| y == 0.0)
    );
}

#[test]
fn large_scores_stay_finite() {
    let Some(device) = gpu::device() else { return };
    let options = AttentionOptions {
        scale: 20.0,
        ..AttentionOptions::causal(24)
    };
    let case = Case {
        options,
        ..Case::causal(70)
    };
    let got = case.run(&device.autodiff(), DType::F32, DType::F32, true);
    let exact = case.run(&Device::flex().autodiff(), DType::F32, DType::F64, false);
    // Scores of some hundreds lose as many units in the last place in float32.
    assert_near("large scores", &got, &exact, 1e-3);
}

/// A query that is no number has an output that is none, in every type, and no other query's output
/// suffers.
#[test]
fn what_is_no_number_does_not_vanish() {
    let Some(device) = gpu::device() else { return };
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        if !device.supports_dtype(dtype) {
            continue;
        }
        for width in [8, 64] {
            let tokens = 40;
            let mut q = Numbers(1).values(tokens * width, 1.0);
            q[17 * width + 3] = f32::NAN;
            let others = Numbers(2).values(tokens * width, 1.0);
            let [q, k] = [&q, &others].map(|x| tensor(x, [1, 1, tokens, width], &device, dtype));
            let options = AttentionOptions::causal(width);
            let out = read(ops::attention(q, k.clone(), k, &options));
            for (token, row) in out.chunks(width).enumerate() {
                assert!(
                    row.iter().all(|y| y.is_nan() == (token == 17)),
                    "{dtype:?}, width {width}, token {token}: {row:?}"
                );
            }
        }
    }
}

#[test]
fn random_shapes() {
    let Some(device) = gpu::device() else { return };
    let mut worst = 0.0f64;
    for seed in 0..12 {
        let mut n = Numbers(seed);
        let kv_heads = n.between(1, 3);
        let queries = n.between(1, 150);
        let causal = n.flip();
        let before = n.between(0, 90);
        let width = n.between(1, 80);
        let case = Case {
            batch: n.between(1, 2),
            heads: kv_heads * n.between(1, 3),
            kv_heads,
            queries,
            keys: queries + before,
            width,
            value_width: n.between(1, 80),
            options: AttentionOptions {
                causal,
                offset: before,
                window: n.flip().then(|| n.between(1, 100)),
                ..AttentionOptions::causal(width)
            },
            rows: Rows::EndToEnd,
        };
        worst = worst.max(case.check(&device));
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn the_same_bits_every_time() {
    let Some(device) = gpu::device() else { return };
    let device = device.autodiff();
    let case = Case::causal(100);
    let first = case.run(&device, DType::F32, DType::F32, true);
    assert!((0..3).all(|_| case.run(&device, DType::F32, DType::F32, true) == first));
}

#[test]
fn views_as_inputs() {
    let Some(device) = gpu::device() else { return };
    let [batch, tokens, heads, width, value_width] = [2, 45, 3, 12, 7];
    let run = |device: &Device, dtype: DType, fused: bool| {
        let mut numbers = Numbers(3);
        let mut leaf = |shape: [usize; 4]| {
            let values = numbers.values(shape.iter().product(), 1.0);
            tensor(&values, shape, device, dtype).require_grad()
        };
        let q = leaf([batch, tokens, heads, width]);
        let packed = leaf([batch, tokens, heads, width + value_width]);
        let k = packed.clone().narrow(3, 0, width).swap_dims(1, 2);
        let v = packed.clone().narrow(3, width, value_width).swap_dims(1, 2);
        let options = AttentionOptions::causal(width);
        let y = if fused {
            ops::attention(q.clone().swap_dims(1, 2), k, v, &options)
        } else {
            reference::attention(q.clone().swap_dims(1, 2), k, v, &options)
        };
        let gradients = y.clone().powi_scalar(2).sum().backward();
        vec![
            ("output", read(y.inner())),
            ("dq", read(q.grad(&gradients).unwrap())),
            ("dpacked", read(packed.grad(&gradients).unwrap())),
        ]
    };
    let got = run(&device.autodiff(), DType::F32, true);
    let exact = run(&Device::flex().autodiff(), DType::F64, false);
    assert_near("views", &got, &exact, LIMIT);
}
