//! The form of attention for other devices and float types against the definition, both in float64:
//! values and every gradient, over random shapes around the size of a block.

use burn::tensor::{DType, Device, Tensor, TensorData};
use proptest::prelude::*;
use simattn_kernels::Kernels;
use simattn_kernels::reference::{
    Aggregation, AttentionOptions, Expansion, ExpansionOptions, FeatureExpansion, HeadExpansion,
    RopePlacement, RopeTable, SasOptions, SasWeights,
};
use simattn_random::stream;

/// Leaves with values of one seed.
struct Draw {
    seed: u64,
    made: u64,
}

impl Draw {
    fn new(seed: u64) -> Self {
        Self { seed, made: 0 }
    }

    fn leaf<const R: usize>(&mut self, shape: [usize; R], spread: f64) -> Tensor<R> {
        self.made += 1;
        let mut chance = stream(self.seed, &format!("leaf {}", self.made));
        let len = shape.iter().product();
        let values: Vec<f64> = (0..len).map(|_| spread * chance.normal()).collect();
        let device = Device::flex().autodiff();
        Tensor::from_data(TensorData::new(values, shape), (&device, DType::F64)).require_grad()
    }
}

fn values<const R: usize>(x: Tensor<R>) -> Vec<f64> {
    assert_eq!(x.dtype(), DType::F64);
    x.into_data().try_to_vec::<f64>().unwrap()
}

/// Root mean square of the difference over that of `exact`. Gradients that vanish by symmetry (a
/// bias of k moves all scores of a query alike) are measured against the largest of the others.
fn assert_near(got: &[Vec<f64>], exact: &[Vec<f64>], case: &str) {
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let largest = exact
        .iter()
        .map(|x| norm(&mut x.iter().copied()) / (x.len() as f64).sqrt())
        .fold(0.0, f64::max);
    assert_eq!(got.len(), exact.len());
    for (at, (got, exact)) in got.iter().zip(exact).enumerate() {
        assert_eq!(got.len(), exact.len(), "{case}: tensor {at}");
        let error = norm(&mut got.iter().zip(exact).map(|(a, b)| a - b));
        let size =
            norm(&mut exact.iter().copied()).max(1e-3 * largest * (exact.len() as f64).sqrt());
        assert!(
            error <= 1e-12 * size,
            "{case}: tensor {at}: {error:e} of {size:e}"
        );
    }
}

/// Σ y·w, with weights that tell all values apart.
fn weighted<const R: usize>(y: &Tensor<R>) -> Tensor<1> {
    let len = y.shape().num_elements();
    let weight = Tensor::<1, burn::tensor::Int>::arange(0..len as i64, &y.device())
        .float()
        .cast(DType::F64)
        .mul_scalar(0.37)
        .sin();
    (y.clone().reshape([len]) * weight).sum()
}

fn options() -> impl Strategy<Value = (bool, usize, Option<usize>)> {
    (any::<bool>(), 0..80usize, prop::option::of(1..200usize))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn attention_in_blocks_is_attention(
        [batch, kv_heads, share, width, value_width] in [1..3usize, 1..3, 1..4, 1..9, 1..9],
        queries in prop_oneof![1..20usize, 120..140usize, 250..330usize],
        more in prop_oneof![Just(0usize), 1..90usize],
        (causal, offset, window) in options(),
        seed in any::<u64>(),
    ) {
        let mut draw = Draw::new(seed);
        let heads = kv_heads * share;
        let keys = queries + more;
        let q = draw.leaf([batch, heads, queries, width], 1.0);
        let k = draw.leaf([batch, kv_heads, keys, width], 1.0);
        let v = draw.leaf([batch, kv_heads, keys, value_width], 1.0);
        let options = AttentionOptions { scale: 0.7, causal, offset, window };
        let run = |kernels: Kernels| {
            let y = kernels.attention(q.clone(), k.clone(), v.clone(), &options);
            let gradients = weighted(&y).backward();
            vec![
                values(y.inner()),
                values(q.grad(&gradients).unwrap()),
                values(k.grad(&gradients).unwrap()),
                values(v.grad(&gradients).unwrap()),
            ]
        };
        let case = format!("{queries} × {keys}, {heads}/{kv_heads} heads, {options:?}");
        assert_near(&run(Kernels::Fast), &run(Kernels::Reference), &case);
    }
}

/// The gradient of one leaf, out of all.
type Find = Box<dyn Fn(&burn::tensor::Gradients) -> Vec<f64>>;

/// Some leaves of any rank, and how to find their gradients.
#[derive(Default)]
struct Gradients(Vec<Find>);

impl Gradients {
    fn of<const R: usize>(&mut self, leaf: Tensor<R>) -> Tensor<R> {
        let kept = leaf.clone();
        self.0
            .push(Box::new(move |found| values(kept.grad(found).unwrap())));
        leaf
    }
}

#[derive(Clone, Copy, Debug)]
struct Form {
    heads: bool,
    features: bool,
    rope: RopePlacement,
    aggregation: Aggregation,
}

fn forms() -> impl Strategy<Value = Form> {
    use Aggregation::{Full, Peaa};
    use RopePlacement::{After, Before, None};
    let rope = prop_oneof![Just(After), Just(Before), Just(None)];
    let aggregation = prop_oneof![Just(Peaa), Just(Full)];
    (any::<bool>(), any::<bool>(), rope, aggregation).prop_map(
        |(heads, features, rope, aggregation)| Form {
            heads,
            features,
            rope,
            aggregation,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn simulated_attention_in_blocks_is_simulated_attention(
        [batch, kv_heads, share, groups] in [1..3usize, 1..3, 1..3, 1..3],
        [half, wider] in [1..4usize, 0..3],
        queries in prop_oneof![1..20usize, 126..135usize, 255..270usize],
        form in forms(),
        (causal, offset, window) in options(),
        seed in any::<u64>(),
    ) {
        let mut draw = Draw::new(seed);
        let (heads, width) = (kv_heads * share, 2 * half);
        let keys = queries + offset;
        let expanded = if form.heads { heads * groups } else { heads };
        let wide = if form.features { width + 2 * wider } else { width };
        let mut gradients = Gradients::default();
        let q = gradients.of(draw.leaf([batch, queries, heads, width], 1.0));
        let k = gradients.of(draw.leaf([batch, keys, kv_heads, width], 1.0));
        let v = gradients.of(draw.leaf([batch, keys, kv_heads, width], 1.0));
        let mut expansion = |inputs: usize, features: bool| Expansion {
            heads: form.heads.then(|| HeadExpansion {
                first_weight: gradients.of(draw.leaf([expanded, inputs, 3], 0.4)),
                first_bias: gradients.of(draw.leaf([expanded], 0.2)),
                second_weight: gradients.of(draw.leaf([expanded, expanded, 3], 0.3)),
                second_bias: gradients.of(draw.leaf([expanded], 0.2)),
            }),
            features: features.then(|| FeatureExpansion {
                first_weight: gradients.of(draw.leaf([wide, width], 0.4)),
                first_bias: gradients.of(draw.leaf([wide], 0.2)),
                second_weight: gradients.of(draw.leaf([wide, wide], 0.3)),
                second_bias: gradients.of(draw.leaf([wide], 0.2)),
            }),
        };
        let weights = SasWeights {
            q: expansion(heads, form.features),
            k: expansion(kv_heads, form.features),
            v: expansion(kv_heads, false),
        };
        let rotated = if form.rope == RopePlacement::Before { width } else { wide };
        let device = Device::flex().autodiff();
        let table = |tokens, offset| RopeTable::new(tokens, offset, rotated, 100.0, &device, DType::F64);
        let (of_queries, of_keys) = (table(queries, offset), table(keys, 0));
        let tables = (form.rope != RopePlacement::None).then_some((&of_queries, &of_keys));
        let options = SasOptions {
            attention: AttentionOptions { scale: 0.4, causal, offset, window },
            expansion: ExpansionOptions::default(),
            rope: form.rope,
            aggregation: form.aggregation,
        };
        let run = |kernels: Kernels| {
            let (q, k, v) = (q.clone(), k.clone(), v.clone());
            let y = kernels.sas_attention(q, k, v, &weights, tables, &options);
            let found = weighted(&y).backward();
            let mut all = vec![values(y.inner())];
            all.extend(gradients.0.iter().map(|of| of(&found)));
            all
        };
        let case = format!("{queries} × {keys}, {heads}/{kv_heads} heads, {form:?} {options:?}");
        assert_near(&run(Kernels::Fast), &run(Kernels::Reference), &case);
    }
}
