//! Simulated attention in float64, stage by stage: each stage with its backward, in plain loops.
//!
//! A linear map over features is the convolution with κ = 1 whose channels are the features, over
//! rows of width 1.

use simattn_kernels::reference::{Aggregation, ExpansionOptions, RopePlacement, SasOptions};

use super::{Sizes, attention, attention_gradients, head_major, token_major};

/// A first and a second map with biases: convolutions [H', H, κ] or linear maps [D', D].
#[derive(Clone, Debug, Default)]
pub struct Stage {
    pub first: Vec<f64>,
    pub first_bias: Vec<f64>,
    pub second: Vec<f64>,
    pub second_bias: Vec<f64>,
}

/// The stages of one tensor.
#[derive(Clone, Debug, Default)]
pub struct Expansion {
    pub heads: Option<Stage>,
    pub features: Option<Stage>,
}

/// Sizes of one tensor's expansion.
#[derive(Clone, Copy, Debug)]
pub struct ExpansionSizes {
    pub tokens: usize,
    pub heads: usize,
    pub expanded_heads: usize,
    pub width: usize,
    pub expanded_width: usize,
    pub kernel_size: usize,
}

/// Cosines and sines [tokens, half] of a tensor's positions; tokens of all the batch, one after
/// another.
#[derive(Clone, Debug)]
pub struct Rotation {
    pub cos: Vec<f64>,
    pub sin: Vec<f64>,
    pub half: usize,
}

/// y[n, o, d] = bias[o] + Σ_i Σ_tap w[o, i, tap] x[n, i, d + tap − (κ−1)/2]
fn convolve(
    x: &[f64],
    w: &[f64],
    bias: &[f64],
    [rows, inputs, outputs, width, kernel]: [usize; 5],
) -> Vec<f64> {
    let mut y = vec![0.0; rows * outputs * width];
    for n in 0..rows {
        for o in 0..outputs {
            for d in 0..width {
                let mut sum = bias[o];
                for i in 0..inputs {
                    for tap in 0..kernel {
                        if let Some(at) = (d + tap)
                            .checked_sub((kernel - 1) / 2)
                            .filter(|&at| at < width)
                        {
                            sum += w[(o * inputs + i) * kernel + tap]
                                * x[(n * inputs + i) * width + at];
                        }
                    }
                }
                y[(n * outputs + o) * width + d] = sum;
            }
        }
    }
    y
}

/// (dx, dw, dbias) of [`convolve`].
fn convolve_gradients(
    x: &[f64],
    w: &[f64],
    g: &[f64],
    [rows, inputs, outputs, width, kernel]: [usize; 5],
) -> (Vec<f64>, Vec<f64>, Vec<f64>) {
    let (mut dx, mut dw, mut db) = (vec![0.0; x.len()], vec![0.0; w.len()], vec![0.0; outputs]);
    for n in 0..rows {
        for o in 0..outputs {
            for d in 0..width {
                let g = g[(n * outputs + o) * width + d];
                db[o] += g;
                for i in 0..inputs {
                    for tap in 0..kernel {
                        if let Some(at) = (d + tap)
                            .checked_sub((kernel - 1) / 2)
                            .filter(|&at| at < width)
                        {
                            dw[(o * inputs + i) * kernel + tap] +=
                                g * x[(n * inputs + i) * width + at];
                            dx[(n * inputs + i) * width + at] +=
                                g * w[(o * inputs + i) * kernel + tap];
                        }
                    }
                }
            }
        }
    }
    (dx, dw, db)
}

fn relu(x: &[f64], on: bool) -> Vec<f64> {
    x.iter().map(|&x| if on { x.max(0.0) } else { x }).collect()
}

/// Both maps of a stage; `sizes` for [`convolve`]. Returns (first map's result, the stage's
/// result).
fn stage(
    x: &[f64],
    s: &Stage,
    sizes: [usize; 5],
    options: ExpansionOptions,
) -> (Vec<f64>, Vec<f64>) {
    let first = convolve(x, &s.first, &s.first_bias, sizes);
    let [rows, _, outputs, width, kernel] = sizes;
    let mut y = convolve(
        &relu(&first, options.relu),
        &s.second,
        &s.second_bias,
        [rows, outputs, outputs, width, kernel],
    );
    if options.residual {
        y.iter_mut().zip(&first).for_each(|(y, f)| *y += f);
    }
    (first, y)
}

fn stage_gradients(
    x: &[f64],
    s: &Stage,
    g: &[f64],
    sizes: [usize; 5],
    options: ExpansionOptions,
) -> (Vec<f64>, Stage) {
    let [rows, _, outputs, width, kernel] = sizes;
    let (first, _) = stage(x, s, sizes, options);
    let active = relu(&first, options.relu);
    let (d_active, second, second_bias) = convolve_gradients(
        &active,
        &s.second,
        g,
        [rows, outputs, outputs, width, kernel],
    );
    let d_first: Vec<f64> = (0..first.len())
        .map(|i| {
            let through = if options.relu && first[i] <= 0.0 {
                0.0
            } else {
                d_active[i]
            };
            through + if options.residual { g[i] } else { 0.0 }
        })
        .collect();
    let (dx, first, first_bias) = convolve_gradients(x, &s.first, &d_first, sizes);
    (
        dx,
        Stage {
            first,
            first_bias,
            second,
            second_bias,
        },
    )
}

fn rotate(x: &[f64], r: &Rotation, [tokens, heads, width]: [usize; 3], direction: f64) -> Vec<f64> {
    let mut y = x.to_vec();
    let positions = r.cos.len() / r.half;
    for n in 0..tokens {
        for h in 0..heads {
            for i in 0..r.half {
                let (at, p) = ((n * heads + h) * width + i, n % positions * r.half + i);
                let (cos, sin) = (r.cos[p], direction * r.sin[p]);
                y[at] = x[at] * cos - x[at + r.half] * sin;
                y[at + r.half] = x[at + r.half] * cos + x[at] * sin;
            }
        }
    }
    y
}

/// What [`expand`] passes through: input of the head stage, of the feature stage, and the result.
struct Passed {
    compact: Vec<f64>,
    middle: Vec<f64>,
    result: Vec<f64>,
    /// The least magnitude in front of a ReLU: below rounding, float32 may take the other branch.
    nearest_kink: f64,
}

fn expand(
    x: &[f64],
    e: &Expansion,
    r: Option<&Rotation>,
    n: ExpansionSizes,
    options: &SasOptions,
) -> Passed {
    let mut nearest_kink = f64::INFINITY;
    let mut watch =
        |first: &[f64]| nearest_kink = first.iter().fold(nearest_kink, |m, x| m.min(x.abs()));
    let at = |place| r.filter(|_| options.rope == place);
    let compact = at(RopePlacement::Before).map_or(x.to_vec(), |r| {
        rotate(x, r, [n.tokens, n.heads, n.width], 1.0)
    });
    let middle = e.heads.as_ref().map_or(compact.clone(), |s| {
        let (first, y) = stage(
            &compact,
            s,
            [n.tokens, n.heads, n.expanded_heads, n.width, n.kernel_size],
            options.expansion,
        );
        watch(&first);
        y
    });
    let rows = n.tokens * n.expanded_heads;
    let mut result = e.features.as_ref().map_or(middle.clone(), |s| {
        let (first, y) = stage(
            &middle,
            s,
            [rows, n.width, n.expanded_width, 1, 1],
            options.expansion,
        );
        watch(&first);
        y
    });
    if let Some(r) = at(RopePlacement::After) {
        result = rotate(
            &result,
            r,
            [n.tokens, n.expanded_heads, n.expanded_width],
            1.0,
        );
    }
    Passed {
        compact,
        middle,
        result,
        nearest_kink,
    }
}

fn contract(
    g: &[f64],
    p: &Passed,
    e: &Expansion,
    r: Option<&Rotation>,
    n: ExpansionSizes,
    options: &SasOptions,
) -> (Vec<f64>, Expansion) {
    let at = |place| r.filter(|_| options.rope == place);
    let mut g = g.to_vec();
    let mut gradients = Expansion::default();
    if let Some(r) = at(RopePlacement::After) {
        g = rotate(&g, r, [n.tokens, n.expanded_heads, n.expanded_width], -1.0);
    }
    if let Some(s) = &e.features {
        let rows = n.tokens * n.expanded_heads;
        let (dx, of_stage) = stage_gradients(
            &p.middle,
            s,
            &g,
            [rows, n.width, n.expanded_width, 1, 1],
            options.expansion,
        );
        (g, gradients.features) = (dx, Some(of_stage));
    }
    if let Some(s) = &e.heads {
        let sizes = [n.tokens, n.heads, n.expanded_heads, n.width, n.kernel_size];
        let (dx, of_stage) = stage_gradients(&p.compact, s, &g, sizes, options.expansion);
        (g, gradients.heads) = (dx, Some(of_stage));
    }
    if let Some(r) = at(RopePlacement::Before) {
        g = rotate(&g, r, [n.tokens, n.heads, n.width], -1.0);
    }
    (g, gradients)
}

/// Result of [`sas_attention`].
pub struct Exact {
    pub out: Vec<f64>,
    pub log_sum_exp: Vec<f64>,
    pub inputs: [Vec<f64>; 3],
    pub weights: [Expansion; 3],
    pub nearest_kink: f64,
}

#[allow(clippy::too_many_arguments)]
/// Forward and backward of simulated attention; inputs token-major, `batch` elements; `groups`
/// averaged groups.
pub fn sas_attention(
    batch: usize,
    groups: usize,
    shapes: [ExpansionSizes; 3],
    inputs: [&[f64]; 3],
    weights: &[Expansion; 3],
    rotations: Option<[&Rotation; 2]>,
    g: &[f64],
    options: &SasOptions,
) -> Exact {
    let rotation = |which: usize| rotations.filter(|_| which < 2).map(|r| r[which]);
    let passed = [0, 1, 2].map(|i| expand(inputs[i], &weights[i], rotation(i), shapes[i], options));
    let [q, k, v] = [0, 1, 2].map(|i| {
        let n = shapes[i];
        head_major(
            &passed[i].result,
            [batch, n.tokens / batch, n.expanded_heads, n.expanded_width],
        )
    });
    let sizes = Sizes {
        batch,
        heads: shapes[0].expanded_heads,
        kv_heads: shapes[1].expanded_heads,
        queries: shapes[0].tokens / batch,
        keys: shapes[1].tokens / batch,
        width: shapes[0].expanded_width,
        value_width: shapes[2].expanded_width,
    };
    let (out, log_sum_exp) = attention(sizes, &q, &k, &v, &options.attention);
    let out = token_major(&out, [batch, sizes.heads, sizes.queries, sizes.value_width]);
    // [.., H', D]: group g, slot i is head g · H + i.
    let groups = if options.aggregation == Aggregation::Peaa {
        groups
    } else {
        1
    };
    let row = sizes.heads * sizes.value_width;
    let share = row / groups;
    let mean: Vec<f64> = out
        .chunks(row)
        .flat_map(|row| {
            (0..share)
                .map(|i| (0..groups).map(|g| row[g * share + i]).sum::<f64>() / groups as f64)
                .collect::<Vec<_>>()
        })
        .collect();
    let spread: Vec<f64> = g
        .chunks(share)
        .flat_map(|row| {
            (0..groups)
                .flat_map(|_| row.iter().map(|x| x / groups as f64))
                .collect::<Vec<_>>()
        })
        .collect();
    let spread = head_major(
        &spread,
        [batch, sizes.queries, sizes.heads, sizes.value_width],
    );
    let gradients = attention_gradients(sizes, &q, &k, &v, &spread, &options.attention);
    let mut contracted = [0, 1, 2].map(|i| {
        let n = shapes[i];
        let g = token_major(
            &gradients[i],
            [batch, n.expanded_heads, n.tokens / batch, n.expanded_width],
        );
        contract(&g, &passed[i], &weights[i], rotation(i), n, options)
    });
    Exact {
        out: mean,
        log_sum_exp,
        inputs: [0, 1, 2].map(|i| std::mem::take(&mut contracted[i].0)),
        weights: contracted.map(|c| c.1),
        nearest_kink: passed
            .iter()
            .map(|p| p.nearest_kink)
            .fold(f64::INFINITY, f64::min),
    }
}
