//! The one way in which the operations here are registered with autodiff.

use std::fmt::Debug;

use burn::backend::Backend;
use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::tensor::Tensor;

/// An operation with N inputs that may need gradients. The type holds what else its backward needs
/// beside tensors.
pub(super) trait Differentiable<B: Backend, const N: usize>:
    Debug + Send + Sized + 'static
{
    /// The tensors that backward reads.
    type Kept: Clone + Debug + Send + 'static;

    /// Gradients of the inputs from that of the output. `wanted` says which inputs need one; others
    /// are dropped.
    fn gradients(
        self,
        kept: Self::Kept,
        dy: FloatTensor<B>,
        wanted: [bool; N],
    ) -> [Option<FloatTensor<B>>; N];

    /// The result of `forward`, recorded as what this operation made of `inputs`, if one of them
    /// needs a gradient.
    ///
    /// `forward` is told whether it is recorded, and gives what backward keeps then.
    fn record<C: CheckpointStrategy>(
        self,
        inputs: [NodeGuard; N],
        forward: impl FnOnce(bool) -> (FloatTensor<B>, Option<Self::Kept>),
    ) -> FloatTensor<Autodiff<B, C>> {
        match Registered(self)
            .prepare::<C>(inputs)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => {
                let (y, kept) = forward(true);
                prepared.finish(kept.expect("a recorded operation keeps its state"), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(forward(false).0),
        }
    }
}

/// A [`Differentiable`] operation as Burn's autodiff sees it.
#[derive(Debug)]
struct Registered<O>(O);

impl<B: Backend, O: Differentiable<B, N>, const N: usize> Backward<B, N> for Registered<O> {
    type State = O::Kept;

    fn backward(self, ops: Ops<O::Kept, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        let found = self.0.gradients(ops.state, dy, wanted);
        for (node, gradient) in ops.parents.into_iter().zip(found) {
            if let Some((node, gradient)) = node.zip(gradient) {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

/// Tensors without autodiff, and their places in the graph.
pub(super) fn parts<B: Backend, const N: usize>(
    inputs: [FloatTensor<Autodiff<B>>; N],
) -> ([FloatTensor<B>; N], [NodeGuard; N]) {
    let mut nodes = [const { None }; N];
    let mut places = nodes.iter_mut();
    let tensors = inputs.map(|input| {
        let (tensor, node) = input.into_parts();
        *places.next().expect("as many places as inputs") = Some(node);
        tensor
    });
    (
        tensors,
        nodes.map(|node| node.expect("a node for each input")),
    )
}

pub(super) fn with_autodiff<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.device().gradient_checkpointing_strategy().is_some()
}
