use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::{LinearGradients, LinearOps};
use crate::cpu::linear::{self as kernel, LinearShape};
use crate::ops::flex::{filled_tensor, tensor, values, width};
use crate::ops::maybe::Maybe;

fn sizes(x: &Shape, weight: &Shape) -> LinearShape {
    let [outputs, inputs] = weight.dims();
    assert_eq!(
        width(x),
        inputs,
        "features of x and of the weight of a linear map"
    );
    LinearShape {
        rows: x[..x.rank() - 1].iter().product(),
        inputs,
        outputs,
    }
}

fn with_width(shape: &Shape, width: usize) -> Shape {
    let mut shape = shape.clone();
    let last = shape.rank() - 1;
    shape[last] = width;
    shape
}

impl LinearOps for Flex {
    fn linear_map(x: FlexTensor, weight: FlexTensor, bias: Maybe<Self>) -> FlexTensor {
        let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
        let bias = bias.into_option().map(|bias| bias.to_contiguous());
        let sizes = sizes(&x.shape(), &weight.shape());
        // SAFETY: the kernel writes all of y.
        unsafe {
            filled_tensor(with_width(&x.shape(), sizes.outputs), |y| {
                kernel::forward(
                    sizes,
                    values(&x),
                    values(&weight),
                    bias.as_ref().map(values),
                    y,
                );
            })
        }
    }
}

impl LinearGradients for Flex {
    fn linear_dx(dy: FlexTensor, weight: FlexTensor) -> FlexTensor {
        let (dy, weight) = (dy.to_contiguous(), weight.to_contiguous());
        let shape = with_width(&dy.shape(), weight.shape()[1]);
        let sizes = sizes(&shape, &weight.shape());
        // SAFETY: the kernel writes all of dx.
        unsafe {
            filled_tensor(shape, |dx| {
                kernel::input_gradient(sizes, values(&dy), values(&weight), dx)
            })
        }
    }

    fn linear_dw(dy: FlexTensor, x: FlexTensor) -> FlexTensor {
        let (dy, x) = (dy.to_contiguous(), x.to_contiguous());
        let shape = Shape::new([width(&dy.shape()), width(&x.shape())]);
        let sizes = sizes(&x.shape(), &shape);
        // SAFETY: the kernel writes all of the gradient.
        unsafe {
            filled_tensor(shape, |dw| {
                kernel::weight_gradient(sizes, values(&dy), values(&x), dw)
            })
        }
    }

    fn linear_db(dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let outputs = width(&dy.shape());
        tensor(kernel::bias_gradient(outputs, values(&dy)), [outputs])
    }
}
