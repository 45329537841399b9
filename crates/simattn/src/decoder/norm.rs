use burn::{
    module::{Module, Param},
    tensor::Tensor,
};
use simattn_kernels::{Kernels, ops::Normed};

use crate::{
    config::Norm,
    init::{Draw, Initialiser},
};

/// LayerNorm or RMSNorm over the last axis; the presence of a bias tells which.
#[derive(Module, Debug)]
pub struct Normalisation {
    /// `[C]`, starts at 1.
    pub weight: Param<Tensor<1>>,
    /// `[C]`, starts at 0; only in LayerNorm.
    pub bias: Option<Param<Tensor<1>>>,
    #[module(skip)]
    epsilon: f64,
}

impl Normalisation {
    /// A normalisation of vectors of `width` features.
    pub fn new(norm: Norm, width: usize, epsilon: f64, init: &Initialiser) -> Self {
        let bias = matches!(norm, Norm::Layer);
        Self {
            weight: init.parameter("weight", [width], Draw::Constant(1.0)),
            bias: bias.then(|| init.parameter("bias", [width], Draw::Constant(0.0))),
            epsilon,
        }
    }

    /// `x` [.., C] → the same shape.
    pub fn forward<const R: usize>(&self, x: Tensor<R>, kernels: Kernels) -> Tensor<R> {
        match &self.bias {
            Some(bias) => kernels.layer_norm(x, self.weight.val(), bias.val(), self.epsilon),
            None => kernels.rms_norm(x, self.weight.val(), self.epsilon),
        }
    }

    /// The same, for linear maps that do not keep its result.
    pub fn normed<const R: usize>(&self, x: Tensor<R>, kernels: Kernels) -> Normed<R> {
        let bias = self.bias.as_ref().map(|bias| bias.val());
        kernels.normed(x, self.weight.val(), bias, self.epsilon)
    }
}
