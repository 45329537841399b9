use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;

use super::activation::{ActivationGradients, ActivationOps, gelu, swiglu};
use super::linear::{LinearGradients, LinearOps, has_linear_kernels, linear};
use crate::call::GeluForm;

/// `gelu(x) · weightᵀ + bias`: `x` [.., F], `weight` [O, F], `bias` `[O]` → [.., O].
///
/// Backward keeps `x` and works its GELU out once more, so that only one of the two wide tensors of a feed-forward
/// network outlives the forward pass.
pub fn gelu_linear<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
    form: GeluForm,
) -> Tensor<R> {
    if !has_linear_kernels(&x, &weight, bias.as_ref()) {
        return linear(gelu(x, form), weight, bias);
    }
    let (x, weight) = (x.into_dispatch(), weight.into_dispatch());
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::linear_of_gelu_with_bias(x, weight, bias.into_dispatch(), form),
        None => Dispatch::linear_of_gelu(x, weight, form),
    })
}

/// `(silu(gate) · up) · weightᵀ + bias`: `gate` and `up` [.., F], `weight` [O, F], `bias` `[O]` → [.., O].
///
/// As with [`gelu_linear`], the product of gate and up does not outlive the forward pass.
pub fn swiglu_linear<const R: usize>(
    gate: Tensor<R>,
    up: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<R> {
    if ![&gate, &up]
        .into_iter()
        .all(|x| has_linear_kernels(x, &weight, bias.as_ref()))
    {
        return linear(swiglu(gate, up), weight, bias);
    }
    let [gate, up] = [gate, up].map(Tensor::into_dispatch);
    let weight = weight.into_dispatch();
    Tensor::from_dispatch(match bias {
        Some(bias) => Dispatch::linear_of_swiglu_with_bias(gate, up, weight, bias.into_dispatch()),
        None => Dispatch::linear_of_swiglu(gate, up, weight),
    })
}

/// Linear maps of an activation as operations of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait ActivatedLinearOps: Backend {
    /// gelu(x) · weightᵀ
    fn linear_of_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self>;
    /// gelu(x) · weightᵀ + bias
    fn linear_of_gelu_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self>;
    /// (silu(a) · b) · weightᵀ
    fn linear_of_swiglu(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
    /// (silu(a) · b) · weightᵀ + bias
    fn linear_of_swiglu_with_bias(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self>;
}

impl ActivatedLinearOps for Flex {
    fn linear_of_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        Self::linear_map(Self::gelu_of(x, form), weight)
    }

    fn linear_of_gelu_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        Self::linear_map_with_bias(Self::gelu_of(x, form), weight, bias)
    }

    fn linear_of_swiglu(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::linear_map(Self::swiglu_of(a, b), weight)
    }

    fn linear_of_swiglu_with_bias(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        Self::linear_map_with_bias(Self::swiglu_of(a, b), weight, bias)
    }
}

/// [`ActivatedLinearOps`] with the gradients of its parts.
pub trait ActivatedLinearGradients:
    ActivatedLinearOps + ActivationGradients + LinearGradients
{
}

impl<B: ActivatedLinearOps + ActivationGradients + LinearGradients> ActivatedLinearGradients for B {}

/// The gradients of weight, bias and activation of a linear map, as far as somebody asks for them.
fn linear_gradients<B: ActivatedLinearGradients>(
    dy: FloatTensor<B>,
    activation: impl FnOnce() -> FloatTensor<B>,
    weight: FloatTensor<B>,
    wanted: Wanted,
) -> LinearGradientsOf<B> {
    let bias = wanted.bias.then(|| B::linear_db(dy.clone()));
    // The activation lives for this one product.
    let of_weight = wanted
        .weight
        .then(|| B::linear_dw(dy.clone(), activation()));
    let of_activation = wanted.activation.then(|| B::linear_dx(dy, weight));
    LinearGradientsOf {
        bias,
        weight: of_weight,
        activation: of_activation,
    }
}

struct Wanted {
    activation: bool,
    weight: bool,
    bias: bool,
}

struct LinearGradientsOf<B: Backend> {
    activation: Option<FloatTensor<B>>,
    weight: Option<FloatTensor<B>>,
    bias: Option<FloatTensor<B>>,
}

/// x (0), weight (1) and, with N = 3, bias (2).
#[derive(Debug)]
struct LinearOfGelu(GeluForm);

impl<B: ActivatedLinearGradients, const N: usize> Backward<B, N> for LinearOfGelu {
    /// x and weight.
    type State = [FloatTensor<B>; 2];

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let [x, weight] = ops.state;
        let wanted = Wanted {
            activation: ops.parents[0].is_some(),
            weight: ops.parents[1].is_some(),
            bias: ops.parents.get(2).is_some_and(Option::is_some),
        };
        let again = || B::gelu_of(x.clone(), self.0);
        let found = linear_gradients::<B>(dy, again, weight, wanted);
        let of_x = found.activation.map(|dy| B::gelu_dx(x, None, dy, self.0));
        for (node, gradient) in ops
            .parents
            .into_iter()
            .zip([of_x, found.weight, found.bias])
        {
            if let Some((node, gradient)) = node.zip(gradient) {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

/// a (0), b (1), weight (2) and, with N = 4, bias (3).
#[derive(Debug)]
struct LinearOfSwiGlu;

impl<B: ActivatedLinearGradients, const N: usize> Backward<B, N> for LinearOfSwiGlu {
    /// a, b and weight.
    type State = [FloatTensor<B>; 3];

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let [a, b, weight] = ops.state;
        let wanted = Wanted {
            activation: ops.parents[0].is_some() || ops.parents[1].is_some(),
            weight: ops.parents[2].is_some(),
            bias: ops.parents.get(3).is_some_and(Option::is_some),
        };
        let again = || B::swiglu_of(a.clone(), b.clone());
        let found = linear_gradients::<B>(dy, again, weight, wanted);
        let (of_a, of_b) = found
            .activation
            .map(|dy| B::swiglu_gradients(a, b, dy))
            .unzip();
        let all = [of_a, of_b, found.weight, found.bias];
        for (node, gradient) in ops.parents.into_iter().zip(all) {
            if let Some((node, gradient)) = node.zip(gradient) {
                gradients.register::<B>(node.id, gradient);
            }
        }
    }
}

impl<B: ActivatedLinearGradients, C: CheckpointStrategy> ActivatedLinearOps for Autodiff<B, C> {
    fn linear_of_gelu(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node)) = (x.into_parts(), weight.into_parts());
        match Backward::<B, 2>::prepare::<C>(LinearOfGelu(form), [x_node, weight_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(
                [x.clone(), weight.clone()],
                B::linear_of_gelu(x, weight, form),
            ),
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_of_gelu(x, weight, form)),
        }
    }

    fn linear_of_gelu_with_bias(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        form: GeluForm,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node), (bias, bias_node)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let nodes = [x_node, weight_node, bias_node];
        match Backward::<B, 3>::prepare::<C>(LinearOfGelu(form), nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(
                [x.clone(), weight.clone()],
                B::linear_of_gelu_with_bias(x, weight, bias, form),
            ),
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::linear_of_gelu_with_bias(x, weight, bias, form))
            }
        }
    }

    fn linear_of_swiglu(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ((a, a_node), (b, b_node), (weight, weight_node)) =
            (a.into_parts(), b.into_parts(), weight.into_parts());
        let nodes = [a_node, b_node, weight_node];
        match Backward::<B, 3>::prepare::<C>(LinearOfSwiGlu, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(
                [a.clone(), b.clone(), weight.clone()],
                B::linear_of_swiglu(a, b, weight),
            ),
            OpsKind::UnTracked(prepared) => prepared.finish(B::linear_of_swiglu(a, b, weight)),
        }
    }

    fn linear_of_swiglu_with_bias(
        a: FloatTensor<Self>,
        b: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
    ) -> FloatTensor<Self> {
        let ((a, a_node), (b, b_node)) = (a.into_parts(), b.into_parts());
        let ((weight, weight_node), (bias, bias_node)) = (weight.into_parts(), bias.into_parts());
        let nodes = [a_node, b_node, weight_node, bias_node];
        match Backward::<B, 4>::prepare::<C>(LinearOfSwiGlu, nodes)
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(
                [a.clone(), b.clone(), weight.clone()],
                B::linear_of_swiglu_with_bias(a, b, weight, bias),
            ),
            OpsKind::UnTracked(prepared) => {
                prepared.finish(B::linear_of_swiglu_with_bias(a, b, weight, bias))
            }
        }
    }
}
