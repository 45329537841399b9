use burn::tensor::{Bool, Device, Tensor, TensorData, activation::softmax};

use crate::call::AttentionOptions;

/// Softmax attention: `out[b,h,i] = Σ_j softmax_j(scale · q[b,h,i]·k[b,g,j]) · v[b,g,j]`.
///
/// `q` [B, H, T, D'], `k` [B, G, S, D'], `v` [B, G, S, D] → [B, H, T, D]. Query head h reads
/// key/value head ⌊h / (H/G)⌋. A query that sees no key gives zeros.
///
/// # Panics
/// If G does not divide H or the shapes do not match.
pub fn attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    options: &AttentionOptions,
) -> Tensor<4> {
    let [_, heads, queries, _] = q.dims();
    let keys = k.dims()[2];
    let k = repeat_heads(k, heads);
    let v = repeat_heads(v, heads);
    let scores = q.matmul(k.swap_dims(2, 3)).mul_scalar(options.scale);
    let hidden = hidden_keys(queries, keys, options, &scores.device());
    let Some(hidden) = hidden else {
        return softmax(scores, 3).matmul(v);
    };
    let hidden = hidden.unsqueeze::<4>().expand(scores.dims());
    // A finite stand-in for −∞ keeps a query without keys free of NaN; the second fill makes
    // its weights zero, as the definition says.
    let weights = softmax(scores.mask_fill(hidden.clone(), -1e30), 3).mask_fill(hidden, 0.0);
    weights.matmul(v)
}

/// Key/value heads, each repeated for the query heads that read it: [B, G, S, D] → [B, H, S, D].
fn repeat_heads(x: Tensor<4>, heads: usize) -> Tensor<4> {
    let [batch, groups, tokens, width] = x.dims();
    if groups == heads {
        return x;
    }
    assert!(
        heads.is_multiple_of(groups),
        "{groups} key/value heads do not divide {heads} query heads"
    );
    let share = heads / groups;
    x.unsqueeze_dim::<5>(2)
        .expand([batch, groups, share, tokens, width])
        .reshape([batch, heads, tokens, width])
}

/// True where a query must not look; `None` when every query sees every key.
fn hidden_keys(
    queries: usize,
    keys: usize,
    options: &AttentionOptions,
    device: &Device,
) -> Option<Tensor<2, Bool>> {
    let hidden: Vec<bool> = (0..queries)
        .flat_map(|i| (0..keys).map(move |j| !options.visible(i, j)))
        .collect();
    if !hidden.contains(&true) {
        return None;
    }
    let data = TensorData::new(hidden, [queries, keys]);
    Some(Tensor::from_data(data, device))
}
