use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;

use super::ProductOps;

impl ProductOps for Flex {
    fn matrix_product(left: FlexTensor, right: FlexTensor) -> FlexTensor {
        Self::float_matmul(left, right)
    }
}
