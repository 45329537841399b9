//! One of q, k, v expanded alone, as decoding needs it: keys and values are expanded once and kept.

use burn::tensor::Tensor;

use crate::call::{RopePlacement, SasOptions};
use crate::reference::{self, Expansion, RopeTable};

/// See [`reference::sas_expand`]: [B, T, G, D] → [B, H', T, D'].
///
/// On CubeCL devices the result is that of the kernels of
/// [`sas_attention`](crate::ops::sas_attention), as long as nothing is differentiated; elsewhere
/// and with autodiff, that of the definition.
pub fn sas_expand(
    x: Tensor<4>,
    expansion: &Expansion,
    table: Option<&RopeTable>,
    options: &SasOptions,
) -> Tensor<4> {
    let table = table.filter(|_| options.rope != RopePlacement::None);
    #[cfg(feature = "cube")]
    if cube::takes(&x, expansion, table) {
        return cube::expand(x, expansion, table, options);
    }
    reference::sas_expand(x, expansion, table, options)
}

#[cfg(feature = "cube")]
mod cube {
    use burn::tensor::Tensor;
    use burn_cubecl::CubeBackend;
    use burn_cubecl::tensor::CubeTensor;

    use crate::call::{SasOptions, Stage};
    use crate::cube::sas_attention::{ExpandCall, expanded};
    use crate::ops::autodiff::with_autodiff;
    use crate::ops::gpu::has_gpu_kernels;
    use crate::reference::{Expansion, RopeTable};

    /// Whether the kernels can take these tensors.
    pub(super) fn takes(x: &Tensor<4>, expansion: &Expansion, table: Option<&RopeTable>) -> bool {
        let plain = has_gpu_kernels(x) && !with_autodiff(x);
        let alike = |stage: Option<&Tensor<1>>| {
            stage.is_none_or(|bias| {
                has_gpu_kernels(bias) && bias.dtype() == x.dtype() && !with_autodiff(bias)
            })
        };
        let heads = expansion.heads.as_ref().map(|stage| &stage.first_bias);
        let features = expansion.features.as_ref().map(|stage| &stage.first_bias);
        plain
            && alike(heads)
            && alike(features)
            && table.is_none_or(|table| has_gpu_kernels(&table.cos))
    }

    fn primitive<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
        tensor
            .try_into_primitive::<CubeBackend>()
            .expect("a tensor of a CubeCL device")
    }

    pub(super) fn expand(
        x: Tensor<4>,
        expansion: &Expansion,
        table: Option<&RopeTable>,
        options: &SasOptions,
    ) -> Tensor<4> {
        let mut packed = Vec::new();
        let mut len = 0;
        let mut pack = |weight: Tensor<1>| {
            let place = len;
            len += weight.dims()[0];
            packed.push(weight);
            place
        };
        let heads = expansion.heads.clone().map(|stage| {
            let [outputs, inputs, taps] = stage.first_weight.dims();
            let places = Stage {
                first_weight: pack(stage.first_weight.flatten(0, 2)),
                first_bias: pack(stage.first_bias),
                second_weight: pack(stage.second_weight.flatten(0, 2)),
                second_bias: pack(stage.second_bias),
            };
            (places, [inputs, outputs, taps])
        });
        let features = expansion.features.clone().map(|stage| {
            let [outputs, inputs] = stage.first_weight.dims();
            let places = Stage {
                first_weight: pack(stage.first_weight.flatten(0, 1)),
                first_bias: pack(stage.first_bias),
                second_weight: pack(stage.second_weight.flatten(0, 1)),
                second_bias: pack(stage.second_bias),
            };
            (places, [inputs, outputs])
        });
        let weights = if packed.is_empty() {
            // Not read.
            Tensor::zeros([1], (&x.device(), x.dtype()))
        } else {
            Tensor::cat(packed, 0)
        };
        let turn = table.map(|table| {
            let half = table.cos.dims()[1];
            let parts = [&table.cos, &table.sin].map(|part| part.clone().flatten::<1>(0, 1));
            (primitive(Tensor::cat(parts.to_vec(), 0)), half)
        });
        let call = ExpandCall {
            weights: primitive(weights),
            heads,
            features,
            turn,
            options: *options,
        };
        Tensor::from_primitive::<CubeBackend>(expanded(primitive(x), call))
    }
}
