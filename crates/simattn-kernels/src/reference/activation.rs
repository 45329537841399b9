use burn::tensor::{
    Tensor,
    activation::{self, silu},
};

/// GELU by the normal distribution function: `x · Φ(x)` (arXiv 1606.08415), not its tanh form.
pub fn gelu<const R: usize>(x: Tensor<R>) -> Tensor<R> {
    activation::gelu(x)
}

/// SwiGLU (arXiv 2002.05202): `silu(gate) · up`, element by element.
pub fn swiglu<const R: usize>(gate: Tensor<R>, up: Tensor<R>) -> Tensor<R> {
    silu(gate) * up
}
