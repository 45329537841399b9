//! AdamW and the norm of gradients on GPUs against their definitions in float64 on the CPU.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::{DType, Device, Tensor};
use gpu::{Numbers, assert_near, read, tensor};
use simattn_kernels::ops::{self, AdamW, AdamWState, GroupSettings};

const GROUP: GroupSettings = GroupSettings {
    learning_rate: 3e-3,
    weight_decay: 0.1,
};

fn settings(step: u64) -> AdamW {
    AdamW {
        beta_1: 0.9,
        beta_2: 0.95,
        epsilon: 1e-8,
        step,
        gradient_factor: 0.7,
    }
}

fn fresh(shape: [usize; 2], device: &Device, dtype: DType) -> AdamWState<2> {
    let zeros = || Tensor::zeros(shape, (device, dtype));
    AdamWState {
        first_moment: zeros(),
        second_moment: zeros(),
    }
}

fn random(seed: u64, shape: [usize; 2], device: &Device, dtype: DType) -> Tensor<2> {
    let values = Numbers(seed).values(shape[0] * shape[1], 1.0);
    tensor(&values, shape, device, dtype)
}

#[test]
fn steps_are_those_of_plain_operations() {
    let Some(device) = gpu::device() else { return };
    for (shape, by) in [([1, 1], None), ([33, 19], None), ([33, 19], Some(0.4f32))] {
        let run = |device: &Device, dtype: DType| {
            let mut values = random(1, shape, device, dtype);
            let mut state = fresh(shape, device, dtype);
            for step in 1..=5 {
                let turned = [shape[1], shape[0]];
                let gradient = random(10 + step, turned, device, dtype).transpose();
                (values, state) = match (dtype, by) {
                    (DType::F32, None) => {
                        ops::adamw_step(settings(step), GROUP, values, gradient, state)
                    }
                    (DType::F32, Some(by)) => {
                        let factor = Tensor::from_floats([by], device);
                        ops::adamw_step_by(settings(step), GROUP, values, gradient, state, factor)
                    }
                    _ => {
                        let gradient = gradient.mul_scalar(by.unwrap_or(1.0));
                        ops::adamw_step_portable(settings(step), GROUP, values, gradient, state)
                    }
                };
            }
            vec![
                ("values", read(values)),
                ("first moment", read(state.first_moment)),
                ("second moment", read(state.second_moment)),
            ]
        };
        let got = run(&device, DType::F32);
        let exact = run(&Device::flex(), DType::F64);
        let error = assert_near(&format!("{shape:?}"), &got, &exact, 1e-5);
        println!("{error:.1e} {shape:?}, factor {by:?}");
    }
}

#[test]
fn a_factor_that_is_not_finite_changes_nothing() {
    let Some(device) = gpu::device() else { return };
    let shape = [5, 7];
    for factor in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let values = random(1, shape, &device, DType::F32);
        let before = read(values.clone());
        let state = fresh(shape, &device, DType::F32);
        let gradient = random(2, shape, &device, DType::F32);
        let factor = Tensor::from_floats([factor], &device);
        let (after, state) =
            ops::adamw_step_by(settings(1), GROUP, values, gradient, state, factor);
        assert_eq!(read(after), before);
        assert!(read(state.first_moment).iter().all(|&m| m == 0.0));
        assert!(read(state.second_moment).iter().all(|&m| m == 0.0));
    }
}

#[test]
fn a_shared_tensor_stays_as_it_is() {
    let Some(device) = gpu::device() else { return };
    let shape = [4, 5];
    let values = random(1, shape, &device, DType::F32);
    let before = read(values.clone());
    let zeros = Tensor::<2>::zeros(shape, (&device, DType::F32));
    let state = AdamWState {
        first_moment: zeros.clone(),
        second_moment: zeros.clone(),
    };
    let gradient = random(2, shape, &device, DType::F32);
    let (after, _) = ops::adamw_step(settings(1), GROUP, values.clone(), gradient, state);
    assert_eq!(read(values), before);
    assert_ne!(read(after), before);
    assert!(read(zeros).iter().all(|&m| m == 0.0));
}

#[test]
fn squared_norms() {
    let Some(device) = gpu::device() else { return };
    for shape in [[1, 1], [3, 7], [60, 1000]] {
        let x = random(3, shape, &device, DType::F32);
        let exact: f64 = read(x.clone()).iter().map(|x| x * x).sum();
        let norm = |x: &Tensor<2>| read(ops::squared_norm_tensor(x))[0];
        assert!((norm(&x) - exact).abs() <= 1e-6 * exact);
        assert_eq!(norm(&x), norm(&x), "the same bits");
        let turned = x.clone().transpose();
        assert!((norm(&turned) - exact).abs() <= 1e-6 * exact);
        assert!(!norm(&x.div_scalar(0.0)).is_finite());
    }
}
