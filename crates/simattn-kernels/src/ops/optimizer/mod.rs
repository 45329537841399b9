#[cfg(feature = "cube")]
mod cube;
mod state;

use burn::backend::Flex;
use burn::tensor::{DType, Device, Tensor};

pub use state::AdamWState;

use super::autodiff::with_autodiff;
use super::flex::{has_kernels, values};
use crate::call::{AdamW, GroupSettings};
use crate::cpu::adamw::{self, Parameter};
use crate::cpu::gradient_norm::squared_sums;

/// One AdamW step (arXiv 1711.05101) for one parameter; tensors without autodiff (`Tensor::inner`).
///
/// On the CPU and on CubeCL devices, values and moments that nobody else holds are changed in
/// place: pass them by value and drop other handles. On CubeCL devices values and moments are
/// float32 and the gradient is that, bfloat16 or float16.
pub fn adamw_step<const D: usize>(
    settings: AdamW,
    group: GroupSettings,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
) -> (Tensor<D>, AdamWState<D>) {
    #[cfg(feature = "cube")]
    if has_gpu_step(&values, &gradient, &state) {
        let factor = Tensor::ones([1], (&values.device(), DType::F32));
        return cube::adamw_step(settings, group, values, gradient, state, factor);
    }
    let AdamWState {
        first_moment,
        second_moment,
    } = state;
    let all = [&values, &gradient, &first_moment, &second_moment];
    if !all
        .into_iter()
        .all(|tensor| has_kernels(tensor) && !with_autodiff(tensor))
    {
        return adamw_step_portable(
            settings,
            group,
            values,
            gradient,
            AdamWState {
                first_moment,
                second_moment,
            },
        );
    }
    let primitive = |tensor: Tensor<D>| {
        let tensor = tensor
            .try_into_primitive::<Flex>()
            .expect("a tensor of the CPU device");
        // A view of something larger, or a transpose, gets memory of its own; a plain tensor keeps
        // its own.
        let whole = tensor.is_contiguous()
            && tensor
                .as_slice::<f32>()
                .is_some_and(|s| s.len() * 4 == tensor.bytes().len());
        if whole {
            tensor
        } else {
            tensor.to_contiguous()
        }
    };
    let [mut values, gradient, mut first, mut second] =
        [values, gradient, first_moment, second_moment].map(primitive);
    adamw::step(
        settings,
        &mut [Parameter {
            values: values.storage_mut(),
            gradient: gradient.storage(),
            first_moment: first.storage_mut(),
            second_moment: second.storage_mut(),
            learning_rate: group.learning_rate,
            weight_decay: group.weight_decay,
        }],
    );
    let [values, first_moment, second_moment] =
        [values, first, second].map(Tensor::from_primitive::<Flex>);
    (
        values,
        AdamWState {
            first_moment,
            second_moment,
        },
    )
}

/// [`adamw_step`] whose gradient is multiplied by the one value of `factor`, float32, beside the
/// settings' own factor. If it is not finite, values and moments stay as they are.
///
/// On CubeCL devices nothing is read back to the host: `factor` may be a clipping factor that was
/// worked out there from [`squared_norm_tensor`]. The host then does not know of a step that was
/// left out, and counts it in `settings.step`.
pub fn adamw_step_by<const D: usize>(
    settings: AdamW,
    group: GroupSettings,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
    factor: Tensor<1>,
) -> (Tensor<D>, AdamWState<D>) {
    #[cfg(feature = "cube")]
    if has_gpu_step(&values, &gradient, &state) {
        let factor = factor.cast(DType::F32);
        return cube::adamw_step(settings, group, values, gradient, state, factor);
    }
    if values.device() == Device::flex() {
        let factor = factor.into_data().iter::<f32>().next().unwrap_or(f32::NAN);
        if !factor.is_finite() {
            return (values, state);
        }
        let settings = AdamW {
            gradient_factor: settings.gradient_factor * factor,
            ..settings
        };
        return adamw_step(settings, group, values, gradient, state);
    }
    adamw_step_by_portable(settings, group, values, gradient, state, factor)
}

/// [`adamw_step_by`] from plain Burn operations, on any device and float type, without a value read
/// back to the host.
pub fn adamw_step_by_portable<const D: usize>(
    settings: AdamW,
    group: GroupSettings,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
    factor: Tensor<1>,
) -> (Tensor<D>, AdamWState<D>) {
    let shape = values.shape();
    let factor = factor.cast(gradient.dtype()).reshape([1; D]);
    let keep = factor.clone().is_finite().bool_not().expand(shape.clone());
    let gradient = gradient * factor.expand(shape);
    let (new, new_state) =
        adamw_step_portable(settings, group, values.clone(), gradient, state.clone());
    let chosen = |new: Tensor<D>, old: Tensor<D>| new.mask_where(keep.clone(), old);
    let state = AdamWState {
        first_moment: chosen(new_state.first_moment, state.first_moment),
        second_moment: chosen(new_state.second_moment, state.second_moment),
    };
    (chosen(new, values), state)
}

#[cfg(feature = "cube")]
fn has_gpu_step<const D: usize>(
    values: &Tensor<D>,
    gradient: &Tensor<D>,
    state: &AdamWState<D>,
) -> bool {
    use super::gpu::has_gpu_kernels;
    let plain = |tensor: &Tensor<D>| has_gpu_kernels(tensor) && !with_autodiff(tensor);
    let float32 = [values, &state.first_moment, &state.second_moment]
        .into_iter()
        .all(|tensor| plain(tensor) && tensor.dtype() == DType::F32);
    float32 && plain(gradient)
}

/// [`adamw_step`] from plain Burn operations, on any device and float type.
pub fn adamw_step_portable<const D: usize>(
    settings: AdamW,
    group: GroupSettings,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
) -> (Tensor<D>, AdamWState<D>) {
    let (beta_1, beta_2) = (f64::from(settings.beta_1), f64::from(settings.beta_2));
    let rate = f64::from(group.learning_rate);
    let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(settings.step).unwrap_or(i32::MAX));
    let gradient = gradient.mul_scalar(settings.gradient_factor);
    let first_moment =
        state.first_moment.mul_scalar(beta_1) + gradient.clone().mul_scalar(1.0 - beta_1);
    let second_moment =
        state.second_moment.mul_scalar(beta_2) + gradient.square().mul_scalar(1.0 - beta_2);
    let root = second_moment
        .clone()
        .div_scalar(correction(beta_2))
        .sqrt()
        .add_scalar(settings.epsilon);
    let update = first_moment.clone().mul_scalar(rate / correction(beta_1)) / root;
    let values = values.mul_scalar(1.0 - rate * f64::from(group.weight_decay)) - update;
    (
        values,
        AdamWState {
            first_moment,
            second_moment,
        },
    )
}

/// Σ x² of a tensor without autodiff, in double precision on the CPU: the parts of a global norm.
/// It is finite exactly if every value is (on other devices, unless the sum overflows float32).
pub fn squared_norm<const D: usize>(tensor: &Tensor<D>) -> f64 {
    if has_kernels(tensor) && !with_autodiff(tensor) {
        let tensor = tensor
            .clone()
            .try_into_primitive::<Flex>()
            .expect("a tensor of the CPU device")
            .to_contiguous();
        return squared_sums(&[values(&tensor)])[0];
    }
    let sum = tensor.clone().cast(DType::F32).square().sum();
    sum.into_data().iter::<f64>().next().unwrap_or(0.0)
}

/// [`squared_norm`] as a float32 tensor `[1]` that stays on its device. It is finite unless a value
/// is not, or the sum overflows.
pub fn squared_norm_tensor<const D: usize>(tensor: &Tensor<D>) -> Tensor<1> {
    #[cfg(feature = "cube")]
    if super::gpu::has_gpu_kernels(tensor) && !with_autodiff(tensor) {
        return cube::squared_norm(tensor.clone());
    }
    if has_kernels(tensor) && !with_autodiff(tensor) {
        return Tensor::from_floats([squared_norm(tensor) as f32], &tensor.device());
    }
    tensor.clone().cast(DType::F32).square().sum()
}
