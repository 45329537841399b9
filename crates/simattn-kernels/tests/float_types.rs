//! Operations on bfloat16 activations with float32 weights: exact products, float32 sums, one
//! rounding.

use burn::tensor::{DType, Device, Distribution, Tensor};
use simattn_kernels::Kernels;
use simattn_kernels::ops::GeluForm;
use simattn_kernels::reference::AttentionOptions;

fn random<const R: usize>(shape: [usize; R], device: &Device) -> Tensor<R> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn rounded<const R: usize>(x: Tensor<R>) -> Tensor<R> {
    x.cast(DType::BF16).cast(DType::F32)
}

fn numbers<const R: usize>(x: Tensor<R>) -> Vec<f32> {
    x.into_data().iter::<f32>().collect()
}

#[test]
fn maps_and_attention_round_once() {
    let device = Device::flex();
    let x = random([3, 7, 20], &device);
    let weight = random([9, 20], &device);
    let bias = random([9], &device);
    let (narrow, exact) = (x.clone().cast(DType::BF16), rounded(x));
    let (w, b) = (rounded(weight.clone()), rounded(bias.clone()));
    for kernels in [Kernels::Fast, Kernels::Reference] {
        let got = kernels.linear(narrow.clone(), weight.clone(), Some(bias.clone()));
        assert_eq!(got.dtype(), DType::BF16);
        let expected = kernels.linear(exact.clone(), w.clone(), Some(b.clone()));
        assert_eq!(numbers(got), numbers(rounded(expected)));
        let form = GeluForm::Exact;
        let got = kernels.gelu_linear(narrow.clone(), weight.clone(), None, form);
        let expected = kernels.gelu_linear(exact.clone(), w.clone(), None, form);
        assert_eq!(numbers(got), numbers(rounded(expected)));
        let got = kernels.swiglu_linear(narrow.clone(), narrow.clone(), weight.clone(), None);
        let expected = kernels.swiglu_linear(exact.clone(), exact.clone(), w.clone(), None);
        assert_eq!(numbers(got), numbers(rounded(expected)));
        let heads = |x: &Tensor<3>| x.clone().reshape([1, 3, 7, 20]);
        let options = AttentionOptions::causal(20);
        let q = heads(&narrow);
        let got = kernels.attention(q.clone(), q.clone(), q, &options);
        assert_eq!(got.dtype(), DType::BF16);
        let q = heads(&exact);
        let expected = kernels.attention(q.clone(), q.clone(), q, &options);
        assert_eq!(numbers(got), numbers(rounded(expected)));
    }
}

#[test]
fn norms_compute_in_float32() {
    let device = Device::flex();
    let x = random([5, 12], &device);
    let (weight, bias) = (random([12], &device), random([12], &device));
    for kernels in [Kernels::Fast, Kernels::Reference] {
        let narrow = x.clone().cast(DType::BF16);
        let got = kernels.rms_norm(narrow.clone(), weight.clone(), 1e-6);
        assert_eq!(got.dtype(), DType::BF16);
        let expected = kernels.rms_norm(rounded(x.clone()), weight.clone(), 1e-6);
        assert_eq!(numbers(got), numbers(rounded(expected)));
        let got = kernels.layer_norm(narrow, weight.clone(), bias.clone(), 1e-6);
        let expected = kernels.layer_norm(rounded(x.clone()), weight.clone(), bias.clone(), 1e-6);
        assert_eq!(numbers(got), numbers(rounded(expected)));
    }
}

#[test]
fn gradients_reach_float32_weights_in_float32() {
    let device = Device::flex().autodiff();
    let weight = random([9, 20], &device).require_grad();
    let x = random([6, 20], &device);
    for kernels in [Kernels::Fast, Kernels::Reference] {
        let y = kernels.linear(x.clone().cast(DType::BF16), weight.clone(), None);
        let gradients = y.cast(DType::F32).sum().backward();
        let gradient = weight.grad(&gradients).expect("the weight is used");
        assert_eq!(gradient.dtype(), DType::F32);
        // Column sums of x, rounded on their way back to bfloat16.
        let expected = rounded(rounded(x.clone().inner()).sum_dim(0)).expand([9, 20]);
        let error = (gradient - expected).abs().max().into_scalar::<f32>();
        assert!(error < 0.05, "{error}");
        let hidden = x.clone().cast(DType::BF16);
        let targets = Tensor::from_data([1, 2, 3, 4, 5, 0], &device);
        let loss = kernels.head_cross_entropy(hidden, weight.clone(), targets);
        assert_eq!(loss.dtype(), DType::F32);
        assert!(loss.into_scalar::<f32>().is_finite());
    }
}
