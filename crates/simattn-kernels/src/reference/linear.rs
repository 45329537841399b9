use burn::tensor::{Int, Tensor, module};

/// `y = x · weightᵀ + bias` over the last axis: `x` [.., I], `weight` [O, I], `bias` `[O]` → [..,
/// O].
pub fn linear<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<2>,
    bias: Option<Tensor<1>>,
) -> Tensor<R> {
    let mut shape = x.dims();
    let [outputs, inputs] = weight.dims();
    let rows: usize = shape[..R - 1].iter().product();
    let mut y = x.reshape([rows, inputs]).matmul(weight.transpose());
    if let Some(bias) = bias {
        y = y + bias.unsqueeze();
    }
    shape[R - 1] = outputs;
    y.reshape(shape)
}

/// The rows of `weight` [V, C] that `ids` [B, T] name: [B, T, C].
pub fn embedding(weight: Tensor<2>, ids: Tensor<2, Int>) -> Tensor<3> {
    module::embedding(weight, ids)
}
