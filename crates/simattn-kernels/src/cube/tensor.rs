//! What the launches ask of Burn's tensors on CubeCL devices.

use burn::backend::cubecl::dtype_to_elem_type;
use burn::tensor::{DType, Shape};
use burn_cubecl::kernel::{into_contiguous, untile};
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::client::Client;
use cubecl::ir::{AddressType, ElemType};
use cubecl::prelude::*;
use cubecl::zspace::Strides;
use cubecl::zspace::metadata::Metadata;

use super::rows::threads;

/// A tensor that kernels can index by shape and strides; most are already.
pub(crate) fn indexable(x: CubeTensor) -> CubeTensor {
    untile(x)
}

/// The element type of a tensor's values.
pub(crate) fn element(x: &CubeTensor) -> ElemType {
    dtype_to_elem_type(x.dtype)
}

/// Integers wide enough to index every one of these tensors.
pub(crate) fn addresses(tensors: &[&CubeTensor]) -> AddressType {
    let widest = tensors.iter().map(|x| x.required_address_type()).max();
    widest.unwrap_or_default()
}

/// An uninitialised tensor beside `like` on its device; the kernel launched next writes every
/// value.
///
/// Its rows lie end to end, which kernels that index by hand rely on. Burn's own functions leave
/// room between rows on some devices (CUDA, ROCm), so no launch may allocate in another way;
/// `tests/floors.rs` enforces this.
pub(crate) fn unwritten(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let shape = shape.into();
    let handle = like
        .client
        .empty(shape.num_elements().max(1) * dtype.size());
    CubeTensor::new_contiguous(
        like.client.clone(),
        like.device.clone(),
        shape,
        handle,
        dtype,
    )
}

#[cube(launch, address_type = "dynamic")]
fn clear<F: Float>(x: &mut Tensor<F>, #[define(F)] _element: ElemType) {
    if ABSOLUTE_POS < x.len() {
        x[ABSOLUTE_POS] = F::cast_from(f32::new(0.0));
    }
}

/// Zeros beside `like` on its device, end to end as [`unwritten`].
pub(crate) fn zeros(like: &CubeTensor, shape: impl Into<Shape>, dtype: DType) -> CubeTensor {
    let x = unwritten(like, shape, dtype);
    let values = x.meta.num_elements();
    if values > 0 {
        clear::launch(
            &x.client,
            calculate_cube_count_elemwise(&x.client, values, threads()),
            threads(),
            addresses(&[&x]),
            x.clone().into_tensor_arg(),
            element(&x),
        );
    }
    x
}

/// A tensor that a kernel may change in place: contiguous, and held by nobody else.
pub(crate) fn writable(x: CubeTensor) -> CubeTensor {
    let x = into_contiguous(x);
    if x.can_mut() {
        x
    } else {
        into_contiguous(x.copy())
    }
}

/// An uninitialised tensor [B, H, T, D] whose values stand as [B, T, H, D].
pub(crate) fn unwritten_token_major(
    like: &CubeTensor,
    [batch, heads, tokens, width]: [usize; 4],
    dtype: DType,
) -> CubeTensor {
    swapped(unwritten(like, [batch, tokens, heads, width], dtype))
}

/// [B, T, H, D] seen as [B, H, T, D], or the other way round; nothing moves.
pub(crate) fn swapped(x: CubeTensor) -> CubeTensor {
    let [batch, tokens, heads, width] = x.meta.shape().dims();
    let s = x.meta.strides();
    let strides = Strides::new(&[s[0], s[2], s[1], s[3]]);
    let shape = Shape::new([batch, heads, tokens, width]);
    CubeTensor::new(
        x.client,
        x.handle,
        Metadata::new(shape, strides),
        x.device,
        x.dtype,
    )
}

/// The same contiguous values under another shape.
pub(crate) fn reshaped(x: CubeTensor, shape: impl Into<Shape>) -> CubeTensor {
    CubeTensor::new_contiguous(x.client, x.device, shape.into(), x.handle, x.dtype)
}

/// Shared memory of one cube, in bytes.
pub(crate) fn shared_memory(client: &Client) -> usize {
    client.properties().hardware.max_shared_memory_size
}
