//! The operations that have kernels for CubeCL devices.

/// Whether the GPU kernels can take this tensor.
#[cfg(not(feature = "cube"))]
pub(super) fn has_gpu_kernels<const D: usize>(_: &burn::tensor::Tensor<D>) -> bool {
    false
}

/// Whether the GPU kernels can take both tensors, which are of one float type.
pub(super) fn has_gpu_kernels_for<const D: usize, const E: usize>(
    one: &burn::tensor::Tensor<D>,
    other: &burn::tensor::Tensor<E>,
) -> bool {
    has_gpu_kernels(one) && has_gpu_kernels(other) && one.dtype() == other.dtype()
}

#[cfg(feature = "cube")]
pub(super) use on_devices::has_gpu_kernels;

#[cfg(feature = "cube")]
mod activation;
#[cfg(feature = "cube")]
mod embedding;
#[cfg(feature = "cube")]
mod linear;
#[cfg(feature = "cube")]
pub(crate) mod loss;
#[cfg(feature = "cube")]
mod norm;
#[cfg(feature = "cube")]
pub(super) mod optimizer;

#[cfg(feature = "cube")]
mod rotary;

#[cfg(feature = "cube")]
mod on_devices {
    use burn::backend::DispatchDevice;
    use burn::backend::tensor::FloatTensor;
    use burn::tensor::{DType, Tensor};
    use burn_cubecl::CubeBackend;

    use crate::call::{AttentionOptions, SasCall};
    use crate::cube::{attention, sas_attention};
    use crate::ops::attention::{AttentionGradients, AttentionOps, AttentionState};
    use crate::ops::sas_attention::{SasAttentionGradients, SasAttentionOps, SasState};

    type Float = FloatTensor<CubeBackend>;

    /// Whether the GPU kernels can take this tensor.
    pub(in crate::ops) fn has_gpu_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
        let device = tensor.device().inner();
        matches!(device.as_dispatch(), DispatchDevice::Cube(_))
            && matches!(tensor.dtype(), DType::F32 | DType::BF16 | DType::F16)
    }

    impl AttentionOps for CubeBackend {
        fn softmax_attention(q: Float, k: Float, v: Float, options: AttentionOptions) -> Float {
            Self::attention_with_sums(q, k, v, options).0
        }
    }

    impl AttentionGradients for CubeBackend {
        fn attention_with_sums(
            q: Float,
            k: Float,
            v: Float,
            options: AttentionOptions,
        ) -> (Float, Float) {
            attention::attention_with_sums(q, k, v, &options)
        }

        fn attention_gradients(
            state: AttentionState<Self>,
            dy: Float,
            options: AttentionOptions,
        ) -> [Float; 3] {
            attention::attention_gradients(state, dy, &options)
        }
    }

    impl SasAttentionOps for CubeBackend {
        fn simulated_attention(
            q: Float,
            k: Float,
            v: Float,
            weights: Float,
            table: Float,
            call: SasCall,
        ) -> Float {
            Self::simulated_attention_with_sums([q, k, v, weights, table], call).0
        }
    }

    impl SasAttentionGradients for CubeBackend {
        fn simulated_attention_with_sums(inputs: [Float; 5], call: SasCall) -> (Float, Float) {
            sas_attention::sas_attention_with_sums(inputs, &call)
        }

        fn simulated_attention_gradients(
            state: SasState<Self>,
            dy: Float,
            call: SasCall,
        ) -> [Float; 4] {
            sas_attention::sas_attention_gradients(state, dy, &call)
        }
    }
}
