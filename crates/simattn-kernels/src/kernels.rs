use burn::tensor::{DType, Int, Tensor, activation};

use crate::call::{Aggregation, AttentionOptions, GeluForm, SasKeep, SasOptions};
use crate::ops;
use crate::reference::{self, Expansion, RopeTable, SasWeights};

/// Which implementation a model's operations run through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernels {
    /// The fastest correct one that this device and float type have.
    #[default]
    Fast,
    /// The definitions in [`reference`](mod@crate::reference), to compare with.
    Reference,
}

/// The float types of one operation whose weights may have another one than what it is applied to.
///
/// Weights are rounded to the type of the activations, and gradients reach them in their own. On
/// the CPU, which has no arithmetic for types of 16 bits, such operations compute with the same
/// values in float32 and round what comes out, once: what GPU kernels do, whose sums are float32.
#[derive(Clone, Copy, Debug)]
struct Types {
    outside: DType,
    inside: DType,
}

impl Types {
    fn of<const R: usize>(x: &Tensor<R>) -> Self {
        let outside = x.dtype();
        let widened = matches!(outside, DType::BF16 | DType::F16) && ops::on_cpu(x);
        let inside = if widened { DType::F32 } else { outside };
        Self { outside, inside }
    }

    fn enter<const R: usize>(self, x: Tensor<R>) -> Tensor<R> {
        cast(cast(x, self.outside), self.inside)
    }

    fn leave<const R: usize>(self, y: Tensor<R>) -> Tensor<R> {
        cast(y, self.outside)
    }

    fn enter_expansion(self, expansion: &Expansion) -> Expansion {
        expansion.clone().map(
            |stage| stage.map(|x| self.enter(x), |x| self.enter(x)),
            |stage| stage.map(|x| self.enter(x), |x| self.enter(x)),
        )
    }

    fn enter_weights(self, weights: &SasWeights) -> SasWeights {
        weights
            .clone()
            .map(|expansion| self.enter_expansion(&expansion))
    }
}

/// `x` in another float type; itself in its own.
fn cast<const R: usize>(x: Tensor<R>, dtype: DType) -> Tensor<R> {
    if x.dtype() == dtype { x } else { x.cast(dtype) }
}

/// Applies `norm` in the type of its weight, and gives the result the type of `x`.
fn in_type_of<const R: usize>(
    weight: &Tensor<1>,
    x: Tensor<R>,
    norm: impl FnOnce(Tensor<R>) -> Tensor<R>,
) -> Tensor<R> {
    let dtype = x.dtype();
    cast(norm(cast(x, weight.dtype())), dtype)
}

/// One operation each; shapes, units and sources as in [`reference`](mod@crate::reference).
///
/// Activations may be bfloat16 or float16 with float32 weights: maps and attention then round the
/// weights to the type of the activations and give results in it, norms compute in float32 and
/// round their result, the loss is float32.
impl Kernels {
    /// See [`reference::attention`].
    pub fn attention(
        self,
        q: Tensor<4>,
        k: Tensor<4>,
        v: Tensor<4>,
        options: &AttentionOptions,
    ) -> Tensor<4> {
        let types = Types::of(&q);
        let [q, k, v] = [q, k, v].map(|x| types.enter(x));
        types.leave(match self {
            Self::Fast => ops::attention(q, k, v, options),
            Self::Reference => reference::attention(q, k, v, options),
        })
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
        self.sas_attention_keeping([q, k, v], weights, tables, options, SasKeep::Inputs)
    }

    /// The same of q, k and v, and what is kept for backward; see [`ops::sas_attention_keeping`].
    pub fn sas_attention_keeping(
        self,
        [q, k, v]: [Tensor<4>; 3],
        weights: &SasWeights,
        tables: Option<(&RopeTable, &RopeTable)>,
        options: &SasOptions,
        keep: SasKeep,
    ) -> Tensor<3> {
        let types = Types::of(&q);
        let [q, k, v] = [q, k, v].map(|x| types.enter(x));
        let weights = &types.enter_weights(weights);
        types.leave(match self {
            Self::Fast => ops::sas_attention_keeping(q, k, v, weights, tables, options, keep),
            Self::Reference => reference::sas_attention(q, k, v, weights, tables, options),
        })
    }

    /// See [`reference::sas_expand`].
    pub fn sas_expand(
        self,
        x: Tensor<4>,
        expansion: &Expansion,
        table: Option<&RopeTable>,
        options: &SasOptions,
    ) -> Tensor<4> {
        let types = Types::of(&x);
        let x = types.enter(x);
        let expansion = &types.enter_expansion(expansion);
        types.leave(match self {
            Self::Fast => ops::sas_expand(x, expansion, table, options),
            Self::Reference => reference::sas_expand(x, expansion, table, options),
        })
    }

    /// See [`reference::sas_aggregate`].
    pub fn sas_aggregate(
        self,
        out: Tensor<4>,
        heads: usize,
        aggregation: Aggregation,
    ) -> Tensor<3> {
        reference::sas_aggregate(out, heads, aggregation)
    }

    /// `left` [A, B, M, K] · `right` [A, B, K, N] → [A, B, M, N], both of one float type; see
    /// [`ops::product`].
    pub fn product(self, left: Tensor<4>, right: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Fast => ops::product(left, right),
            Self::Reference => left.matmul(right),
        }
    }

    /// See [`reference::rotate`]; angles are never rounded to a narrower type of `x`.
    pub fn rotate(self, x: Tensor<4>, table: &RopeTable) -> Tensor<4> {
        if self == Self::Fast && ops::has_rotary_kernels(&x, table) {
            return ops::rotate(x, table);
        }
        let dtype = x.dtype();
        let x = cast(x, table.cos.dtype());
        let y = match self {
            Self::Fast => ops::rotate(x, table),
            Self::Reference => reference::rotate(x, table),
        };
        cast(y, dtype)
    }

    /// See [`reference::linear`].
    pub fn linear<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<R> {
        let types = Types::of(&x);
        let (x, weight) = (types.enter(x), types.enter(weight));
        let bias = bias.map(|bias| types.enter(bias));
        types.leave(match self {
            Self::Fast => ops::linear(x, weight, bias),
            Self::Reference => reference::linear(x, weight, bias),
        })
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
        in_type_of(&weight.clone(), x, |x| match self {
            Self::Fast => ops::layer_norm(x, weight, bias, epsilon),
            Self::Reference => reference::layer_norm(x, weight, bias, epsilon),
        })
    }

    /// See [`reference::rms_norm`].
    pub fn rms_norm<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<1>,
        epsilon: f64,
    ) -> Tensor<R> {
        in_type_of(&weight.clone(), x, |x| match self {
            Self::Fast => ops::rms_norm(x, weight, epsilon),
            Self::Reference => reference::rms_norm(x, weight, epsilon),
        })
    }

    /// LayerNorm with a bias, RMSNorm without, for maps that do not keep its result; see
    /// [`ops::Normed`]. `x` has the weight's type.
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
            Self::Fast if x.value().dtype() == weight.dtype() => {
                ops::normed_linear(x, weight, bias)
            }
            _ => self.linear(x.value().clone(), weight, bias),
        }
    }

    /// GELU in `form`, then [`Self::linear`]; backward keeps only `x` [.., F] of the two wide
    /// tensors.
    pub fn gelu_linear<const R: usize>(
        self,
        x: Tensor<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
        form: GeluForm,
    ) -> Tensor<R> {
        let types = Types::of(&x);
        let (x, weight) = (types.enter(x), types.enter(weight));
        let bias = bias.map(|bias| types.enter(bias));
        types.leave(match (self, form) {
            (Self::Fast, _) => ops::gelu_linear(x, weight, bias, form),
            (Self::Reference, GeluForm::Exact) => {
                reference::linear(reference::gelu(x), weight, bias)
            }
            (Self::Reference, GeluForm::Tanh) => {
                reference::linear(activation::gelu_approximate(x), weight, bias)
            }
        })
    }

    /// SwiGLU, then [`Self::linear`]; backward keeps only `gate` and `up` [.., F].
    pub fn swiglu_linear<const R: usize>(
        self,
        gate: Tensor<R>,
        up: Tensor<R>,
        weight: Tensor<2>,
        bias: Option<Tensor<1>>,
    ) -> Tensor<R> {
        let types = Types::of(&gate);
        let [gate, up] = [gate, up].map(|x| types.enter(x));
        let weight = types.enter(weight);
        let bias = bias.map(|bias| types.enter(bias));
        types.leave(match self {
            Self::Fast => ops::swiglu_linear(gate, up, weight, bias),
            Self::Reference => reference::linear(reference::swiglu(gate, up), weight, bias),
        })
    }

    /// See [`reference::head_cross_entropy`].
    pub fn head_cross_entropy(
        self,
        hidden: Tensor<2>,
        weight: Tensor<2>,
        targets: Tensor<1, Int>,
    ) -> Tensor<1> {
        let types = Types::of(&hidden);
        let (hidden, weight) = (types.enter(hidden), types.enter(weight));
        match self {
            Self::Fast => ops::head_cross_entropy(hidden, weight, targets),
            Self::Reference => reference::head_cross_entropy(hidden, weight, targets),
        }
    }
}
