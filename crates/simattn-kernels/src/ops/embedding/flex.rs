use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::{EmbeddingGradient, EmbeddingOps};
use crate::cpu::embedding as kernel;
use crate::ops::flex::{filled_tensor, ids, values, width};

fn rows_of(tensor: &FlexTensor) -> Vec<u32> {
    ids(tensor)
        .into_iter()
        .map(|id| id.expect("ids of an embedding are not negative"))
        .collect()
}

impl EmbeddingOps for Flex {
    fn embedding_rows(weight: FlexTensor, ids: FlexTensor) -> FlexTensor {
        let weight = weight.to_contiguous();
        let width = weight.shape()[1];
        let rows = rows_of(&ids);
        let shape = ids
            .shape()
            .iter()
            .copied()
            .chain([width])
            .collect::<Shape>();
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(shape, |y| kernel::forward(width, values(&weight), &rows, y)) }
    }
}

impl EmbeddingGradient for Flex {
    fn embedding_table_gradient(rows: usize, ids: FlexTensor, dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let features = width(&dy.shape());
        let ids = rows_of(&ids);
        // SAFETY: the kernel writes all of the gradient.
        unsafe {
            filled_tensor(Shape::new([rows, features]), |d_table| {
                kernel::table_gradient(features, rows, &ids, values(&dy), d_table);
            })
        }
    }
}
