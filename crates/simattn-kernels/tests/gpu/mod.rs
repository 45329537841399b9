//! What the tests of the GPU kernels share: a device, numbers of a seed, and errors by name.
#![allow(dead_code)]

pub mod definition;
pub mod layout;

use burn::tensor::{DType, Device, DeviceType, Tensor, TensorData};

/// Leaves and results of one call, on one device.
pub type Named = Vec<(&'static str, Vec<f64>)>;

/// The first device that this build reaches, or a line that says that there is none.
///
/// `SIMATTN_REQUIRE_GPU=1` makes that a failure, so that no machine skips these tests unnoticed.
pub fn device() -> Option<Device> {
    let kinds = [
        #[cfg(feature = "cuda")]
        DeviceType::Cuda,
        #[cfg(feature = "rocm")]
        DeviceType::Rocm,
        #[cfg(feature = "metal")]
        DeviceType::Metal,
        #[cfg(feature = "vulkan")]
        DeviceType::Vulkan,
        #[cfg(feature = "webgpu")]
        DeviceType::WebGpu,
    ];
    let found = kinds.into_iter().find_map(|kind| {
        // A runtime whose driver is not there may panic instead of listing nothing.
        let devices = std::panic::catch_unwind(|| Device::enumerate(kind).into_vec());
        devices.ok()?.into_iter().next()
    });
    if found.is_none() {
        let required = std::env::var_os("SIMATTN_REQUIRE_GPU").is_some();
        assert!(!required, "no GPU is there");
        println!("skipped: no GPU is there");
    }
    found
}

/// SplitMix64: numbers of one seed.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// One of `low ..= high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.next() % (high - low + 1) as u64) as usize
    }

    pub fn flip(&mut self) -> bool {
        self.next().is_multiple_of(2)
    }

    /// Normal values of standard deviation `spread`.
    pub fn values(&mut self, len: usize, spread: f64) -> Vec<f32> {
        let mut uniform = || (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        (0..len)
            .map(|_| {
                let radius = (-2.0 * (1.0 - uniform()).ln()).sqrt();
                (spread * radius * (std::f64::consts::TAU * uniform()).cos()) as f32
            })
            .collect()
    }
}

/// The values as `dtype` holds them.
pub fn rounded(values: Vec<f32>, dtype: DType) -> Vec<f32> {
    let len = values.len();
    let rounded = TensorData::new(values, [len]).convert_dtype(dtype);
    rounded.iter().collect()
}

/// A tensor of these values; float64 on the CPU for what is compared with.
pub fn tensor<const R: usize>(
    values: &[f32],
    shape: [usize; R],
    device: &Device,
    dtype: DType,
) -> Tensor<R> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), (device, dtype))
}

pub fn read<const R: usize>(x: Tensor<R>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// Root mean square of the difference over that of `exact`, where that is not nothing beside
/// `floor`.
pub fn relative_error(got: &[f64], exact: &[f64], floor: f64) -> f64 {
    assert_eq!(got.len(), exact.len());
    assert!(got.iter().all(|x| x.is_finite()), "a value is not finite");
    let mean = |squares: f64| (squares / exact.len().max(1) as f64).sqrt();
    let difference = mean(got.iter().zip(exact).map(|(g, e)| (g - e) * (g - e)).sum());
    let size = mean(exact.iter().map(|e| e * e).sum());
    difference / size.max(floor)
}

/// Asserts that everything agrees to `limit`, and returns the largest error.
#[track_caller]
pub fn assert_near(case: &str, got: &Named, exact: &Named, limit: f64) -> f64 {
    // Gradients that are zero by symmetry are measured by the largest one beside them.
    let size = |x: &[f64]| (x.iter().map(|e| e * e).sum::<f64>() / x.len().max(1) as f64).sqrt();
    let floor = 1e-2 * exact.iter().map(|(_, x)| size(x)).fold(1e-30, f64::max);
    let mut worst = 0.0f64;
    for ((name, got), (_, exact)) in got.iter().zip(exact) {
        let error = relative_error(got, exact, floor);
        assert!(error <= limit, "{case}: {name} is off by {error:.1e}");
        worst = worst.max(error);
    }
    worst
}
