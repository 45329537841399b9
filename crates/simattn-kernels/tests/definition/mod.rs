//! The definitions in float64 and plain loops, forward and backward, written like the formulas:
//! what the kernels are compared with.
#![allow(dead_code)]

pub mod simulated;

use simattn_kernels::reference::AttentionOptions;

/// Values for tests: normal, of one seed.
pub fn normal(seed: u64, len: usize) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut uniform = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    };
    (0..len)
        .map(|_| {
            ((-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos())
                as f32
        })
        .collect()
}

/// float32 to float64.
pub fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

/// Root mean square of the difference over the root mean square of `exact`; 0 where both are 0.
pub fn relative_error(got: &[f32], exact: &[f64]) -> f64 {
    assert_eq!(got.len(), exact.len());
    assert!(got.iter().all(|x| x.is_finite()), "a value is not finite");
    let square = |x: f64| x * x;
    let difference: f64 = got
        .iter()
        .zip(exact)
        .map(|(&g, &e)| square(f64::from(g) - e))
        .sum();
    let size: f64 = exact.iter().copied().map(square).sum();
    if difference == 0.0 {
        0.0
    } else {
        (difference / size.max(1e-60)).sqrt()
    }
}

/// Sizes of an attention; H and G heads.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    pub batch: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub queries: usize,
    pub keys: usize,
    pub width: usize,
    pub value_width: usize,
}

/// Output [B, H, T, D] and log-sum-exp [B, H, T].
pub fn attention(
    n: Sizes,
    q: &[f64],
    k: &[f64],
    v: &[f64],
    options: &AttentionOptions,
) -> (Vec<f64>, Vec<f64>) {
    let mut out = vec![0.0; n.batch * n.heads * n.queries * n.value_width];
    let mut sums = vec![f64::NEG_INFINITY; n.batch * n.heads * n.queries];
    for row in 0..sums.len() {
        let (weights, sum) = weights(n, row, q, k, options);
        sums[row] = sum;
        for (j, weight) in weights {
            for d in 0..n.value_width {
                out[row * n.value_width + d] += weight * v[j * n.value_width + d];
            }
        }
    }
    (out, sums)
}

/// Gradients of q, k and v.
pub fn attention_gradients(
    n: Sizes,
    q: &[f64],
    k: &[f64],
    v: &[f64],
    g: &[f64],
    options: &AttentionOptions,
) -> [Vec<f64>; 3] {
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    for row in 0..n.batch * n.heads * n.queries {
        let (weights, _) = weights(n, row, q, k, options);
        let g = &g[row * n.value_width..][..n.value_width];
        let of_weight = |j: usize| -> f64 {
            (0..n.value_width)
                .map(|d| g[d] * v[j * n.value_width + d])
                .sum()
        };
        let mean: f64 = weights.iter().map(|&(j, w)| w * of_weight(j)).sum();
        for &(j, w) in &weights {
            let of_score = w * (of_weight(j) - mean) * options.scale;
            for d in 0..n.width {
                dq[row * n.width + d] += of_score * k[j * n.width + d];
                dk[j * n.width + d] += of_score * q[row * n.width + d];
            }
            for d in 0..n.value_width {
                dv[j * n.value_width + d] += w * g[d];
            }
        }
    }
    [dq, dk, dv]
}

/// (key row, weight) of every key that a query row sees, and the log-sum-exp.
fn weights(
    n: Sizes,
    row: usize,
    q: &[f64],
    k: &[f64],
    options: &AttentionOptions,
) -> (Vec<(usize, f64)>, f64) {
    let (i, head) = (row % n.queries, row / n.queries);
    let (b, h) = (head / n.heads, head % n.heads);
    let first = (b * n.kv_heads + h / (n.heads / n.kv_heads)) * n.keys;
    let scores: Vec<(usize, f64)> = (0..n.keys)
        .filter(|&j| options.visible(i, j))
        .map(|j| first + j)
        .map(|j| {
            (
                j,
                options.scale
                    * (0..n.width)
                        .map(|d| q[row * n.width + d] * k[j * n.width + d])
                        .sum::<f64>(),
            )
        })
        .collect();
    let most = scores.iter().map(|s| s.1).fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|s| (s.1 - most).exp()).sum();
    let weights = scores
        .iter()
        .map(|&(j, s)| (j, (s - most).exp() / total))
        .collect();
    (
        weights,
        if total > 0.0 {
            most + total.ln()
        } else {
            f64::NEG_INFINITY
        },
    )
}

/// [B, H, T, D] to [B, T, H, D].
pub fn token_major<T: Copy>(x: &[T], [batch, heads, tokens, width]: [usize; 4]) -> Vec<T> {
    let at = |b: usize, t: usize, h: usize, d: usize| x[((b * heads + h) * tokens + t) * width + d];
    let mut out = Vec::with_capacity(x.len());
    for b in 0..batch {
        for t in 0..tokens {
            for h in 0..heads {
                out.extend((0..width).map(|d| at(b, t, h, d)));
            }
        }
    }
    out
}

/// [B, T, H, D] to [B, H, T, D].
pub fn head_major<T: Copy>(x: &[T], [batch, tokens, heads, width]: [usize; 4]) -> Vec<T> {
    token_major(x, [batch, tokens, heads, width])
}
