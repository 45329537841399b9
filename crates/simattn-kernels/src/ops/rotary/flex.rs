use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};

use super::{RotaryGradient, RotaryOps};
use crate::cpu::rotary::{RotaryShape, rotate as kernel};
use crate::ops::flex::{filled_tensor, values};

fn turned(x: FlexTensor, angles: FlexTensor, half: usize, sign: f32) -> FlexTensor {
    let (x, angles) = (x.to_contiguous(), angles.to_contiguous());
    let [_, tokens, heads, width] = x.shape().dims();
    let shape = RotaryShape {
        tokens,
        heads,
        width,
        half,
    };
    let (cos, sin) = values(&angles).split_at(tokens * half);
    // SAFETY: the kernel writes all of y.
    unsafe { filled_tensor(x.shape(), |y| kernel(shape, sign, cos, sin, values(&x), y)) }
}

impl RotaryOps for Flex {
    fn rotate_pairs(x: FlexTensor, angles: FlexTensor, half: usize) -> FlexTensor {
        turned(x, angles, half, 1.0)
    }
}

impl RotaryGradient for Flex {
    fn rotate_pairs_back(dy: FlexTensor, angles: FlexTensor, half: usize) -> FlexTensor {
        turned(dy, angles, half, -1.0)
    }
}
