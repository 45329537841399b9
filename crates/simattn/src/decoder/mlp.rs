use burn::{
    module::Module,
    tensor::{Tensor, activation},
};
use simattn_kernels::{Kernels, ops};

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

    /// `x` [B, T, C] → [B, T, C].
    pub fn forward(&self, x: Tensor<3>, kernels: Kernels) -> Tensor<3> {
        let inner = match &self.gate {
            Some(gate) => kernels.swiglu(
                gate.forward(x.clone(), kernels),
                self.up.forward(x, kernels),
            ),
            None if self.form == Mlp::GeluTanh => gelu_tanh(self.up.forward(x, kernels), kernels),
            None => kernels.gelu(self.up.forward(x, kernels)),
        };
        self.down.forward(inner, kernels)
    }
}

/// GELU in its tanh form.
fn gelu_tanh(x: Tensor<3>, kernels: Kernels) -> Tensor<3> {
    match kernels {
        Kernels::Fast => ops::gelu(x, ops::GeluForm::Tanh),
        Kernels::Reference => activation::gelu_approximate(x),
    }
}
