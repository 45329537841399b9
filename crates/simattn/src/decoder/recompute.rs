use burn::{
    module::{Module, ModuleMapper, ModuleVisitor, Param},
    tensor::Tensor,
};
use serde::{Deserialize, Serialize};
use simattn_kernels::{
    ops::{SasKeep, Tensors, recomputed},
    reference::RopeTable,
};

use super::block::Block;
use crate::attention::Pass;

/// What of the forward pass is worked out again in backward, instead of being kept for it. The
/// numbers are the same bit for bit; the time of one more forward pass is paid for memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Nothing, except what the operations themselves recompute.
    #[default]
    None,
    /// Everything inside a block: its input alone is kept.
    Block,
    /// Of simulated attention on a GPU the expansions alone: the outputs of its heads are kept.
    /// Elsewhere the same as [`Recompute::None`].
    Expansions,
    /// Nothing at all, of simulated attention on a GPU neither. Elsewhere the same as
    /// [`Recompute::None`].
    Nothing,
}

impl Recompute {
    /// What simulated attention keeps.
    pub(super) fn keep(self) -> SasKeep {
        match self {
            Self::None | Self::Block => SasKeep::Inputs,
            Self::Expansions => SasKeep::Outputs,
            Self::Nothing => SasKeep::Expansions,
        }
    }
}

/// [`Block::forward`] that keeps `x` and the block's own parameters for backward, nothing else.
pub(super) fn forward(block: &Block, x: Tensor<3>, pass: &Pass<'_>) -> Tensor<3> {
    let mut inputs = Tensors::new();
    inputs.push(x);
    block.visit(&mut Gather(&mut inputs));
    // What the graph keeps must not hold on to the graph.
    let block = block.clone().map(&mut Detach);
    let rope = pass.rope.map(|table| RopeTable {
        cos: table.cos.clone().without_autodiff(),
        sin: table.sin.clone().without_autodiff(),
    });
    let (kernels, precision) = (pass.kernels, pass.precision);
    recomputed(inputs, move |inputs| {
        let x = inputs.take();
        let block = block.clone().map(&mut Fill(inputs));
        let pass = Pass::new(rope.as_ref(), kernels).with_precision(precision);
        block.forward(x, &pass)
    })
}

/// Collects the parameters in the module's order.
struct Gather<'a>(&'a mut Tensors);

impl ModuleVisitor for Gather<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.push(param.val());
    }
}

/// Puts tensors in place of the parameters, in the same order.
struct Fill<'a>(&'a mut Tensors);

impl ModuleMapper for Fill<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, _, mapper) = param.consume();
        Param::from_mapped_value(id, self.0.take(), mapper)
    }
}

/// Takes the parameters off autodiff; their values stay shared.
struct Detach;

impl ModuleMapper for Detach {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.without_autodiff(), mapper)
    }
}
