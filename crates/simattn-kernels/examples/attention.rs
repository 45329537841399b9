//! Attention forward and backward on Burn tensors, with queries and keys wider than values.
//!
//! `cargo run --release -p simattn-kernels --example attention`

use burn::tensor::{Device, Distribution, Tensor};
use simattn_kernels::Kernels;
use simattn_kernels::call::AttentionOptions;

fn main() {
    let device = Device::flex().autodiff();
    let normal = Distribution::Normal(0.0, 1.0);
    let random = |shape| Tensor::<4>::random(shape, normal, &device).require_grad();
    // Two sequences of 128 tokens: [batch, heads, tokens, width]. Eight query heads share two heads
    // of keys and values; a query and a key have 96 features, a value has 64.
    let q = random([2, 8, 128, 96]);
    let k = random([2, 2, 128, 96]);
    let v = random([2, 2, 128, 64]);

    // A token sees itself and those before it; scores are multiplied by 1/√96.
    let options = AttentionOptions::causal(96);
    let out = Kernels::Fast.attention(q.clone(), k.clone(), v.clone(), &options);
    println!("output         {:?}", out.dims());

    let gradients = out.clone().square().mean().backward();
    for (name, input) in [("q", &q), ("k", &k), ("v", &v)] {
        let gradient = input.grad(&gradients).expect("every input has a gradient");
        println!("gradient of {name}  {:?}", gradient.dims());
    }

    // The definition in plain tensor operations computes the same, with T × T scores in memory.
    let defined = Kernels::Reference.attention(q, k, v, &options);
    let difference: f32 = (out - defined).abs().max().into_scalar();
    println!("largest difference from the definition: {difference:.1e}");
}
