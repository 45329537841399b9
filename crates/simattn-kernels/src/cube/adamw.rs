//! AdamW (arXiv 1711.05101) on CubeCL devices: one kernel a tensor, in place.

use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::rows::threads;
use super::tensor::{addresses, element, writable};
use crate::call::{AdamW, GroupSettings};

/// One step for one tensor, one thread a value. If `factor[0]` is not finite, nothing is written.
#[cube(launch, address_type = "dynamic")]
fn adamw_step<G: Float>(
    values: &mut Tensor<f32>,
    first_moment: &mut Tensor<f32>,
    second_moment: &mut Tensor<f32>,
    gradient: &Tensor<G>,
    factor: &Tensor<f32>,
    gradient_factor: f32,
    rest_1: f32,
    rest_2: f32,
    epsilon: f32,
    keep: f32,
    rate: f32,
    root_correction: f32,
    #[define(G)] _element: ElemType,
) {
    let at = ABSOLUTE_POS;
    if at >= values.len() {
        terminate!();
    }
    let factor = factor[0];
    // By its bits, because a compiler may assume that a comparison meets finite numbers.
    let exponent = u32::reinterpret(factor) & 0x7f80_0000u32;
    if exponent != 0x7f80_0000u32 {
        let g = f32::cast_from(gradient[at]) * (factor * gradient_factor);
        let first = first_moment[at];
        let first = first + rest_1 * (g - first);
        let second = second_moment[at];
        let second = second + rest_2 * (g * g - second);
        first_moment[at] = first;
        second_moment[at] = second;
        let root = second.sqrt() * root_correction + epsilon;
        values[at] = values[at] * keep - rate * first / root;
    }
}

/// Values and moments, all float32 and of one shape, after a step; in place where nobody else holds
/// them. `factor` `[1]`, float32, multiplies the gradient beside the settings' own; if it is not
/// finite, everything stays as it is.
pub(crate) fn step(
    settings: AdamW,
    group: GroupSettings,
    values_and_moments: [CubeTensor; 3],
    gradient: CubeTensor,
    factor: CubeTensor,
) -> [CubeTensor; 3] {
    let gradient = into_contiguous(gradient);
    let [values, first, second] = values_and_moments.map(writable);
    let len = values.meta.num_elements();
    let others = [&first, &second, &gradient].map(|x| x.meta.num_elements());
    assert_eq!(others, [len; 3], "gradient and moments of a parameter");
    if len == 0 {
        return [values, first, second];
    }
    let correction =
        |beta: f32| 1.0 - f64::from(beta).powi(i32::try_from(settings.step).unwrap_or(i32::MAX));
    let rate = f64::from(group.learning_rate);
    adamw_step::launch(
        &values.client,
        calculate_cube_count_elemwise(&values.client, len, threads()),
        threads(),
        addresses(&[&values]),
        values.clone().into_tensor_arg(),
        first.clone().into_tensor_arg(),
        second.clone().into_tensor_arg(),
        gradient.clone().into_tensor_arg(),
        factor.into_tensor_arg(),
        settings.gradient_factor,
        1.0 - settings.beta_1,
        1.0 - settings.beta_2,
        settings.epsilon,
        (1.0 - rate * f64::from(group.weight_decay)) as f32,
        (rate / correction(settings.beta_1)) as f32,
        (1.0 / correction(settings.beta_2).sqrt()) as f32,
        element(&gradient),
    );
    [values, first, second]
}
