//! The Burn operations around attention against their definitions: values and gradients,
//! non-contiguous inputs, other float types, inputs that need no gradient, and autodiff with
//! recomputation.

use burn::tensor::{DType, Device, Int, Tensor, TensorData, activation};
use simattn_kernels::ops::{self, AdamW, AdamWState, GeluForm, GroupSettings};
use simattn_kernels::reference;
use simattn_random::stream;

fn random<const D: usize>(name: &str, shape: [usize; D]) -> Tensor<D> {
    let mut numbers = stream(3, name);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| numbers.normal() as f32)
        .collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn targets(tokens: usize, vocabulary: u64, device: &Device) -> Tensor<1, Int> {
    let mut numbers = stream(4, "targets");
    let ids: Vec<i32> = (0..tokens)
        .map(|_| numbers.below(vocabulary) as i32)
        .collect();
    Tensor::from_data(ids.as_slice(), device)
}

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

#[track_caller]
fn assert_alike(name: &str, got: &[f64], want: &[f64]) {
    assert_eq!(got.len(), want.len(), "{name}: length");
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut got.iter().zip(want).map(|(a, b)| a - b))
        / norm(&mut want.iter().copied()).max(1e-30);
    assert!(error < 5e-6, "{name}: relative error {error:e}");
}

/// A function of some matrices.
type Function<'a> = &'a dyn Fn(&[Tensor<2>]) -> Tensor<2>;

/// Value and gradients on `device` of Σ f(inputs)·dy for a fixed random dy; only inputs whose flag
/// is set need gradients.
fn evaluate(
    device: &Device,
    inputs: &[Tensor<2>],
    tracked: &[bool],
    f: Function<'_>,
) -> Vec<Option<Vec<f64>>> {
    let leaves: Vec<_> = inputs
        .iter()
        .zip(tracked)
        .map(|(input, &tracked)| {
            let leaf = Tensor::from_data(input.clone().into_data(), (device, input.dtype()));
            if tracked { leaf.require_grad() } else { leaf }
        })
        .collect();
    let y = f(&leaves);
    let dy = Tensor::from_data(random("dy", y.dims()).into_data(), (device, y.dtype()));
    let value = numbers(y.clone());
    let gradients = (y * dy).sum().backward();
    let of_leaf = |leaf: &Tensor<2>| leaf.grad(&gradients).map(numbers);
    std::iter::once(Some(value))
        .chain(leaves.iter().map(of_leaf))
        .collect()
}

/// `ours` is `definition`: forward and every gradient, for contiguous and transposed inputs, in
/// float64, with only one input tracked at a time, and with recomputation in backward.
#[track_caller]
fn check(name: &str, inputs: &[Tensor<2>], ours: Function<'_>, definition: Function<'_>) {
    let plain = Device::flex().autodiff();
    let all = vec![true; inputs.len()];
    let want = evaluate(&plain, inputs, &all, definition);
    let compare = |case: &str, got: Vec<Option<Vec<f64>>>, tracked: &[bool]| {
        for (i, (got, want)) in got.into_iter().zip(&want).enumerate() {
            let name = format!("{name}, {case}, result {i}");
            match got {
                Some(got) => {
                    assert_alike(&name, &got, want.as_ref().expect("the definition has it"))
                }
                None => assert!(!tracked[i - 1], "{name}: no gradient"),
            }
        }
    };
    compare("plain", evaluate(&plain, inputs, &all, ours), &all);
    let recomputing = Device::flex().autodiff().gradient_checkpointing();
    compare(
        "recomputing",
        evaluate(&recomputing, inputs, &all, ours),
        &all,
    );
    let turned: Vec<_> = inputs
        .iter()
        .map(|input| input.clone().transpose())
        .collect();
    let turn_back = |f: Function<'_>, leaves: &[Tensor<2>]| {
        f(&leaves
            .iter()
            .map(|leaf| leaf.clone().transpose())
            .collect::<Vec<_>>())
    };
    let got = evaluate(&plain, &turned, &all, &|leaves| turn_back(ours, leaves));
    let want_turned = evaluate(&plain, &turned, &all, &|leaves| {
        turn_back(definition, leaves)
    });
    for (i, (got, want)) in got.into_iter().zip(want_turned).enumerate() {
        assert_alike(
            &format!("{name}, transposed, result {i}"),
            &got.unwrap(),
            &want.unwrap(),
        );
    }
    let wide: Vec<_> = inputs
        .iter()
        .map(|input| input.clone().cast(DType::F64))
        .collect();
    compare("float64", evaluate(&plain, &wide, &all, ours), &all);
    for only in 0..inputs.len() {
        let tracked: Vec<_> = (0..inputs.len()).map(|i| i == only).collect();
        compare(
            "one tracked",
            evaluate(&plain, inputs, &tracked, ours),
            &tracked,
        );
    }
    let untracked = ours(inputs);
    assert_alike(
        &format!("{name}, without autodiff"),
        &numbers(untracked),
        want[0].as_ref().unwrap(),
    );
}

fn row(tensor: &Tensor<2>) -> Tensor<1> {
    tensor.clone().flatten(0, 1)
}

#[test]
fn linear_is_its_definition() {
    let inputs = [
        random("x", [7, 13]),
        random("weight", [9, 13]),
        random("bias", [1, 9]),
    ];
    check(
        "linear",
        &inputs,
        &|t| ops::linear(t[0].clone(), t[1].clone(), Some(row(&t[2]))),
        &|t| reference::linear(t[0].clone(), t[1].clone(), Some(row(&t[2]))),
    );
    check(
        "linear without bias",
        &inputs[..2],
        &|t| ops::linear(t[0].clone(), t[1].clone(), None),
        &|t| reference::linear(t[0].clone(), t[1].clone(), None),
    );
    // More axes, and a view that does not start at the first value.
    let x = random("x", [3, 4, 5, 8]).narrow(1, 1, 2);
    let weight = random("weight", [6, 8]);
    let y = ops::linear(x.clone(), weight.clone(), None);
    assert_eq!(y.dims(), [3, 2, 5, 6]);
    assert_alike(
        "four axes",
        &numbers(y),
        &numbers(reference::linear(x, weight, None)),
    );
}

#[test]
fn activations_are_their_definitions() {
    let inputs = [random("a", [11, 6]), random("b", [11, 6])];
    check(
        "gelu",
        &inputs[..1],
        &|t| ops::gelu(t[0].clone(), GeluForm::Exact),
        &|t| reference::gelu(t[0].clone()),
    );
    check(
        "tanh gelu",
        &inputs[..1],
        &|t| ops::gelu(t[0].clone(), GeluForm::Tanh),
        &|t| activation::gelu_approximate(t[0].clone()),
    );
    check(
        "swiglu",
        &inputs,
        &|t| ops::swiglu(t[0].clone(), t[1].clone()),
        &|t| reference::swiglu(t[0].clone(), t[1].clone()),
    );
    check(
        "packed swiglu",
        &inputs[..1],
        &|t| ops::swiglu_packed(t[0].clone()),
        &|t| reference::swiglu(t[0].clone().narrow(1, 0, 3), t[0].clone().narrow(1, 3, 3)),
    );
    let with_bias = [random("x", [11, 6]), random("bias", [1, 6])];
    check(
        "bias and gelu",
        &with_bias,
        &|t| ops::bias_gelu(t[0].clone(), row(&t[1]), GeluForm::Exact),
        &|t| reference::gelu(t[0].clone() + t[1].clone()),
    );
}

#[test]
fn linear_maps_of_activations_are_their_definitions() {
    let inputs = [
        random("a", [7, 13]),
        random("b", [7, 13]),
        random("weight", [9, 13]),
        random("bias", [1, 9]),
    ];
    let gelu_inputs = [inputs[0].clone(), inputs[2].clone(), inputs[3].clone()];
    let gelu = |t: &[Tensor<2>]| ops::gelu(t[0].clone(), GeluForm::Exact);
    check(
        "gelu and linear",
        &gelu_inputs,
        &|t| {
            let bias = Some(row(&t[2]));
            ops::gelu_linear(t[0].clone(), t[1].clone(), bias, GeluForm::Exact)
        },
        &|t| {
            reference::linear(
                reference::gelu(t[0].clone()),
                t[1].clone(),
                Some(row(&t[2])),
            )
        },
    );
    check(
        "gelu and linear without bias",
        &gelu_inputs[..2],
        &|t| ops::gelu_linear(t[0].clone(), t[1].clone(), None, GeluForm::Exact),
        &|t| reference::linear(gelu(t), t[1].clone(), None),
    );
    let product = |t: &[Tensor<2>]| reference::swiglu(t[0].clone(), t[1].clone());
    check(
        "swiglu and linear",
        &inputs,
        &|t| {
            let bias = Some(row(&t[3]));
            ops::swiglu_linear(t[0].clone(), t[1].clone(), t[2].clone(), bias)
        },
        &|t| reference::linear(product(t), t[2].clone(), Some(row(&t[3]))),
    );
    check(
        "swiglu and linear without bias",
        &inputs[..3],
        &|t| ops::swiglu_linear(t[0].clone(), t[1].clone(), t[2].clone(), None),
        &|t| reference::linear(product(t), t[2].clone(), None),
    );
}

#[test]
fn norms_are_their_definitions() {
    let inputs = [
        random("x", [9, 21]),
        random("weight", [1, 21]),
        random("bias", [1, 21]),
    ];
    check(
        "layer norm",
        &inputs,
        &|t| ops::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
        &|t| reference::layer_norm(t[0].clone(), row(&t[1]), row(&t[2]), 1e-5),
    );
    check(
        "rms norm",
        &inputs[..2],
        &|t| ops::rms_norm(t[0].clone(), row(&t[1]), 1e-5),
        &|t| reference::rms_norm(t[0].clone(), row(&t[1]), 1e-5),
    );
}

#[test]
fn losses_are_their_definitions() {
    let inputs = [random("hidden", [17, 10]), random("weight", [31, 10])];
    let targets = |t: &Tensor<2>| targets(17, 31, &t.device());
    // The factor takes the place of an upstream gradient other than 1; dy does so too.
    check(
        "head",
        &inputs,
        &|t| ops::head_cross_entropy(t[0].clone(), t[1].clone(), targets(&t[0])).unsqueeze(),
        &|t| reference::head_cross_entropy(t[0].clone(), t[1].clone(), targets(&t[0])).unsqueeze(),
    );
    let logits = [random("logits", [17, 31])];
    check(
        "cross-entropy",
        &logits,
        &|t| ops::cross_entropy(t[0].clone(), targets(&t[0])).unsqueeze(),
        &|t| reference::cross_entropy(t[0].clone(), targets(&t[0])).unsqueeze(),
    );
}

#[test]
fn negative_targets_do_not_count() {
    let device = Device::flex();
    let (hidden, weight) = (random("hidden", [4, 6]), random("weight", [5, 6]));
    let some = Tensor::<1, Int>::from_data([2, -100, 4, -1], &device);
    let counted = Tensor::cat(
        vec![
            hidden.clone().narrow(0, 0, 1),
            hidden.clone().narrow(0, 2, 1),
        ],
        0,
    );
    let want =
        reference::head_cross_entropy(counted, weight.clone(), Tensor::from_data([2, 4], &device));
    let want = numbers(want);
    assert_alike(
        "head",
        &numbers(ops::head_cross_entropy(
            hidden.clone(),
            weight.clone(),
            some.clone(),
        )),
        &want,
    );
    let logits = reference::linear(hidden, weight, None);
    assert_alike(
        "logits",
        &numbers(ops::cross_entropy(logits.clone(), some.clone())),
        &want,
    );
    assert_alike(
        "float64",
        &numbers(ops::cross_entropy(logits.cast(DType::F64), some)),
        &want,
    );
}

#[test]
fn embedding_is_its_definition() {
    let ids = |t: &Tensor<2>| targets(12, 9, &t.device()).reshape([3, 4]);
    check(
        "embedding",
        &[random("table", [9, 5])],
        &|t| ops::embedding(t[0].clone(), ids(&t[0])).reshape([12, 5]),
        &|t| reference::embedding(t[0].clone(), ids(&t[0])).reshape([12, 5]),
    );
}

#[test]
fn adamw_in_place_is_adamw_from_plain_operations() {
    let group = GroupSettings {
        learning_rate: 3e-3,
        weight_decay: 0.1,
    };
    let zeros = || Tensor::<2>::zeros([13, 7], &Device::flex());
    let fresh = || AdamWState {
        first_moment: zeros(),
        second_moment: zeros(),
    };
    let ((mut fast, mut fast_state), (mut plain, mut plain_state)) = (
        (random("values", [13, 7]), fresh()),
        (random("values", [13, 7]), fresh()),
    );
    for step in 1..=10 {
        let settings = AdamW {
            beta_1: 0.9,
            beta_2: 0.95,
            epsilon: 1e-8,
            step,
            gradient_factor: 0.7,
        };
        // A transposed gradient, as some backward passes give it.
        let gradient = random::<2>(&format!("gradient {step}"), [7, 13]).transpose();
        (fast, fast_state) = ops::adamw_step(settings, group, fast, gradient.clone(), fast_state);
        (plain, plain_state) =
            ops::adamw_step_portable(settings, group, plain, gradient, plain_state);
    }
    assert_alike("values", &numbers(fast), &numbers(plain));
    assert_alike(
        "first",
        &numbers(fast_state.first_moment),
        &numbers(plain_state.first_moment),
    );
    assert_alike(
        "second",
        &numbers(fast_state.second_moment),
        &numbers(plain_state.second_moment),
    );
}

#[test]
fn adamw_leaves_a_shared_tensor_as_it_is() {
    let settings = AdamW {
        beta_1: 0.9,
        beta_2: 0.95,
        epsilon: 1e-8,
        step: 1,
        gradient_factor: 1.0,
    };
    let group = GroupSettings {
        learning_rate: 0.1,
        weight_decay: 0.0,
    };
    let values = random::<2>("values", [5, 3]);
    let before = numbers(values.clone());
    let zeros = Tensor::<2>::zeros([5, 3], &Device::flex());
    let state = AdamWState {
        first_moment: zeros.clone(),
        second_moment: zeros,
    };
    let (after, _) = ops::adamw_step(
        settings,
        group,
        values.clone(),
        random("gradient", [5, 3]),
        state,
    );
    assert_eq!(numbers(values), before);
    assert_ne!(numbers(after), before);
}

#[test]
fn the_squared_norm_shows_values_that_are_not_finite() {
    let x = random::<2>("x", [40, 30]);
    let want: f64 = numbers(x.clone()).iter().map(|x| x * x).sum();
    assert!((ops::squared_norm(&x) - want).abs() < 1e-9 * want);
    assert!((ops::squared_norm(&x.clone().cast(DType::F64)) - want).abs() < 1e-5 * want);
    let turned =
        Tensor::<2>::from_data(x.clone().into_data(), &Device::flex().autodiff()).transpose();
    assert!((ops::squared_norm(&turned) - want).abs() < 1e-5 * want);
    assert!(!ops::squared_norm(&x.div_scalar(0.0)).is_finite());
}
