use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{AttentionGradients, AttentionOps, AttentionState};
use crate::call::AttentionOptions;
use crate::cube::attention;

type Float = FloatTensor<CubeBackend>;

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
