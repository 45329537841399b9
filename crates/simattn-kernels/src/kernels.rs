use burn::tensor::{Int, Tensor, activation};

use crate::ops;
use crate::reference::{self, AttentionOptions, RopeTable, SasOptions, SasWeights};

/// Which implementation a model's operations run through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The fastest correct one that this device and float type have.
    #[default]
    Fast,
    /// The definitions in [`reference`](mod@crate::reference), to compare with.
    Reference,
}

/// One operation each; shapes, units and sources as in [`reference`](mod@crate::reference).
impl Kernels {
    /// See [`reference::attention`].
    pub fn attention(
        self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        options: &AttentionOptions,
    ) -> Tensor<4> {
        match self {
            Self::Fast => ops::attention(q, k, v, options),
            Self::Reference => reference::attention(q, k, v, options),
        }
    }

    /// See [`reference::sas_attention`].
    pub fn sas_attention(
        self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        weights: &SasWeights,
        tables: Option<(&RopeTable, &RopeTable)>,
        options: &SasOptions,
    ) -> Tensor<3> {
        match self {
            Self::Fast => ops::sas_attention(q, k, v, weights, tables, options),
            Self::Reference => reference::sas_attention(q, k, v, weights, tables, options),
        }
    }

    /// See [`reference::linear`].
    pub fn linear<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<R> {
        match self {
            Self::Fast => ops::linear(x, weight, bias),
            Self::Reference => reference::linear(x, weight, bias),
        }
    }

    /// See [`reference::embedding`].
    pub fn embedding(self, weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
        match self {
            Self::Fast => ops::embedding(weight, ids),
            Self::Reference => reference::embedding(weight, ids),
        }
    }

    /// See [`reference::layer_norm`].
    pub fn layer_norm<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<1>,
        bias: Tensor<1>,
        epsilon: f64,
    ) -> Tensor<R> {
        match self {
            Self::Fast => ops::layer_norm(x, weight, bias, epsilon),
            Self::Reference => reference::layer_norm(x, weight, bias, epsilon),
        }
    }

    /// See [`reference::rms_norm`].
    pub fn rms_norm<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<1>,
        epsilon: f64,
    ) -> Tensor<R> {
        match self {
            Self::Fast => ops::rms_norm(x, weight, epsilon),
            Self::Reference => reference::rms_norm(x, weight, epsilon),
        }
    }

    /// LayerNorm with a bias, RMSNorm without, for maps that do not keep its result; see [`ops::Normed`].
    pub fn normed<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<1>,
        bias: Option<Tensor<1>>,
        epsilon: f64,
    ) -> ops::Normed<R> {
        match (self, bias) {
            (Self::Fast, bias) => ops::Normed::new(x, weight, bias, epsilon),
            (Self::Reference, Some(bias)) => reference::layer_norm(x, weight, bias, epsilon).into(),
            (Self::Reference, None) => reference::rms_norm(x, weight, epsilon).into(),
        }
    }

    /// [`Self::linear`] of what [`Self::normed`] gave.
    pub fn normed_linear<const R: usize>(
        self,
        x: &ops::Normed<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<R> {
        match self {
            Self::Fast => ops::normed_linear(x, weight, bias),
            Self::Reference => reference::linear(x.value().clone(), weight, bias),
        }
    }

    /// GELU in `form`, then [`Self::linear`]; backward keeps only `x` [.., F] of the two wide tensors.
    pub fn gelu_linear<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
        form: ops::GeluForm,
    ) -> Tensor<R> {
        match (self, form) {
            (Self::Fast, _) => ops::gelu_linear(x, weight, bias, form),
            (Self::Reference, ops::GeluForm::Exact) => {
                reference::linear(reference::gelu(x), weight, bias)
            }
            (Self::Reference, ops::GeluForm::Tanh) => {
                reference::linear(activation::gelu_approximate(x), weight, bias)
            }
        }
    }

    /// SwiGLU, then [`Self::linear`]; backward keeps only `gate` and `up` [.., F].
    pub fn swiglu_linear<const R: usize>(
        self,
        gate: Tensor<R>,
        up: Tensor<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<R> {
        match self {
            Self::Fast => ops::swiglu_linear(gate, up, weight, bias),
            Self::Reference => reference::linear(reference::swiglu(gate, up), weight, bias),
        }
    }

    /// See [`reference::head_cross_entropy`].
    pub fn head_cross_entropy(
        self,
        hidden: Tensor<2>,
        weight: Tensor<2>,
        targets: Tensor<1, Int>,
    ) -> Tensor<1> {
        match self {
            Self::Fast => ops::head_cross_entropy(hidden, weight, targets),
            Self::Reference => reference::head_cross_entropy(hidden, weight, targets),
        }
    }
}
