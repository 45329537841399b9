use burn::backend::tensor::FloatTensor;
use burn_cubecl::CubeBackend;

use super::ProductOps;
use crate::cube::product::products;

type Float = FloatTensor<CubeBackend>;

impl ProductOps for CubeBackend {
    fn matrix_product(left: Float, right: Float) -> Float {
        products(left, right)
    }
}
