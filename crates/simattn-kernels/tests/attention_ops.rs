//! Attention and simulated attention on Burn tensors: fused against the definition in Burn
//! operations, values and every gradient.

use burn::tensor::{DType, Device, Distribution, Tensor};
use simattn_kernels::ops;
use simattn_kernels::reference::{
    self, Aggregation, AttentionOptions, Expansion, ExpansionOptions, FeatureExpansion,
    HeadExpansion, RopePlacement, RopeTable, SasOptions, SasWeights,
};

fn random<const R: usize>(shape: [usize; R], spread: f64) -> Tensor<R> {
    let device = Device::flex().autodiff();
    Tensor::random(shape, Distribution::Normal(0.0, spread), &device).require_grad()
}

/// The same values as a new leaf.
fn again<const R: usize>(x: &Tensor<R>) -> Tensor<R> {
    x.clone().detach().require_grad()
}

/// Gradients that are zero by symmetry (the last bias of k moves all scores of a query alike) are
/// compared absolutely.
#[track_caller]
fn near<const R: usize>(name: &str, got: Tensor<R>, exact: Tensor<R>) {
    assert_eq!(got.dims(), exact.dims(), "{name}");
    let got = got.into_data().try_to_vec::<f32>().unwrap();
    let exact = exact.into_data().try_to_vec::<f32>().unwrap();
    let square = |x: f32| f64::from(x) * f64::from(x);
    let difference: f64 = got.iter().zip(&exact).map(|(a, b)| square(a - b)).sum();
    let size: f64 = exact.iter().map(|&x| square(x)).sum();
    assert!(
        difference.sqrt() < 1e-5 * size.sqrt() + 1e-4,
        "{name}: {difference:e} of {size:e}"
    );
}

#[test]
fn attention_with_views_as_inputs() {
    let [batch, heads, kv_heads, tokens, width, value_width] = [2, 4, 2, 37, 12, 7];
    let q = random([batch, tokens, heads, width], 1.0);
    // k and v are slices of one packed tensor.
    let packed = random([batch, tokens, kv_heads, width + value_width], 1.0);
    let run = |fused: bool| {
        let (q, packed) = (again(&q), again(&packed));
        let k = packed.clone().narrow(3, 0, width).swap_dims(1, 2);
        let v = packed.clone().narrow(3, width, value_width).swap_dims(1, 2);
        let options = AttentionOptions::causal(width);
        let y = if fused {
            ops::attention(q.clone().swap_dims(1, 2), k, v, &options)
        } else {
            reference::attention(q.clone().swap_dims(1, 2), k, v, &options)
        };
        let weight =
            Tensor::<1, burn::tensor::Int>::arange(0..value_width as i64, &y.device()).float();
        let gradients = (y.clone() * weight.unsqueeze::<4>()).sum().backward();
        (
            y.inner(),
            q.grad(&gradients).unwrap(),
            packed.grad(&gradients).unwrap(),
        )
    };
    let (got, exact) = (run(true), run(false));
    near("output", got.0, exact.0);
    near("q", got.1, exact.1);
    near("packed", got.2, exact.2);
}

struct Leaves {
    inputs: [Tensor<4>; 3],
    weights: SasWeights,
}

fn head_stage(inputs: usize, outputs: usize, kernel: usize) -> HeadExpansion {
    HeadExpansion {
        first_weight: random([outputs, inputs, kernel], 0.4),
        first_bias: random([outputs], 0.2),
        second_weight: random([outputs, outputs, kernel], 0.3),
        second_bias: random([outputs], 0.2),
    }
}

fn feature_stage(inputs: usize, outputs: usize) -> FeatureExpansion {
    FeatureExpansion {
        first_weight: random([outputs, inputs], 0.3),
        first_bias: random([outputs], 0.2),
        second_weight: random([outputs, outputs], 0.3),
        second_bias: random([outputs], 0.2),
    }
}

fn copied(e: &Expansion) -> Expansion {
    Expansion {
        heads: e.heads.as_ref().map(|s| HeadExpansion {
            first_weight: again(&s.first_weight),
            first_bias: again(&s.first_bias),
            second_weight: again(&s.second_weight),
            second_bias: again(&s.second_bias),
        }),
        features: e.features.as_ref().map(|s| FeatureExpansion {
            first_weight: again(&s.first_weight),
            first_bias: again(&s.first_bias),
            second_weight: again(&s.second_weight),
            second_bias: again(&s.second_bias),
        }),
    }
}

#[track_caller]
fn compare(leaves: &Leaves, options: &SasOptions, tables: Option<(&RopeTable, &RopeTable)>) {
    let run = |fused: bool| {
        let [q, k, v] = leaves.inputs.each_ref().map(again);
        let weights = SasWeights {
            q: copied(&leaves.weights.q),
            k: copied(&leaves.weights.k),
            v: copied(&leaves.weights.v),
        };
        let attend = if fused {
            ops::sas_attention
        } else {
            reference::sas_attention
        };
        let y = attend(q.clone(), k.clone(), v.clone(), &weights, tables, options);
        let weight =
            Tensor::<1, burn::tensor::Int>::arange(0..y.dims()[2] as i64, &y.device()).float();
        let gradients = (y.clone() * (weight * 0.1).unsqueeze::<3>())
            .sum()
            .backward();
        let mut all = vec![y.inner().flatten::<1>(0, 2)];
        all.extend([q, k, v].map(|x| x.grad(&gradients).unwrap().flatten::<1>(0, 3)));
        for e in [&weights.q, &weights.k, &weights.v] {
            if let Some(s) = &e.heads {
                all.push(s.first_weight.grad(&gradients).unwrap().flatten::<1>(0, 2));
                all.push(s.first_bias.grad(&gradients).unwrap());
                all.push(s.second_weight.grad(&gradients).unwrap().flatten::<1>(0, 2));
                all.push(s.second_bias.grad(&gradients).unwrap());
            }
            if let Some(s) = &e.features {
                all.push(s.first_weight.grad(&gradients).unwrap().flatten::<1>(0, 1));
                all.push(s.first_bias.grad(&gradients).unwrap());
                all.push(s.second_weight.grad(&gradients).unwrap().flatten::<1>(0, 1));
                all.push(s.second_bias.grad(&gradients).unwrap());
            }
        }
        all
    };
    for (i, (got, exact)) in run(true).into_iter().zip(run(false)).enumerate() {
        near(&format!("tensor {i}"), got, exact);
    }
}

#[test]
fn simulated_attention_in_its_usual_form() {
    let [batch, tokens, heads, kv_heads, expanded, d, d2, kernel] = [2, 21, 2, 1, 6, 8, 12, 3];
    let device = Device::flex().autodiff();
    let input = |heads| random([batch, tokens, heads, d], 1.0);
    let leaves = Leaves {
        inputs: [input(heads), input(kv_heads), input(kv_heads)],
        weights: SasWeights {
            q: Expansion {
                heads: Some(head_stage(heads, expanded, kernel)),
                features: Some(feature_stage(d, d2)),
            },
            k: Expansion {
                heads: Some(head_stage(kv_heads, expanded, kernel)),
                features: Some(feature_stage(d, d2)),
            },
            v: Expansion {
                heads: Some(head_stage(kv_heads, expanded, kernel)),
                features: None,
            },
        },
    };
    let table = RopeTable::new(tokens, 0, d2, 10_000.0, &device, DType::F32);
    let options = SasOptions {
        attention: AttentionOptions::causal(d2),
        expansion: ExpansionOptions::default(),
        rope: RopePlacement::After,
        aggregation: Aggregation::Peaa,
    };
    compare(&leaves, &options, Some((&table, &table)));
    let options = SasOptions {
        aggregation: Aggregation::Full,
        ..options
    };
    compare(&leaves, &options, None);
}

#[test]
fn simulated_attention_without_any_stage_is_attention() {
    let [batch, tokens, heads, d] = [1, 9, 3, 4];
    let leaves = Leaves {
        inputs: [(); 3].map(|()| random([batch, tokens, heads, d], 1.0)),
        weights: SasWeights::default(),
    };
    let options = SasOptions {
        attention: AttentionOptions::causal(d),
        expansion: ExpansionOptions::default(),
        rope: RopePlacement::None,
        aggregation: Aggregation::Peaa,
    };
    compare(&leaves, &options, None);
}
