use burn::tensor::{Int, Tensor, activation::log_softmax};

use super::linear;

/// Mean cross-entropy in nats: `logits` [N, V], `targets` `[N]` → `[1]`.
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    log_softmax(logits, 1)
        .gather(1, targets.unsqueeze_dim(1))
        .mean()
        .neg()
}

/// The language-model head and its loss: logits = `hidden` [N, C] · `weight`ᵀ with `weight`
/// [V, C], then the mean cross-entropy in nats with `targets` `[N]` → `[1]`.
pub fn head_cross_entropy(
    hidden: Tensor<2>,
    weight: Tensor<2>,
    targets: Tensor<1, Int>,
) -> Tensor<1> {
    cross_entropy(linear(hidden, weight, None), targets)
}
