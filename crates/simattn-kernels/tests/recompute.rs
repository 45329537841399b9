//! A function that is worked out again in backward gives what it gives otherwise, bit for bit.

use burn::tensor::{Device, Distribution, Tensor};
use simattn_kernels::ops::{
    GeluForm, Normed, Tensors, gelu, layer_norm, linear, normed_linear, recomputed, rms_norm,
};

fn random<const R: usize>(shape: [usize; R]) -> Tensor<R> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &Device::flex())
}

fn leaf<const R: usize>(x: &Tensor<R>) -> Tensor<R> {
    x.clone().autodiff().require_grad()
}

fn bits<const R: usize>(x: Tensor<R>) -> Vec<u32> {
    let values = x.into_data().try_to_vec::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

/// x is used three times, so that its gradient is a sum of three.
fn block(inputs: &mut Tensors) -> Tensor<3> {
    let x: Tensor<3> = inputs.take();
    let (scale, shift): (Tensor<1>, Tensor<1>) = (inputs.take(), inputs.take());
    let (weight, bias): (Tensor<2>, Tensor<1>) = (inputs.take(), inputs.take());
    let normed = layer_norm(x.clone(), scale, shift, 1e-5);
    x.clone() + gelu(linear(normed, weight, Some(bias)), GeluForm::Exact) * x
}

#[test]
fn values_and_gradients_are_the_same_bit_for_bit() {
    let [batch, tokens, width] = [2, 7, 12];
    let x = random([batch, tokens, width]);
    let (scale, shift) = (random([width]), random([width]));
    let (weight, bias) = (random([width, width]), random([width]));
    let run = |again: bool| {
        let (x, scale, shift) = (leaf(&x), leaf(&scale), leaf(&shift));
        let (weight, bias) = (leaf(&weight), leaf(&bias));
        // What comes before and after has gradients too, and two calls stand one upon the other.
        let mut y = x.clone() * 1.5;
        for _ in 0..2 {
            let mut inputs = Tensors::new();
            inputs.push(y);
            inputs.push(scale.clone());
            inputs.push(shift.clone());
            inputs.push(weight.clone());
            inputs.push(bias.clone());
            y = if again {
                recomputed(inputs, block)
            } else {
                block(&mut inputs)
            };
        }
        let gradients = (y.clone() * y.clone()).sum().backward();
        [
            bits(y.inner()),
            bits(x.grad(&gradients).unwrap()),
            bits(scale.grad(&gradients).unwrap()),
            bits(shift.grad(&gradients).unwrap()),
            bits(weight.grad(&gradients).unwrap()),
            bits(bias.grad(&gradients).unwrap()),
        ]
    };
    assert_eq!(run(true), run(false));
}

#[test]
fn an_input_without_gradient_and_one_that_is_not_used() {
    let (a, b, c) = (random([3, 4]), random([3, 4]), random([3, 4]));
    let (used, unused) = (leaf(&b), leaf(&c));
    let mut inputs = Tensors::new();
    inputs.push(a.clone());
    inputs.push(used.clone());
    // Not a leaf: the operation that made it waits for a gradient.
    inputs.push(unused.clone() * 2.0);
    let y = recomputed(inputs, |inputs| {
        let (a, b, _): (Tensor<2>, Tensor<2>, Tensor<2>) =
            (inputs.take(), inputs.take(), inputs.take());
        a * b
    });
    let gradients = y.sum().backward();
    assert_eq!(bits(used.grad(&gradients).unwrap()), bits(a));
    let zeros = unused.grad(&gradients).unwrap();
    assert_eq!(bits(zeros), vec![0; 12]);
}

#[test]
fn without_gradients_the_function_is_just_run() {
    let x = random([2, 3]);
    let mut inputs = Tensors::new();
    inputs.push(x.clone());
    let y: Tensor<2> = recomputed(inputs, |inputs| inputs.take::<2>() * 2.0);
    assert_eq!(bits(y.clone()), bits(x * 2.0));
    assert!(!y.is_require_grad());
}

#[test]
fn a_map_that_normalises_again_is_a_map_of_the_norm_bit_for_bit() {
    let [batch, tokens, width, outputs] = [2, 7, 12, 5];
    let x = random([batch, tokens, width]);
    let (scale, shift) = (random([width]), random([width]));
    let (weight, bias) = (random([outputs, width]), random([outputs]));
    for (shifted, biased) in [(true, true), (true, false), (false, true), (false, false)] {
        let run = |again: bool| {
            let (x, scale, shift) = (leaf(&x), leaf(&scale), leaf(&shift));
            let (weight, bias) = (leaf(&weight), leaf(&bias));
            let with_bias = || biased.then(|| bias.clone());
            let before = x.clone() * 1.5;
            let y = if again {
                let shift = shifted.then(|| shift.clone());
                let normed = Normed::new(before, scale.clone(), shift, 1e-5);
                normed_linear(&normed, weight.clone(), with_bias())
            } else {
                let normed = if shifted {
                    layer_norm(before, scale.clone(), shift.clone(), 1e-5)
                } else {
                    rms_norm(before, scale.clone(), 1e-5)
                };
                linear(normed, weight.clone(), with_bias())
            };
            let gradients = (y.clone() * y.clone()).sum().backward();
            let mut all = vec![bits(y.inner())];
            all.push(bits(x.grad(&gradients).unwrap()));
            all.push(bits(weight.grad(&gradients).unwrap()));
            all.push(bits(scale.grad(&gradients).unwrap()));
            all.push(shift.grad(&gradients).map_or(Vec::new(), bits));
            all.push(bias.grad(&gradients).map_or(Vec::new(), bits));
            all
        };
        let plain = run(false);
        assert_eq!(plain[4].is_empty(), !shifted);
        assert_eq!(plain[5].is_empty(), !biased);
        assert_eq!(run(true), plain, "shifted {shifted}, biased {biased}");
    }
}
