use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{SasAttentionGradients, SasAttentionOps, SasState};
use crate::call::SasCall;
use crate::cube::sas_attention;

type Float = FloatTensor<CubeBackend>;

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
