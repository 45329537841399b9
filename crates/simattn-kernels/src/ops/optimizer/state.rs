//! What AdamW keeps of a parameter between steps.

use burn::tensor::Tensor;

/// The moments of one parameter; zeros of its shape before the first step.
#[derive(Clone, Debug)]
pub struct AdamWState<const D: usize> {
    /// The running mean of gradients.
    pub first_moment: Tensor<D>,
    /// The running mean of squared gradients.
    pub second_moment: Tensor<D>,
}
