use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use simattn_kernels::{Kernels, ops::Normed};

use crate::init::{Draw, Initialiser};

/// A dense layer `y = x · weightᵀ + bias`, weights laid out as PyTorch's: [outputs, inputs].
#[derive(Module, Debug)]
pub struct Linear {
    /// [O, I]
    pub weight: Param<Tensor<2>>,
    /// `[O]`, absent in models without biases.
    pub bias: Option<Param<Tensor<1>>>,
}

impl Linear {
    /// Draws the weight; a bias starts at zero.
    pub fn new(inputs: usize, outputs: usize, bias: bool, draw: Draw, init: &Initialiser) -> Self {
        Self {
            weight: init.parameter("weight", [outputs, inputs], draw),
            bias: bias.then(|| init.parameter("bias", [outputs], Draw::Constant(0.0))),
        }
    }

    /// `x` [.., I] → [.., O].
    pub fn forward<const R: usize>(&self, x: Tensor<R>, kernels: Kernels) -> Tensor<R> {
        let (weight, bias) = self.values();
        kernels.linear(x, weight, bias)
    }

    /// The same of a normalised tensor, which is not kept for backward.
    pub(crate) fn of_normed<const R: usize>(&self, x: &Normed<R>, kernels: Kernels) -> Tensor<R> {
        let (weight, bias) = self.values();
        kernels.normed_linear(x, weight, bias)
    }

    /// Weight [O, I] and bias `[O]`, for operations that do more than this map.
    pub fn values(&self) -> (Tensor<2>, Option<Tensor<1>>) {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        (self.weight.val(), bias)
    }
}
