use burn::backend::autodiff::Autodiff;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Dispatch, Flex, backend_extension};
use burn::tensor::{DType, Tensor};

use super::autodiff::{Differentiable, parts};
use super::linear::{LinearGradients, LinearOps, has_linear_kernels, linear};
use super::maybe::{Maybe, dispatched};
use super::norm::{NormOps, has_norm_kernels, layer_norm, rms_norm};

/// A normalised tensor, which knows what it was worked out from.
///
/// The linear maps that read it ([`normed_linear`]) keep the tensor before the norm for backward,
/// which the norm keeps too, and normalise once more: the normalised one does not outlive the
/// forward pass.
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
        if self.value.dtype() == dtype {
            self
        } else {
            self.value.cast(dtype).into()
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
    Tensor::from_dispatch(Dispatch::linear_of_normed(
        value.into_dispatch(),
        weight.into_dispatch(),
        dispatched(bias),
        source.x.clone().into_dispatch(),
        source.weight.clone().into_dispatch(),
        dispatched(source.bias.clone()),
        source.epsilon,
    ))
}

/// Linear maps of a normalised tensor as an operation of a backend.
#[backend_extension(Autodiff, Flex, Cube: cfg(feature = "cube"))]
pub trait NormedLinearOps: LinearOps {
    /// `x · weightᵀ + bias`, where `x` is the norm of `raw` with `scale` and `shift` (LayerNorm,
    /// without it RMSNorm), which are constants here.
    fn linear_of_normed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        #[extension_type] bias: Maybe<Self>,
        _raw: FloatTensor<Self>,
        _scale: FloatTensor<Self>,
        #[extension_type] _shift: Maybe<Self>,
        _epsilon: f64,
    ) -> FloatTensor<Self> {
        Self::linear_map(x, weight, bias)
    }
}

impl NormedLinearOps for Flex {}

#[cfg(feature = "cube")]
impl NormedLinearOps for burn_cubecl::CubeBackend {}

/// Of x, weight and bias.
#[derive(Debug)]
struct LinearOfNormed {
    epsilon: f64,
}

/// What [`LinearOfNormed`] reads in backward.
#[derive(Clone, Debug)]
struct Kept<T, M> {
    /// The tensor before the norm.
    raw: T,
    /// The norm's weight and bias.
    scale: T,
    shift: M,
    /// The map's weight.
    weight: T,
}

impl<B: NormOps + LinearGradients> Differentiable<B, 3> for LinearOfNormed {
    type Kept = Kept<FloatTensor<B>, Maybe<B>>;

    fn gradients(
        self,
        kept: Self::Kept,
        dy: FloatTensor<B>,
        [to_x, to_weight, to_bias]: [bool; 3],
    ) -> [Option<FloatTensor<B>>; 3] {
        let Kept {
            raw,
            scale,
            shift,
            weight,
        } = kept;
        let db = to_bias.then(|| B::linear_db(dy.clone()));
        let dw = to_weight.then(|| {
            let x = B::normalise(raw, scale, shift, self.epsilon);
            B::linear_dw(dy.clone(), x)
        });
        let dx = to_x.then(|| B::linear_dx(dy, weight));
        [dx, dw, db]
    }
}

impl<B, C> NormedLinearOps for Autodiff<B, C>
where
    B: NormOps + LinearGradients,
    C: CheckpointStrategy,
{
    fn linear_of_normed(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: Maybe<Self>,
        raw: FloatTensor<Self>,
        scale: FloatTensor<Self>,
        shift: Maybe<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        let ([x, weight], [x_node, weight_node]) = parts([x, weight]);
        let (bias, bias_node) = bias.into_parts(&weight);
        let nodes = [x_node, weight_node, bias_node];
        (LinearOfNormed { epsilon }).record::<C>(nodes, |recorded| {
            let kept = recorded.then(|| Kept {
                raw: raw.into_primitive(),
                scale: scale.into_primitive(),
                shift: shift.constant(),
                weight: weight.clone(),
            });
            (B::linear_map(x, weight, bias), kept)
        })
    }
}
