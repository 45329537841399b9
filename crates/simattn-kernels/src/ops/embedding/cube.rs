use burn::backend::tensor::{FloatTensor, IntTensor};
use burn_cubecl::CubeBackend;

use super::{EmbeddingGradient, EmbeddingOps};
use crate::cube::embedding as kernel;

type Float = FloatTensor<CubeBackend>;
type Int = IntTensor<CubeBackend>;

impl EmbeddingOps for CubeBackend {
    fn embedding_rows(weight: Float, ids: Int) -> Float {
        kernel::embedding_rows(weight, ids)
    }
}

impl EmbeddingGradient for CubeBackend {
    fn embedding_table_gradient(rows: usize, ids: Int, dy: Float) -> Float {
        kernel::table_gradient(rows, ids, dy)
    }
}
