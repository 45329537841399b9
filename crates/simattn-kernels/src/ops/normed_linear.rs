use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};

use super::linear::{LinearGradients, LinearOps, has_linear_kernels, linear};
use super::norm::{NormOps, has_norm_kernels, layer_norm, rms_norm};

/// A normalised tensor, which knows what it was worked out from.
///
/// The linear maps that read it ([`normed_linear`]) keep the tensor before the norm for backward, which the norm keeps too,
/// and normalise once more: the normalised one does not outlive the forward pass.
#[derive(Clone, Debug)]
pub struct Normed<const R: usize> {
    value: Tensor<R>,
    source: Option<Source<R>>,
}

/// Constants: gradients flow through the normalised tensor.
#[derive(Clone, Debug)]
struct Source<const R: usize> {
    x: Tensor<R>,
    weight: Tensor<1>,
    bias: Option<Tensor<1>>,
    epsilon: f64,
}

impl<const R: usize> Normed<R> {
    /// [`layer_norm`] with a bias, [`rms_norm`] without.
    pub fn new(x: Tensor<R>, weight: Tensor<1>, bias: Option<Tensor<1>>, epsilon: f64) -> Self {
        let fast = has_norm_kernels(&x, &weight, bias.as_ref());
        let source = fast.then(|| Source {
            x: x.clone(),
            weight: weight.clone(),
            bias: bias.clone(),
            epsilon,
        });
        let value = match bias {
            Some(bias) => layer_norm(x, weight, bias, epsilon),
            None => rms_norm(x, weight, epsilon),
        };
        Self { value, source }
    }

    /// The same in another float type; maps then keep it as it is.
    pub fn cast(self, dtype: DType) -> Self {
        match self.value.dtype() == dtype {
            true => self,
            false => self.value.cast(dtype).into(),
        }
    }

    /// The normalised values.
    pub fn value(&self) -> &Tensor<R> {
        &self.value
    }
}

impl<const R: usize> From<Tensor<R>> for Normed<R> {
    /// A tensor that maps keep as it is.
    fn from(value: Tensor<R>) -> Self {
        Self {
            value,
            source: None,
        }
    }
}

/// [`linear`] of a normalised tensor: the same values and gradients, bit for bit.
pub fn normed_linear<const R: usize>(
    x: &Normed<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<R> {
    let value = x.value.clone();
    let on_kernels = has_linear_kernels(&value, &weight, bias.as_ref());
    let Some(source) = x.source.as_ref().filter(|_| on_kernels) else {
        return linear(value, weight, bias);
    };
    let (raw, scale) = (
        source.x.clone().into_dispatch(),
        source.weight.clone().into_dispatch(),
    );
    // Every tensor argument is there always; the form says which of them mean something.
    let form = NormedForm {
        epsilon: source.epsilon,
        shifted: source.bias.is_some(),
        bias: bias.is_some(),
    };
    let shift = source.bias.clone().unwrap_or_else(|| source.weight.clone());
    let bias = bias.unwrap_or_else(|| source.weight.clone().detach());
    Tensor::from_dispatch(Dispatch::linear_of_normed(
        value.into_dispatch(),
        weight.into_dispatch(),
        bias.into_dispatch(),
        raw,
        scale,
        shift.into_dispatch(),
        form,
    ))
}

/// What a call is, beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormedForm {
    /// The norm's ε.
    pub epsilon: f64,
    /// Whether the norm is a LayerNorm, with a shift.
    pub shifted: bool,
    /// Whether the map has a bias.
    pub bias: bool,
}

/// Linear maps of a normalised tensor as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait NormedLinearOps: Backend {
    /// `x · weightᵀ + bias`, where `x` is the norm of `raw` with `scale` and `shift`, which are constants here.
    fn linear_of_normed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        raw: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        form: NormedForm,
    ) -> FloatTensor<Self>;
}

impl NormedLinearOps for Flex {
    fn linear_of_normed(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        _: FlexTensor,
        _: FlexTensor,
        _: FlexTensor,
        form: NormedForm,
    ) -> FlexTensor {
        match form.bias {
            true => Self::linear_map_with_bias(x, weight, bias),
            false => Self::linear_map(x, weight),
        }
    }
}

/// x (0), weight (1) and bias (2).
#[derive(Debug)]
struct LinearOfNormed(NormedForm);

impl<B: NormOps + LinearGradients> Backward<B, 3> for LinearOfNormed {
    /// The tensor before the norm, the norm's scale and shift, and the map's weight.
    type State = [FloatTensor<B>; 4];

    fn backward(self, ops: Ops<Self::State, 3>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let dy = gradients.consume::<B>(&ops.node);
        let ([to_x, to_weight, to_bias], [raw, scale, shift, weight]) = (ops.parents, ops.state);
        let NormedForm {
            epsilon,
            shifted,
            bias,
        } = self.0;
        if let Some(node) = to_bias.filter(|_| bias) {
            gradients.register::<B>(node.id, B::linear_db(dy.clone()));
        }
        if let Some(node) = to_weight {
            let x = match shifted {
                true => B::layer_normalise(raw, scale, shift, epsilon),
                false => B::rms_normalise(raw, scale, epsilon),
            };
            gradients.register::<B>(node.id, B::linear_dw(dy.clone(), x));
        }
        if let Some(node) = to_x {
            gradients.register::<B>(node.id, B::linear_dx(dy, weight));
        }
    }
}

impl<B, C> NormedLinearOps for Autodiff<B, C>
where
    B: NormedLinearOps + NormOps + LinearOps + LinearGradients,
    C: CheckpointStrategy,
{
    fn linear_of_normed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        raw: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: FloatTensor<Self>,
        form: NormedForm,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (weight, weight_node), (bias, bias_node)) =
            (x.into_parts(), weight.into_parts(), bias.into_parts());
        let [raw, scale, shift] = [raw, scale, shift].map(|constant| constant.into_primitive());
        let kept = [raw, scale, shift, weight.clone()];
        let [raw, scale, shift, _] = kept.clone();
        let y = B::linear_of_normed(x, weight, bias, raw, scale, shift, form);
        match LinearOfNormed(form)
            .prepare::<C>([x_node, weight_node, bias_node])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(prepared) => prepared.finish(kept, y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}
