//! The kernels of decoding against loops in float64 and against the definitions.

use burn::tensor::{Device, Tensor, TensorData};
use proptest::prelude::*;
use simattn_kernels::call::{Expansion, ExpansionOptions, NumberType, Stage};
use simattn_kernels::cpu::decoding::{
    AttendShape, Expander, KeyPage, PAGE, Page, Panels, Rows, Run, ValuePage, attend, expand,
    product,
};
use simattn_kernels::reference::{FeatureExpansion, HeadExpansion, expand_features, expand_heads};
use simattn_random::stream;

const TYPES: [NumberType; 3] = [NumberType::F32, NumberType::Bf16, NumberType::Int8];

fn normals(name: &str, len: usize) -> Vec<f32> {
    let mut chance = stream(1, name);
    (0..len).map(|_| chance.normal() as f32).collect()
}

fn relative(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let off = found
        .iter()
        .zip(expected)
        .map(|(&a, b)| (f64::from(a) - b).powi(2));
    let size: f64 = expected.iter().map(|x| x * x).sum();
    (off.sum::<f64>() / size).sqrt()
}

/// The weight as it was rounded, row after row.
fn rounded(panels: &Panels) -> Vec<f32> {
    let mut rows = vec![0.0; panels.outputs() * panels.inputs()];
    for (output, row) in rows.chunks_exact_mut(panels.inputs()).enumerate() {
        panels.read_row(output, row);
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_product_is_that_of_the_rounded_weight_and_a_row_its_own(
        rows in 1usize..70,
        inputs in 1usize..90,
        outputs in 1usize..130,
        biased in any::<bool>(),
    ) {
        let (x, weight) = (normals("x", rows * inputs), normals("weight", outputs * inputs));
        let bias = normals("bias", outputs);
        let bias = biased.then_some(&bias[..]);
        for number_type in TYPES {
            let panels = Panels::new(number_type, outputs, inputs, &weight);
            let kept = rounded(&panels);
            let mut y = vec![f32::NAN; rows * outputs];
            product(&panels, rows, Rows::dense(&x, inputs), bias, &mut y, outputs, false);
            let exact: Vec<f64> = (0..rows * outputs)
                .map(|at| {
                    let (row, output) = (at / outputs, at % outputs);
                    let terms = (0..inputs).map(|k| {
                        f64::from(x[row * inputs + k]) * f64::from(kept[output * inputs + k])
                    });
                    terms.sum::<f64>() + bias.map_or(0.0, |bias| f64::from(bias[output]))
                })
                .collect();
            let off = relative(&y, &exact);
            prop_assert!(off < 1e-6, "{number_type}: {off:e}");
            let bound = match number_type {
                NumberType::F32 => 0.0,
                NumberType::Bf16 => 0.004,
                NumberType::Int8 => 0.02,
            };
            let weight: Vec<f64> = weight.iter().map(|&w| f64::from(w)).collect();
            prop_assert!(relative(&kept, &weight) <= bound, "{number_type}");

            let mut alone = vec![1.0; outputs];
            let last = Rows::dense(&x[(rows - 1) * inputs..], inputs);
            product(&panels, 1, last, bias, &mut alone, outputs, true);
            for (alone, y) in alone.iter().zip(&y[(rows - 1) * outputs..]) {
                prop_assert_eq!(alone.to_bits(), (1.0 + y).to_bits());
            }
        }
    }
}

fn tensor<const R: usize>(values: &[f32], shape: [usize; R]) -> Tensor<R> {
    Tensor::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
}

fn slices(stage: &Stage<Vec<f32>>) -> Stage<&[f32]> {
    Stage {
        first_weight: &stage.first_weight,
        first_bias: &stage.first_bias,
        second_weight: &stage.second_weight,
        second_bias: &stage.second_bias,
    }
}

#[test]
fn an_expander_is_the_definition_for_every_token() {
    // heads, expanded heads, width, expanded width, κ; 0: without that stage
    let cases = [
        (12, 36, 64, 96, 5),
        (3, 18, 64, 96, 5),
        (3, 6, 10, 14, 3),
        (2, 4, 33, 40, 1),
        (1, 6, 8, 0, 7),
        (5, 0, 17, 20, 1),
    ];
    for (heads, expanded, width, wide, taps) in cases {
        for bits in 0..4 {
            let options = ExpansionOptions {
                residual: bits & 1 > 0,
                relu: bits & 2 > 0,
            };
            let tokens = 5;
            let x = normals("x", tokens * heads * width);
            let small = |name, len: usize| -> Vec<f32> {
                normals(name, len).iter().map(|x| 0.2 * x).collect()
            };
            let (out_heads, out_width) = (expanded.max(heads), wide.max(width));
            let convolutions = [
                small("c1", out_heads * heads * taps),
                small("b1", out_heads),
                small("c2", out_heads * out_heads * taps),
                small("b2", out_heads),
            ];
            let maps = [
                small("m1", out_width * width),
                small("d1", out_width),
                small("m2", out_width * out_width),
                small("d2", out_width),
            ];
            let stage = |w: &'_ [Vec<f32>; 4]| Stage {
                first_weight: w[0].clone(),
                first_bias: w[1].clone(),
                second_weight: w[2].clone(),
                second_bias: w[3].clone(),
            };
            let (of_heads, of_features) = (stage(&convolutions), stage(&maps));
            let mut truth = tensor(&x, [1, tokens, heads, width]);
            if expanded > 0 {
                let w = &of_heads;
                let weights = HeadExpansion {
                    first_weight: tensor(&w.first_weight, [out_heads, heads, taps]),
                    first_bias: tensor(&w.first_bias, [out_heads]),
                    second_weight: tensor(&w.second_weight, [out_heads, out_heads, taps]),
                    second_bias: tensor(&w.second_bias, [out_heads]),
                };
                truth = expand_heads(truth, &weights, options);
            }
            if wide > 0 {
                let w = &of_features;
                let weights = FeatureExpansion {
                    first_weight: tensor(&w.first_weight, [out_width, width]),
                    first_bias: tensor(&w.first_bias, [out_width]),
                    second_weight: tensor(&w.second_weight, [out_width, out_width]),
                    second_bias: tensor(&w.second_bias, [out_width]),
                };
                truth = expand_features(truth, &weights, options);
            }
            let truth: Vec<f64> = truth.into_data().iter::<f64>().collect();
            let weights = Expansion {
                heads: (expanded > 0).then(|| slices(&of_heads)),
                features: (wide > 0).then(|| slices(&of_features)),
            };
            let expander = Expander::new(heads, width, &weights, options);
            let mut y = vec![f32::NAN; tokens * expander.outputs()];
            expand(
                tokens,
                &mut [(&expander, Rows::dense(&x, heads * width), &mut y)],
            );
            let off = relative(&y, &truth);
            let case = format!("{heads}→{expanded}, {width}→{wide}, κ {taps}, {options:?}");
            assert!(off < 2e-6, "{case}: {off:e}");
        }
    }
}

/// Keys or values of a text, and their pages.
struct Text {
    /// [tokens][heads][width], as the pages hold them.
    rows: Vec<f32>,
    keys: Vec<KeyPage>,
    values: Vec<ValuePage>,
    len: usize,
}

impl Text {
    /// Both kinds of page round alike: what one holds is read from the other.
    fn new(name: &str, number_type: NumberType, tokens: usize, heads: usize, width: usize) -> Self {
        let len = heads * width;
        let mut rows = normals(name, tokens * len);
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        for tokens in rows.chunks_mut(PAGE * len) {
            let mut of_keys = KeyPage::new(number_type, heads, width);
            let mut of_values = ValuePage::new(number_type, heads, width);
            let count = tokens.len() / len;
            // In two parts, as caches are filled.
            for (slot, part) in [(0, 0..count / 2), (count / 2, count / 2..count)] {
                let tokens = Rows::dense(&tokens[part.start * len..part.end * len], len);
                of_keys.write(slot, part.len(), tokens);
                of_values.write(slot, part.len(), tokens);
            }
            for (slot, row) in tokens.chunks_mut(len).enumerate() {
                of_values.read(slot, row);
            }
            keys.push(of_keys);
            values.push(of_values);
        }
        Self {
            rows,
            keys,
            values,
            len,
        }
    }

    /// One head of one token.
    fn at(&self, token: usize, start: usize, width: usize) -> &[f32] {
        &self.rows[token * self.len + start..][..width]
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter()
        .zip(b)
        .map(|(&a, &b)| f64::from(a) * f64::from(b))
        .sum()
}

/// Attention of one query by its definition.
fn one_query(
    visible: usize,
    scale: f32,
    score: impl Fn(usize) -> f64,
    value: impl Fn(usize) -> Vec<f64>,
) -> Vec<f64> {
    let scores: Vec<f64> = (0..visible)
        .map(|key| score(key) * f64::from(scale))
        .collect();
    let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
    let total: f64 = weights.iter().sum();
    let mut out = vec![0.0; value(0).len()];
    for (key, weight) in weights.iter().enumerate() {
        for (out, value) in out.iter_mut().zip(value(key)) {
            *out += weight / total * value;
        }
    }
    out
}

/// Position and tokens of runs: within a page, across splits of 256, in the middle of a page.
const RUNS: [(usize, usize); 5] = [(0, 1), (0, 64), (62, 2), (300, 17), (575, 1)];

#[test]
fn attention_over_pages_of_heads_is_the_definition() {
    for (heads, kv_heads, width, value_width) in [(6, 2, 24, 40), (3, 3, 96, 64), (5, 1, 7, 5)] {
        for number_type in TYPES {
            let keys = Text::new("keys", number_type, 600, kv_heads, width);
            let values = Text::new("values", number_type, 600, kv_heads, value_width);
            let shape = AttendShape {
                heads,
                kv_heads,
                query_width: width,
                value_width,
                scale: 0.3,
            };
            let pages = |tokens: usize| {
                let pages = keys.keys.iter().zip(&values.values);
                let page = |(keys, values)| Page::Heads { keys, values };
                pages.take(tokens.div_ceil(PAGE)).map(page).collect()
            };
            check(
                &shape,
                pages,
                |query, head, visible| {
                    let group = head / (heads / kv_heads);
                    one_query(
                        visible,
                        shape.scale,
                        |key| dot(query, keys.at(key, group * width, width)),
                        |key| {
                            let value = values.at(key, group * value_width, value_width);
                            value.iter().map(|&x| f64::from(x)).collect()
                        },
                    )
                },
                &format!("{heads} heads of {kv_heads}, {number_type}"),
            );
        }
    }
}

#[test]
fn attention_over_latents_is_the_definition() {
    let (heads, rank, rope) = (5, 40, 8);
    for number_type in TYPES {
        let latents = Text::new("latents", number_type, 600, 1, rank);
        let ropes = Text::new("ropes", number_type, 600, 1, rope);
        let shape = AttendShape {
            heads,
            kv_heads: 1,
            query_width: rank + rope,
            value_width: rank,
            scale: 0.2,
        };
        let pages = |tokens: usize| {
            let pages = latents.keys.iter().zip(&ropes.keys);
            let page = |(latent, rope)| Page::Latent { latent, rope };
            pages.take(tokens.div_ceil(PAGE)).map(page).collect()
        };
        check(
            &shape,
            pages,
            |query, _, visible| {
                let (of_latent, of_rope) = query.split_at(rank);
                one_query(
                    visible,
                    shape.scale,
                    |key| {
                        dot(of_latent, latents.at(key, 0, rank))
                            + dot(of_rope, ropes.at(key, 0, rope))
                    },
                    |key| {
                        latents
                            .at(key, 0, rank)
                            .iter()
                            .map(|&x| f64::from(x))
                            .collect()
                    },
                )
            },
            number_type.name(),
        );
    }
}

#[test]
fn attention_over_factors_is_the_definition() {
    let (heads, rank, width) = (5, 2, 24);
    for number_type in TYPES {
        let [key_a, value_a] =
            ["key a", "value a"].map(|name| Text::new(name, number_type, 600, 1, heads * rank));
        let [key_b, value_b] =
            ["key b", "value b"].map(|name| Text::new(name, number_type, 600, rank, width));
        let shape = AttendShape {
            heads,
            kv_heads: 1,
            query_width: width,
            value_width: width,
            scale: 0.3,
        };
        let pages = |tokens: usize| {
            (0..tokens.div_ceil(PAGE))
                .map(|page| Page::Factors {
                    key_a: &key_a.keys[page],
                    key_b: &key_b.keys[page],
                    value_a: &value_a.keys[page],
                    value_b: &value_b.values[page],
                })
                .collect()
        };
        let made = |a: &Text, b: &Text, token: usize, head: usize| -> Vec<f64> {
            let a = a.at(token, head * rank, rank);
            let feature = |d: usize| {
                let parts = a.iter().enumerate();
                let parts =
                    parts.map(|(r, &a)| f64::from(a) * f64::from(b.at(token, r * width, width)[d]));
                parts.sum::<f64>() / rank as f64
            };
            (0..width).map(feature).collect()
        };
        check(
            &shape,
            pages,
            |query, head, visible| {
                one_query(
                    visible,
                    shape.scale,
                    |token| {
                        let key = made(&key_a, &key_b, token, head);
                        key.iter().zip(query).map(|(k, &q)| k * f64::from(q)).sum()
                    },
                    |token| made(&value_a, &value_b, token, head),
                )
            },
            number_type.name(),
        );
    }
}

/// All runs together against `truth` of every query, and each run alone bit for bit.
fn check<'a>(
    shape: &AttendShape,
    pages: impl Fn(usize) -> Vec<Page<'a>>,
    truth: impl Fn(&[f32], usize, usize) -> Vec<f64>,
    case: &str,
) {
    let runs: Vec<Run<'_>> = RUNS
        .iter()
        .map(|&(first, tokens)| Run {
            pages: pages(first + tokens),
            first,
            tokens,
        })
        .collect();
    let rows: usize = RUNS.iter().map(|(_, tokens)| tokens).sum();
    let (q_len, out_len) = (
        shape.heads * shape.query_width,
        shape.heads * shape.value_width,
    );
    let q = normals("q", rows * q_len);
    let mut out = vec![f32::NAN; rows * out_len];
    attend(shape, &runs, &q, &mut out);
    let positions = RUNS
        .iter()
        .flat_map(|&(first, tokens)| first..first + tokens);
    let mut expected = Vec::new();
    for (row, position) in positions.enumerate() {
        for head in 0..shape.heads {
            let query = &q[row * q_len + head * shape.query_width..][..shape.query_width];
            expected.extend(truth(query, head, position + 1));
        }
    }
    let off = relative(&out, &expected);
    assert!(off < 3e-6, "{case}: {off:e}");
    let mut row = 0;
    for run in &runs {
        for token in 0..run.tokens {
            let one = Run {
                pages: run.pages.clone(),
                first: run.first + token,
                tokens: 1,
            };
            let mut alone = vec![f32::NAN; out_len];
            attend(shape, &[one], &q[row * q_len..][..q_len], &mut alone);
            let same = alone.iter().zip(&out[row * out_len..]);
            assert!(
                same.into_iter().all(|(a, b)| a.to_bits() == b.to_bits()),
                "{case}, row {row}"
            );
            row += 1;
        }
    }
}
