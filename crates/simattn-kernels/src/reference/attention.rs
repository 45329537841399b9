use burn::tensor::{Bool, Device, Tensor, TensorData, activation::softmax};

/// What one attention call needs beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionOptions {
    /// Factor on the scores before the softmax, usually 1/√width of q and k.
    pub scale: f64,
    /// Whether query i sees only the keys up to its own position.
    pub causal: bool,
    /// The absolute position of query 0 on the keys' axis: S − T when decoding with a cache.
    pub offset: usize,
    /// How many of the latest keys a query sees, its own position included; `None`: all.
    pub window: Option<usize>,
}

impl AttentionOptions {
    /// Causal attention over equally many queries and keys, scale 1/√`width`.
    pub fn causal(width: usize) -> Self {
        Self {
            scale: 1.0 / (width as f64).sqrt(),
            causal: true,
            offset: 0,
            window: None,
        }
    }

    /// Whether query `i` (counted from 0 in its tensor) may look at key `j`.
    pub fn visible(&self, i: usize, j: usize) -> bool {
        let position = i + self.offset;
        (!self.causal || j <= position)
            && self.window.is_none_or(|w| j.saturating_add(w) > position)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_beyond_all_numbers_hides_nothing() {
        let options = AttentionOptions {
            window: Some(usize::MAX),
            ..AttentionOptions::causal(8)
        };
        assert!(options.visible(5, 0) && options.visible(5, 5) && !options.visible(5, 6));
    }
}
