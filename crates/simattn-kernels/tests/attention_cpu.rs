//! The CPU attention against its definition in float64.

mod definition;

use definition::{
    Sizes, attention, attention_gradients, normal, relative_error, token_major, wide,
};
use proptest::prelude::*;
use simattn_kernels::call::{AttentionOptions, AttentionShape, Qkv};
use simattn_kernels::cpu::attention::{
    AttentionGradients, BackwardInputs, HeadLayout, Heads, attention_backward_on,
    attention_forward_on,
};
use simattn_kernels::cpu::simd::InstructionSet;

/// The bound that is promised, and what the kernels stay below.
const BOUND: f64 = 2e-6;

struct Case {
    sizes: Sizes,
    options: AttentionOptions,
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    g: Vec<f32>,
}

impl Case {
    /// Normal inputs; q is stretched so that scores reach about ±`greatest_score`.
    fn new(sizes: Sizes, options: AttentionOptions, greatest_score: f32, seed: u64) -> Self {
        let n = sizes;
        let mut q = normal(seed, n.batch * n.heads * n.queries * n.width);
        let stretch = greatest_score / (4.0 * (n.width as f32).sqrt() * options.scale as f32);
        q.iter_mut().for_each(|x| *x *= stretch);
        let k = normal(seed + 1, n.batch * n.kv_heads * n.keys * n.width);
        let v = normal(seed + 2, n.batch * n.kv_heads * n.keys * n.value_width);
        let g = normal(seed + 3, n.batch * n.heads * n.queries * n.value_width);
        Self {
            sizes,
            options,
            q,
            k,
            v,
            g,
        }
    }

    fn shape(&self) -> AttentionShape {
        let Sizes {
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            width,
            value_width,
        } = self.sizes;
        AttentionShape {
            batch,
            heads,
            kv_heads,
            queries,
            keys,
            width,
            value_width,
        }
    }

    /// Output, log-sum-exp and gradients, all in `layout` order.
    fn run(
        &self,
        set: InstructionSet,
        layout: fn(usize, usize, usize) -> HeadLayout,
        inputs: [&[f32]; 4],
    ) -> Run {
        let (n, shape) = (self.sizes, self.shape());
        let [q, k, v, g] = inputs;
        let of_q = |values, width| Heads {
            values,
            layout: layout(n.heads, n.queries, width),
        };
        let of_k = |values, width| Heads {
            values,
            layout: layout(n.kv_heads, n.keys, width),
        };
        let (q, k, v) = (of_q(q, n.width), of_k(k, n.width), of_k(v, n.value_width));
        let out_layout = layout(n.heads, n.queries, n.value_width);
        let (out, sums) = attention_forward_on(set, &shape, q, k, v, &self.options, out_layout);
        let out_heads = of_q(&out, n.value_width);
        let g = of_q(g, n.value_width);
        let gradients = attention_backward_on(
            set,
            &shape,
            &BackwardInputs {
                q,
                k,
                v,
                out: out_heads,
                log_sum_exp: &sums,
                out_gradient: g,
            },
            &self.options,
            Qkv {
                q: q.layout,
                k: k.layout,
                v: v.layout,
            },
        );
        (out, sums, gradients)
    }

    fn check(&self, set: InstructionSet) {
        let n = self.sizes;
        let options = AttentionOptions {
            scale: f64::from(self.options.scale as f32),
            ..self.options
        };
        let (q, k, v, g) = (wide(&self.q), wide(&self.k), wide(&self.v), wide(&self.g));
        let (exact_out, exact_sums) = attention(n, &q, &k, &v, &options);
        let exact = attention_gradients(n, &q, &k, &v, &g, &options);
        let (out, sums, gradients) = self.run(
            set,
            HeadLayout::head_major,
            [&self.q, &self.k, &self.v, &self.g],
        );
        let greatest = exact_sums
            .iter()
            .filter(|s| s.is_finite())
            .fold(1.0f64, |m, s| m.max(s.abs()));
        // A score of size s carries an error of a few s · 2^-24, and the softmax turns it into a
        // relative one.
        let bound = BOUND * (1.0 + greatest / 10.0);
        for (&got, &exact) in sums.iter().zip(&exact_sums) {
            assert!(
                f64::from(got) == exact
                    || (f64::from(got) - exact).abs() < 1e-6 * greatest.max(4.0),
                "{got} {exact}"
            );
        }
        let error = relative_error(&out, &exact_out);
        assert!(
            error < bound,
            "{set}: output {error:e} at {n:?} {options:?}"
        );
        for (name, got, exact) in [
            ("q", &gradients.q, &exact[0]),
            ("k", &gradients.k, &exact[1]),
            ("v", &gradients.v, &exact[2]),
        ] {
            let size = exact.iter().map(|x| x * x).sum::<f64>().sqrt();
            // Gradients of q and k are differences that vanish where one key takes all the weight.
            let error = relative_error(got, exact);
            let absolute = got
                .iter()
                .zip(exact)
                .map(|(&a, b)| (f64::from(a) - b).powi(2))
                .sum::<f64>()
                .sqrt();
            let scale = self
                .g
                .iter()
                .map(|&x| f64::from(x).powi(2))
                .sum::<f64>()
                .sqrt();
            assert!(
                error < 5.0 * bound || absolute < 1e-6 * scale * greatest,
                "{set}: d{name} {error:e} of {size:e} at {n:?} {options:?}"
            );
        }
    }
}

type Run = (Vec<f32>, Vec<f32>, AttentionGradients);

fn cases() -> impl Strategy<Value = (Sizes, AttentionOptions, f32, u64)> {
    let sizes = (
        1usize..3,
        1usize..4,
        1usize..3,
        prop_oneof![1 => 1usize..6, 4 => 1usize..150],
        1usize..150,
        1usize..40,
        1usize..40,
    );
    let mask = (
        any::<bool>(),
        0usize..80,
        prop_oneof![Just(None), (1usize..90).prop_map(Some)],
    );
    let score = prop_oneof![Just(4.0f32), Just(80.0f32)];
    (sizes, mask, score, any::<u32>()).prop_map(|(n, (causal, offset, window), score, seed)| {
        let (batch, kv_heads, share, queries, keys, width, value_width) = n;
        let sizes = Sizes {
            batch,
            heads: kv_heads * share,
            kv_heads,
            queries,
            keys,
            width,
            value_width,
        };
        let scale = 1.0 / (width as f64).sqrt();
        (
            sizes,
            AttentionOptions {
                scale,
                causal,
                offset,
                window,
            },
            score,
            u64::from(seed),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_definition((sizes, options, score, seed) in cases()) {
        let case = Case::new(sizes, options, score, seed);
        for set in InstructionSet::available() {
            case.check(set);
        }
    }
}

fn language_model_sizes() -> Sizes {
    Sizes {
        batch: 2,
        heads: 4,
        kv_heads: 2,
        queries: 200,
        keys: 200,
        width: 48,
        value_width: 32,
    }
}

#[test]
fn token_major_inputs_give_the_same_bits() {
    let n = language_model_sizes();
    let case = Case::new(n, AttentionOptions::causal(n.width), 4.0, 7);
    let [q, k, v, g] = [
        token_major(&case.q, [n.batch, n.heads, n.queries, n.width]),
        token_major(&case.k, [n.batch, n.kv_heads, n.keys, n.width]),
        token_major(&case.v, [n.batch, n.kv_heads, n.keys, n.value_width]),
        token_major(&case.g, [n.batch, n.heads, n.queries, n.value_width]),
    ];
    let set = InstructionSet::current();
    let (out, sums, d) = case.run(
        set,
        HeadLayout::head_major,
        [&case.q, &case.k, &case.v, &case.g],
    );
    let (token_out, token_sums, token_d) = case.run(set, HeadLayout::token_major, [&q, &k, &v, &g]);
    assert_eq!(
        token_major(&out, [n.batch, n.heads, n.queries, n.value_width]),
        token_out
    );
    assert_eq!(sums, token_sums);
    assert_eq!(
        token_major(&d.q, [n.batch, n.heads, n.queries, n.width]),
        token_d.q
    );
    assert_eq!(
        token_major(&d.k, [n.batch, n.kv_heads, n.keys, n.width]),
        token_d.k
    );
    assert_eq!(
        token_major(&d.v, [n.batch, n.kv_heads, n.keys, n.value_width]),
        token_d.v
    );
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let n = language_model_sizes();
    let case = Case::new(n, AttentionOptions::causal(n.width), 4.0, 8);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            case.run(
                InstructionSet::current(),
                HeadLayout::head_major,
                [&case.q, &case.k, &case.v, &case.g],
            )
        })
    };
    let one = run(1);
    for threads in [2, 3, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_query_without_keys_gives_zeros_and_moves_nothing() {
    // Without causality, a window that ended before the first key: queries 5 .. see no key of the
    // 3.
    let n = Sizes {
        batch: 1,
        heads: 2,
        kv_heads: 1,
        queries: 20,
        keys: 3,
        width: 8,
        value_width: 8,
    };
    let options = AttentionOptions {
        scale: 0.3,
        causal: true,
        offset: 0,
        window: Some(3),
    };
    let case = Case::new(n, options, 4.0, 9);
    for set in InstructionSet::available() {
        case.check(set);
        let (out, sums, d) = case.run(
            set,
            HeadLayout::head_major,
            [&case.q, &case.k, &case.v, &case.g],
        );
        let blind = n.keys + 2;
        assert!(out[blind * 8..20 * 8].iter().all(|&x| x == 0.0), "{set}");
        assert!(
            sums[blind..20].iter().all(|&x| x == f32::NEG_INFINITY),
            "{set}"
        );
        assert!(d.q[blind * 8..20 * 8].iter().all(|&x| x == 0.0), "{set}");
    }
}

#[test]
fn no_keys_at_all() {
    let n = Sizes {
        batch: 1,
        heads: 1,
        kv_heads: 1,
        queries: 2,
        keys: 0,
        width: 4,
        value_width: 3,
    };
    let case = Case::new(
        n,
        AttentionOptions {
            causal: false,
            ..AttentionOptions::causal(4)
        },
        1.0,
        1,
    );
    let (out, _, d) = case.run(
        InstructionSet::current(),
        HeadLayout::head_major,
        [&case.q, &case.k, &case.v, &case.g],
    );
    assert_eq!(out, [0.0; 6]);
    assert_eq!(d.q, [0.0; 8]);
}

#[test]
fn scores_far_beyond_the_range_of_exp_are_safe() {
    let n = language_model_sizes();
    let case = Case::new(n, AttentionOptions::causal(n.width), 3e4, 10);
    for set in InstructionSet::available() {
        let (out, _, d) = case.run(
            set,
            HeadLayout::head_major,
            [&case.q, &case.k, &case.v, &case.g],
        );
        assert!(
            out.iter()
                .chain(&d.q)
                .chain(&d.k)
                .chain(&d.v)
                .all(|x| x.is_finite()),
            "{set}"
        );
    }
}
