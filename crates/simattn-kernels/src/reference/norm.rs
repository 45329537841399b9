use burn::tensor::Tensor;

/// Layer normalisation over the last axis (arXiv 1607.06450):
/// `(x − mean) / √(variance + ε) · weight + bias`; `weight`, `bias` `[C]`.
pub fn layer_norm<const R: usize>(
    x: Tensor<R>,
    weight: Tensor<1>,
    bias: Tensor<1>,
    epsilon: f64,
) -> Tensor<R> {
    let centred = x.clone() - x.mean_dim(R - 1);
    let variance = centred.clone().square().mean_dim(R - 1);
    centred / variance.add_scalar(epsilon).sqrt() * weight.unsqueeze() + bias.unsqueeze()
}

/// Root-mean-square normalisation over the last axis (arXiv 1910.07467):
/// `x / √(mean(x²) + ε) · weight`; `weight` `[C]`.
pub fn rms_norm<const R: usize>(x: Tensor<R>, weight: Tensor<1>, epsilon: f64) -> Tensor<R> {
    let mean_square = x.clone().square().mean_dim(R - 1);
    x / mean_square.add_scalar(epsilon).sqrt() * weight.unsqueeze()
}
