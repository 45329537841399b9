use burn::backend::Flex;
use burn::tensor::{DType, Tensor};

use super::flex::has_kernels;
use crate::cpu::adamw::{self, AdamW, Parameter};
use crate::cpu::gradient_norm::squared_sums;

/// The moments of one parameter; zeros of its shape before the first step.
#[derive(Clone, Debug)]
pub struct AdamWState<const D: usize> {
    /// The running mean of gradients.
    pub first_moment: Tensor<D>,
    /// The running mean of squared gradients.
    pub second_moment: Tensor<D>,
}

/// What the parameters of one group share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupSettings {
    /// The learning rate of this step.
    pub learning_rate: f32,
    /// Decoupled weight decay: values shrink by learning rate × decay.
    pub weight_decay: f32,
}

/// One AdamW step (arXiv 1711.05101) for one parameter; tensors without autodiff (`Tensor::inner`).
///
/// On the CPU, values and moments that nobody else holds are changed in place: pass them by value and drop other handles.
pub fn adamw_step<const D: usize>(
    settings: AdamW,
    group: GroupSettings,
    values: Tensor<D>,
    gradient: Tensor<D>,
    state: AdamWState<D>,
) -> (Tensor<D>, AdamWState<D>) {
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
        // A view of something larger, or a transpose, gets memory of its own; a plain tensor keeps its own.
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

/// Σ x² of a tensor without autodiff, in double precision on the CPU: the parts of a global norm. It is finite exactly if
/// every value is (on other devices, unless the sum overflows float32).
pub fn squared_norm<const D: usize>(tensor: &Tensor<D>) -> f64 {
    if has_kernels(tensor) && !with_autodiff(tensor) {
        let tensor = tensor
            .clone()
            .try_into_primitive::<Flex>()
            .expect("a tensor of the CPU device")
            .to_contiguous();
        return squared_sums(&[super::flex::values(&tensor)])[0];
    }
    let sum = tensor.clone().cast(DType::F32).square().sum();
    sum.into_data().iter::<f64>().next().unwrap_or(0.0)
}

fn with_autodiff<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().gradient_checkpointing_strategy().is_some()
}
