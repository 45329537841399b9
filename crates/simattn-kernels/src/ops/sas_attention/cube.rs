use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::{SasAttentionGradients, SasAttentionOps};
use crate::call::SasCall;
use crate::cube::sas_attention::{self, SasKept};

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
        Self::simulated_attention_kept([q, k, v, weights, table], call).0
    }
}

impl SasAttentionGradients for CubeBackend {
    type Kept = SasKept;

    fn simulated_attention_kept(inputs: [Float; 5], call: SasCall) -> (Float, SasKept) {
        sas_attention::sas_attention_kept(inputs, &call)
    }

    fn simulated_attention_gradients(kept: SasKept, dy: Float, call: SasCall) -> [Float; 4] {
        sas_attention::sas_attention_gradients(kept, dy, &call)
    }
}
