//! A pass that continues texts, with what layers keep of them.

use burn::tensor::{DType, Int, Tensor, TensorData};
use simattn_kernels::{Kernels, reference::RopeTable};

use super::Decoder;
use crate::{
    attention::{
        Pass,
        continued::{Continued, Kept, ROWS},
    },
    precision::Precision,
};

impl Decoder {
    /// The implementation of its operations.
    pub(crate) fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// The float type between norms and residual stream.
    pub(crate) fn activations(&self) -> DType {
        match self.precision {
            Precision::Float32 => self.embedding.val().dtype(),
            Precision::Bfloat16 => DType::BF16,
        }
    }

    /// The normalised states before the head [ROWS, C] of tokens that follow on texts: `ids` of the
    /// runs of `continued`, one behind the other. `kept` holds, layer by layer, what is kept of each
    /// text, and has these tokens too then. Rows of no token mean nothing.
    ///
    /// # Panics
    /// If there are more tokens than rows, or a place is beyond the context.
    pub(crate) fn hidden_continued(
        &self,
        ids: &[u32],
        continued: &Continued,
        kept: &mut [Vec<Kept>],
    ) -> Tensor<2> {
        let runs = continued.runs.iter();
        let mut places: Vec<i32> = runs
            .flat_map(|run| run.position..run.position + run.tokens)
            .map(|place| place as i32)
            .collect();
        assert_eq!(places.len(), ids.len(), "a place for each token");
        assert!(ids.len() <= ROWS, "{} tokens in a pass", ids.len());
        let mut ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        places.resize(ROWS, 0);
        ids.resize(ROWS, 0);
        let weight = self.embedding.val();
        let device = weight.device();
        let ids = Tensor::<2, Int>::from_data(TensorData::new(ids, [1, ROWS]), &device);
        let places = Tensor::<1, Int>::from_data(TensorData::new(places, [ROWS]), &device);
        let rope = continued.places.as_ref().map(|table| RopeTable {
            cos: table.cos.clone().select(0, places.clone()),
            sin: table.sin.clone().select(0, places.clone()),
        });
        let pass = Pass {
            continued: Some(continued),
            ..Pass::new(rope.as_ref(), self.kernels).with_precision(self.precision)
        };
        let mut x = self.kernels.embedding(weight, ids);
        if let Some(table) = &self.positions {
            x = x + table.val().select(0, places).unsqueeze::<3>();
        }
        for (block, kept) in self.layers.iter().zip(kept) {
            continued.lend(std::mem::take(kept));
            x = block.forward(x, &pass);
            *kept = continued.take_back();
        }
        let out = self.norm.forward(x, self.kernels);
        out.reshape([ROWS, self.config.width])
    }
}
