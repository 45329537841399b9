//! What this machine can reach, to say how much of it a run uses.

use std::time::Instant;

use burn::tensor::{DType, Device, Distribution, Tensor};
use simattn::Precision;

/// Rows and columns of the product that is timed: large enough to fill the caches, small enough for
/// a fraction of a second; larger on GPUs, whose many cores a small one leaves idle.
const SIZE: usize = 1024;
const GPU_SIZE: usize = 4096;
/// Times it is run; the best one counts.
const REPETITIONS: usize = 4;

/// Floating-point operations a second of a large matrix product, measured now: in float32, on GPUs
/// in the type of a pass.
pub(crate) fn measured_flops(device: &Device, precision: Precision) -> f64 {
    let device = device.clone().without_autodiff();
    let size = if device == Device::flex() {
        SIZE
    } else {
        GPU_SIZE
    };
    let dtype = match precision {
        Precision::Bfloat16 if size == GPU_SIZE => DType::BF16,
        _ => DType::F32,
    };
    let matrix = || Tensor::<2>::random([size, size], Distribution::Default, &device).cast(dtype);
    let (left, right) = (matrix(), matrix());
    let operations = 2.0 * (size as f64).powi(3);
    (0..REPETITIONS)
        .map(|_| {
            let started = Instant::now();
            let product = left.clone().matmul(right.clone());
            // Devices that work behind our back are waited for.
            std::hint::black_box(product.slice([0..1, 0..1]).into_data());
            operations / started.elapsed().as_secs_f64().max(1e-9)
        })
        .fold(0.0, f64::max)
}
