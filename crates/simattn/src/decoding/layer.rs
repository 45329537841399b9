//! A decoder block on few tokens.

use simattn_kernels::call::GeluForm;
use simattn_kernels::cpu::decoding::{gelu, swiglu};

use super::{
    batch::Batch,
    cache::LayerCache,
    dense::{Dense, Norm},
    mixer::Mixer,
    options::RunningOptions,
};
use crate::{
    config::{Mlp, ModelConfig},
    decoder::{Block, FeedForward},
};

/// A block.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    attention_norm: Norm,
    pub(super) mixer: Mixer,
    mlp_norm: Norm,
    mlp: Inner,
    parallel: bool,
}

/// The feed-forward half.
#[derive(Clone, Debug)]
struct Inner {
    /// SwiGLU: gate, then up.
    wide: Dense,
    down: Dense,
    form: Mlp,
}

impl Layer {
    pub(super) fn new(block: &Block, config: &ModelConfig, options: &RunningOptions) -> Self {
        let norm = |norm| Norm::of_layer(norm, config.norm_epsilon);
        Self {
            attention_norm: norm(&block.attention_norm),
            mixer: Mixer::new(&block.attention, config, options),
            mlp_norm: norm(&block.mlp_norm),
            mlp: Inner::new(&block.mlp, config, options),
            parallel: config.parallel_residual,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let norms = self.attention_norm.bytes() + self.mlp_norm.bytes();
        norms + self.mixer.bytes() + self.mlp.wide.bytes() + self.mlp.down.bytes()
    }

    /// `x` [rows, C] through the block, in place; `caches` has one of each run.
    pub(super) fn forward(&self, batch: &Batch<'_>, caches: &mut [&mut LayerCache], x: &mut [f32]) {
        let normed = self.attention_norm.of(x);
        if self.parallel {
            let beside = self.mlp_norm.of(x);
            self.mixer.forward(batch, caches, &normed, x);
            self.mlp.forward(batch.rows(), &beside, x);
            return;
        }
        self.mixer.forward(batch, caches, &normed, x);
        self.mlp.forward(batch.rows(), &self.mlp_norm.of(x), x);
    }
}

impl Inner {
    fn new(mlp: &FeedForward, config: &ModelConfig, options: &RunningOptions) -> Self {
        let wide = match &mlp.gate {
            Some(gate) => Dense::stacked(options.weights, &[gate, &mlp.up]),
            None => Dense::new(options.weights, &mlp.up),
        };
        Self {
            wide,
            down: Dense::new(options.weights, &mlp.down),
            form: config.mlp,
        }
    }

    /// Adds the half's output for `x` [rows, C] to `y`.
    fn forward(&self, rows: usize, x: &[f32], y: &mut [f32]) {
        let wide = self.wide.of(rows, x);
        let active = match self.form {
            Mlp::Swiglu => {
                let width = self.wide.outputs() / 2;
                let mut active = vec![0.0; rows * width];
                swiglu(width, &wide, &mut active);
                active
            }
            Mlp::Gelu | Mlp::GeluTanh => {
                let form = match self.form {
                    Mlp::GeluTanh => GeluForm::Tanh,
                    _ => GeluForm::Exact,
                };
                let mut active = vec![0.0; wide.len()];
                gelu(form, &wide, &mut active);
                active
            }
        };
        self.down.add(rows, &active, y);
    }
}
