use burn::tensor::Tensor;
use burn_cubecl::CubeBackend;
use burn_cubecl::tensor::CubeTensor;

use super::AdamWState;
use crate::call::{AdamW, GroupSettings};
use crate::cube::{adamw, squares};

/// A tensor that [`has_gpu_kernels`](crate::ops::gpu::has_gpu_kernels) let through, without
/// autodiff.
fn primitive<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    tensor
        .try_into_primitive::<CubeBackend>()
        .expect("a tensor of a CubeCL device")
}

/// [`adamw_step_by`](crate::ops::adamw_step_by) for tensors that the kernels take.
pub(super) fn adamw_step<const D: usize>(
    settings: AdamW,
    group: GroupSettings,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
    factor: Tensor<1>,
) -> (Tensor<D>, AdamWState<D>) {
    let all = [values, state.first_moment, state.second_moment].map(primitive);
    let [values, first_moment, second_moment] =
        adamw::step(settings, group, all, primitive(gradient), primitive(factor))
            .map(Tensor::from_primitive::<CubeBackend>);
    (
        values,
        AdamWState {
            first_moment,
            second_moment,
        },
    )
}

/// Σ x², `[1]` in float32.
pub(super) fn squared_norm<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    Tensor::from_primitive::<CubeBackend>(squares::squared_norm(primitive(tensor)))
}
