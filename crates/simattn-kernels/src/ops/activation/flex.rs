use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Shape;

use super::{ActivationGradients, ActivationOps};
use crate::call::GeluForm;
use crate::cpu::activation as kernel;
use crate::cpu::linear::bias_gradient;
use crate::cpu::output::filled;
use crate::ops::flex::{filled_tensor, tensor, values, width};
use crate::ops::maybe::Maybe;

fn half(shape: &Shape) -> Shape {
    let mut shape = shape.clone();
    let last = shape.rank() - 1;
    shape[last] /= 2;
    shape
}

impl ActivationOps for Flex {
    fn gelu_of(x: FlexTensor, bias: Maybe<Self>, form: GeluForm) -> FlexTensor {
        let x = x.to_contiguous();
        let bias = bias.into_option().map(|bias| bias.to_contiguous());
        if let Some(bias) = &bias {
            assert_eq!(
                bias.shape()[0],
                width(&x.shape()),
                "a bias for each feature of x"
            );
        }
        let bias = bias.as_ref().map(values);
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(x.shape(), |y| kernel::gelu(form, values(&x), bias, y)) }
    }

    fn swiglu_of(a: FlexTensor, b: FlexTensor) -> FlexTensor {
        let (a, b) = (a.to_contiguous(), b.to_contiguous());
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(a.shape(), |y| kernel::swiglu(values(&a), values(&b), y)) }
    }

    fn swiglu_of_halves(ab: FlexTensor) -> FlexTensor {
        let ab = ab.to_contiguous();
        let shape = half(&ab.shape());
        let width = width(&shape);
        // SAFETY: the kernel writes all of y.
        unsafe { filled_tensor(shape, |y| kernel::swiglu_packed(width, values(&ab), y)) }
    }
}

impl ActivationGradients for Flex {
    fn gelu_dx(x: FlexTensor, bias: Maybe<Self>, dy: FlexTensor, form: GeluForm) -> FlexTensor {
        let (x, dy) = (x.to_contiguous(), dy.to_contiguous());
        let bias = bias.into_option().map(|bias| bias.to_contiguous());
        let bias = bias.as_ref().map(values);
        // SAFETY: the kernel writes all of dx.
        unsafe {
            filled_tensor(x.shape(), |dx| {
                kernel::gelu_gradient(form, values(&x), bias, values(&dy), dx)
            })
        }
    }

    fn gelu_db(dx: FlexTensor) -> FlexTensor {
        let dx = dx.to_contiguous();
        let width = width(&dx.shape());
        tensor(bias_gradient(width, values(&dx)), [width])
    }

    fn swiglu_gradients(a: FlexTensor, b: FlexTensor, dy: FlexTensor) -> (FlexTensor, FlexTensor) {
        let (a, b, dy) = (a.to_contiguous(), b.to_contiguous(), dy.to_contiguous());
        let len = values(&a).len();
        let mut db = Vec::new();
        // SAFETY: the kernel writes all of both gradients.
        let da = unsafe {
            filled(len, |da| {
                db = filled(len, |db| {
                    kernel::swiglu_gradient(values(&a), values(&b), values(&dy), da, db)
                });
            })
        };
        (tensor(da, a.shape()), tensor(db, b.shape()))
    }

    fn swiglu_of_halves_gradient(ab: FlexTensor, dy: FlexTensor) -> FlexTensor {
        let (ab, dy) = (ab.to_contiguous(), dy.to_contiguous());
        let width = width(&dy.shape());
        // SAFETY: the kernel writes all of the gradient.
        unsafe {
            filled_tensor(ab.shape(), |d_ab| {
                kernel::swiglu_packed_gradient(width, values(&ab), values(&dy), d_ab);
            })
        }
    }
}
