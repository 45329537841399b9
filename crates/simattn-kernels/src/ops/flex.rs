//! Between Burn's tensors and the slices of the CPU kernels.

use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Device, Shape, Tensor};

use crate::cpu::output::{Output, filled};

/// Whether the CPU kernels can take this tensor.
pub(super) fn has_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && on_cpu(tensor)
}

/// Whether a tensor is on Burn's CPU device, with or without autodiff.
pub(crate) fn on_cpu<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device() == Device::flex()
}

/// The values of a tensor that `contiguous` returned.
pub(super) fn values(tensor: &FlexTensor) -> &[f32] {
    tensor
        .as_slice()
        .expect("the wrappers let contiguous float32 tensors through only")
}

/// Token ids as the kernels take them; `None` is a negative id.
pub(super) fn ids(tensor: &FlexTensor) -> Vec<Option<u32>> {
    fn convert<T: Copy + TryInto<u32>>(ids: &[T]) -> Vec<Option<u32>> {
        ids.iter().map(|&id| id.try_into().ok()).collect()
    }
    let tensor = tensor.to_contiguous();
    tensor
        .as_slice::<i32>()
        .map(convert)
        .or_else(|| tensor.as_slice::<i64>().map(convert))
        .or_else(|| tensor.as_slice::<u32>().map(convert))
        .or_else(|| tensor.as_slice::<u8>().map(convert))
        .or_else(|| tensor.as_slice::<i16>().map(convert))
        .or_else(|| tensor.as_slice::<u16>().map(convert))
        .or_else(|| tensor.as_slice::<i8>().map(convert))
        .or_else(|| tensor.as_slice::<u64>().map(convert))
        .expect("ids are whole numbers")
}

pub(super) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(
        Bytes::from_elems(values),
        Layout::contiguous(shape.into()),
        DType::F32,
    )
}

/// A tensor that `fill` writes.
///
/// # Safety
/// `fill` must write every value.
pub(super) unsafe fn filled_tensor(shape: Shape, fill: impl FnOnce(Output<'_>)) -> FlexTensor {
    // SAFETY: the caller's promise.
    tensor(unsafe { filled(shape.num_elements(), fill) }, shape)
}

/// The length of the last axis.
pub(super) fn width(shape: &Shape) -> usize {
    shape.last().copied().unwrap_or(1)
}
