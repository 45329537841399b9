//! Which tensors the kernels of CubeCL devices take.

use burn::tensor::Tensor;

/// Whether the GPU kernels can take this tensor.
#[cfg(not(feature = "cube"))]
pub(super) fn has_gpu_kernels<const D: usize>(_: &Tensor<D>) -> bool {
    false
}

/// Whether the GPU kernels can take this tensor.
#[cfg(feature = "cube")]
pub(super) fn has_gpu_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    use burn::backend::DispatchDevice;
    use burn::tensor::DType;
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Cube(_))
        && matches!(tensor.dtype(), DType::F32 | DType::BF16 | DType::F16)
}

/// Whether the GPU kernels can take both tensors, which are of one float type.
pub(super) fn has_gpu_kernels_for<const D: usize, const E: usize>(
    one: &Tensor<D>,
    other: &Tensor<E>,
) -> bool {
    has_gpu_kernels(one) && has_gpu_kernels(other) && one.dtype() == other.dtype()
}
