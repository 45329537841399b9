//! The first check of a device.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::DType;
use simattn_kernels::check::{agrees, agrees_in};

#[test]
fn a_device_that_computes_right_passes_in_every_type() {
    let Some(device) = gpu::device() else { return };
    assert_eq!(agrees(&device), Ok(()));
    for dtype in [DType::BF16, DType::F16] {
        if device.supports_dtype(dtype) {
            assert_eq!(agrees_in(&device, dtype), Ok(()));
            println!("{dtype:?} agrees");
        }
    }
}
