use burn::{module::Module, tensor::Tensor};
use simattn_kernels::{
    Kernels,
    ops::{GeluForm, Normed},
};

use crate::{
    config::{Mlp, ModelConfig},
    init::Initialiser,
    linear::Linear,
};

/// The feed-forward half of a block; the presence of a gate tells SwiGLU from GELU.
#[derive(Module, Debug)]
pub struct FeedForward {
    /// C → F, multiplied into `up` after SiLU; only in SwiGLU.
    pub gate: Option<Linear>,
    /// C → F.
    pub up: Linear,
    /// F → C, into the residual stream.
    pub down: Linear,
    #[module(skip)]
    form: Mlp,
}

impl FeedForward {
    /// As the model's configuration says.
    pub fn new(config: &ModelConfig, init: &Initialiser) -> Self {
        let (width, inner) = (config.width, config.mlp_width());
        let wide = |name| Linear::new(width, inner, config.bias, init.inner(), &init.at(name));
        Self {
            gate: matches!(config.mlp, Mlp::Swiglu).then(|| wide("gate")),
            up: wide("up"),
            down: Linear::new(inner, width, config.bias, init.residual(), &init.at("down")),
            form: config.mlp,
        }
    }

    /// `x` [B, T, C], normalised → [B, T, C].
    pub fn forward(&self, x: &Normed<3>, kernels: Kernels) -> Tensor<3> {
        let (weight, bias) = self.down.values();
        let Some(gate) = &self.gate else {
            let form = match self.form {
                Mlp::GeluTanh => GeluForm::Tanh,
                _ => GeluForm::Exact,
            };
            return kernels.gelu_linear(self.up.of_normed(x, kernels), weight, bias, form);
        };
        kernels.swiglu_linear(
            gate.of_normed(x, kernels),
            self.up.of_normed(x, kernels),
            weight,
            bias,
        )
    }
}
