//! What this machine can reach, to say how much of it a run uses.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use simattn::Precision;

/// Rows and columns of the product that is timed: large enough to fill the caches, small enough for
/// a fraction of a second; larger on GPUs, whose many cores a small one leaves idle.
const SIZE: usize = 1024;
const GPU_SIZE: usize = 4096;
/// How many are timed together: a GPU is waited for once for all of them, as a wait takes longer
/// than a product.
const PRODUCTS: usize = 1;
const GPU_PRODUCTS: usize = 32;
/// Times that these are run; the best one counts.
const REPETITIONS: usize = 4;

/// Floating-point operations a second of a large matrix product, measured now: in float32, on GPUs
/// in the type of a pass.
pub(crate) fn measured_flops(device: &Device, precision: Precision) -> f64 {
    let device = device.clone().without_autodiff();
    let (size, products) = if device == Device::flex() {
        (SIZE, PRODUCTS)
    } else {
        (GPU_SIZE, GPU_PRODUCTS)
    };
    let dtype = match precision {
        Precision::Bfloat16 if size == GPU_SIZE => DType::BF16,
        _ => DType::F32,
    };
    let matrix = || Tensor::<2>::random([size, size], Distribution::Default, &device).cast(dtype);
    let (left, right) = (matrix(), matrix());
    let operations = 2.0 * (size as f64).powi(3) * products as f64;
    // A device that fails shows it at the next operation; a rate of zero says no more.
    let seconds = || {
        device.sync().ok()?;
        let started = Instant::now();
        for _ in 0..products {
            std::hint::black_box(left.clone().matmul(right.clone()));
        }
        device.sync().ok()?;
        Some(started.elapsed().as_secs_f64().max(1e-9))
    };
    (0..REPETITIONS)
        .filter_map(|_| Some(operations / seconds()?))
        .fold(0.0, f64::max)
}
