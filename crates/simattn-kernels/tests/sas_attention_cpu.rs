//! The CPU's simulated attention against its definition in float64.

mod definition;

use definition::simulated::{self, ExpansionSizes};
use definition::{normal, relative_error, wide};
use proptest::prelude::*;
use simattn_kernels::call::{
    self, Aggregation, AttentionOptions, ExpansionOptions, RopePlacement, SasOptions, SasShape,
};
use simattn_kernels::cpu::sas_attention::{
    Expansion, ExpansionGradients, Rotation, SasGradients, SasInputs, SasWeights,
    sas_attention_backward_on, sas_attention_forward_on,
};
use simattn_kernels::cpu::simd::InstructionSet;

/// Promised: 1e-5.
const BOUND: f64 = 5e-6;

/// Owned weights of one stage: first, first bias, second, second bias.
type Stage = [Vec<f32>; 4];

#[derive(Clone, Debug, Default)]
struct Weights {
    heads: Option<Stage>,
    features: Option<Stage>,
}

impl Weights {
    fn new(sizes: ExpansionSizes, with_heads: bool, with_features: bool, seed: u64) -> Self {
        let stage = |seed: u64, inputs: usize, outputs: usize, kernel: usize| {
            let values = |seed, len, fan_in: usize| {
                let spread = 1.0 / (fan_in as f32).sqrt();
                normal(seed, len).into_iter().map(|x| x * spread).collect()
            };
            [
                values(seed, outputs * inputs * kernel, inputs * kernel),
                values(seed + 1, outputs, 16),
                values(seed + 2, outputs * outputs * kernel, outputs * kernel),
                values(seed + 3, outputs, 16),
            ]
        };
        Self {
            heads: with_heads
                .then(|| stage(seed, sizes.heads, sizes.expanded_heads, sizes.kernel_size)),
            features: with_features.then(|| stage(seed + 10, sizes.width, sizes.expanded_width, 1)),
        }
    }

    fn view(&self) -> Expansion<'_> {
        fn stage(s: &Stage) -> call::Stage<&[f32]> {
            call::Stage {
                first_weight: &s[0],
                first_bias: &s[1],
                second_weight: &s[2],
                second_bias: &s[3],
            }
        }
        Expansion {
            heads: self.heads.as_ref().map(stage),
            features: self.features.as_ref().map(stage),
        }
    }

    fn exact(&self) -> simulated::Expansion {
        let stage = |s: &Stage| simulated::Stage {
            first: wide(&s[0]),
            first_bias: wide(&s[1]),
            second: wide(&s[2]),
            second_bias: wide(&s[3]),
        };
        simulated::Expansion {
            heads: self.heads.as_ref().map(stage),
            features: self.features.as_ref().map(stage),
        }
    }
}

struct Case {
    shape: SasShape,
    options: SasOptions,
    sizes: [ExpansionSizes; 3],
    weights: [Weights; 3],
    inputs: [Vec<f32>; 3],
    g: Vec<f32>,
    /// cos and sin of queries and keys.
    tables: [[Vec<f32>; 2]; 2],
    half: usize,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:?} {:?} rotating {}",
            self.shape,
            self.options,
            2 * self.half
        )
    }
}

type Run = (Vec<f32>, Vec<f32>, SasGradients);

impl Case {
    fn new(
        shape: SasShape,
        with_heads: bool,
        with_features: bool,
        rotary: usize,
        options: SasOptions,
        seed: u64,
    ) -> Self {
        let n = shape;
        let sizes_of = |heads: usize, tokens: usize, features: bool| ExpansionSizes {
            tokens: n.batch * tokens,
            heads,
            expanded_heads: if with_heads { n.expanded_heads } else { heads },
            width: n.head_dim,
            expanded_width: if features {
                n.expanded_head_dim
            } else {
                n.head_dim
            },
            kernel_size: n.kernel_size,
        };
        let sizes = [
            sizes_of(n.heads, n.queries, with_features),
            sizes_of(n.kv_heads, n.keys, with_features),
            sizes_of(n.kv_heads, n.keys, false),
        ];
        let weights = [0, 1, 2].map(|i| {
            Weights::new(
                sizes[i],
                with_heads,
                with_features && i < 2,
                seed + 100 * i as u64,
            )
        });
        let inputs = [0, 1, 2].map(|i| {
            normal(
                seed + 1000 + i as u64,
                sizes[i].tokens * sizes[i].heads * n.head_dim,
            )
        });
        let out_heads = if options.aggregation == Aggregation::Peaa {
            n.heads
        } else {
            n.expanded_heads
        };
        let g = normal(seed + 2000, n.batch * n.queries * out_heads * n.head_dim);
        let half = rotary / 2;
        let table = |first: usize, tokens: usize| {
            let angle = |i: usize| {
                (first + i / half) as f64 * 10_000f64.powf(-2.0 * (i % half) as f64 / rotary as f64)
            };
            let angles: Vec<f64> = if half == 0 {
                Vec::new()
            } else {
                (0..tokens * half).map(angle).collect()
            };
            [
                angles.iter().map(|a| a.cos() as f32).collect(),
                angles.iter().map(|a| a.sin() as f32).collect(),
            ]
        };
        let tables = [table(options.attention.offset, n.queries), table(0, n.keys)];
        Self {
            shape,
            options,
            sizes,
            weights,
            inputs,
            g,
            tables,
            half,
        }
    }

    fn run(&self, set: InstructionSet) -> Run {
        let rotation = |i: usize| Rotation {
            cos: &self.tables[i][0],
            sin: &self.tables[i][1],
            half: self.half,
        };
        let [q, k, v] = [0, 1, 2].map(|i| &self.inputs[i][..]);
        let inputs = SasInputs {
            q,
            k,
            v,
            rotations: (self.half > 0).then(|| (rotation(0), rotation(1))),
        };
        let [q, k, v] = [0, 1, 2].map(|i| self.weights[i].view());
        let weights = SasWeights { q, k, v };
        let (out, sums) =
            sas_attention_forward_on(set, &self.shape, inputs, &weights, &self.options);
        let gradients = sas_attention_backward_on(
            set,
            &self.shape,
            inputs,
            &weights,
            &sums,
            &self.g,
            &self.options,
        );
        (out, sums, gradients)
    }

    fn check(&self) {
        let weights = [0, 1, 2].map(|i| self.weights[i].exact());
        let inputs = [0, 1, 2].map(|i| wide(&self.inputs[i]));
        let rotations = [0, 1].map(|i| simulated::Rotation {
            cos: wide(&self.tables[i][0]),
            sin: wide(&self.tables[i][1]),
            half: self.half,
        });
        let mut options = self.options;
        options.attention.scale = f64::from(options.attention.scale as f32);
        let exact = simulated::sas_attention(
            self.shape.batch,
            self.shape.expanded_heads / self.shape.heads,
            self.sizes,
            [&inputs[0], &inputs[1], &inputs[2]],
            &weights,
            (self.half > 0).then_some([&rotations[0], &rotations[1]]),
            &wide(&self.g),
            &options,
        );
        // A value this close to zero in front of a ReLU may fall on the other side in float32:
        // another gradient.
        let smooth = !self.options.expansion.relu || exact.nearest_kink > 2e-6;
        for set in InstructionSet::available() {
            let (out, sums, gradients) = self.run(set);
            let near = |name: &str, got: &[f32], exact: &[f64], bound: f64| {
                let error = relative_error(got, exact);
                assert!(
                    error < bound,
                    "{set} {name}: {error:e} in {:?} {:?}",
                    self.shape,
                    self.options
                );
            };
            near("output", &out, &exact.out, BOUND);
            for (&got, &exact) in sums.iter().zip(&exact.log_sum_exp) {
                assert!(
                    f64::from(got) == exact
                        || (f64::from(got) - exact).abs() < 1e-5 * exact.abs().max(1.0),
                    "{got} {exact}"
                );
            }
            if !smooth {
                continue;
            }
            for (name, got, exact) in [
                ("q", &gradients.q, &exact.inputs[0]),
                ("k", &gradients.k, &exact.inputs[1]),
                ("v", &gradients.v, &exact.inputs[2]),
            ] {
                // One key: the gradients of q and k vanish, up to rounding.
                if exact.iter().fold(0.0f64, |m, x| m.max(x.abs())) > 1e-3 {
                    near(name, got, exact, 2.0 * BOUND);
                }
            }
            let of_weights = [
                &gradients.q_weights,
                &gradients.k_weights,
                &gradients.v_weights,
            ];
            for ((name, got), exact) in ["q", "k", "v"].iter().zip(of_weights).zip(&exact.weights) {
                let ExpansionGradients { heads, features } = got;
                for (stage, got, exact) in [
                    ("heads", heads, &exact.heads),
                    ("features", features, &exact.features),
                ] {
                    assert_eq!(got.is_some(), exact.is_some());
                    let (Some(got), Some(exact)) = (got, exact) else {
                        continue;
                    };
                    let call::Stage {
                        first_weight,
                        first_bias,
                        second_weight,
                        second_bias,
                    } = got;
                    for (piece, got, exact) in [
                        ("first", first_weight, &exact.first),
                        ("first bias", first_bias, &exact.first_bias),
                        ("second", second_weight, &exact.second),
                        ("second bias", second_bias, &exact.second_bias),
                    ] {
                        // Sums that cancel (the bias of k moves all scores of a query alike) are
                        // compared with the terms.
                        let size = exact.iter().map(|x| x * x).sum::<f64>().sqrt();
                        let terms = self
                            .g
                            .iter()
                            .map(|&x| f64::from(x).powi(2))
                            .sum::<f64>()
                            .sqrt();
                        let difference = got
                            .iter()
                            .zip(exact)
                            .map(|(&a, b)| (f64::from(a) - b).powi(2))
                            .sum::<f64>()
                            .sqrt();
                        assert!(
                            difference < 4.0 * BOUND * size + 2e-5 * terms,
                            "{set} {name} {stage} {piece}: {difference:e} of {size:e}, terms {terms:e}, in {:?} {:?}",
                            self.shape,
                            self.options
                        );
                        assert!(got.iter().all(|x| x.is_finite()));
                    }
                }
            }
        }
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let shape = (
        1usize..3,
        1usize..90,
        1usize..4,
        1usize..4,
        1usize..4,
        1usize..20,
        1usize..24,
        0usize..3,
    );
    let stages = (any::<bool>(), any::<bool>(), 0usize..9);
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        0usize..20,
        prop_oneof![Just(None), (1usize..70).prop_map(Some)],
    );
    let places = prop_oneof![
        Just(RopePlacement::After),
        Just(RopePlacement::Before),
        Just(RopePlacement::None)
    ];
    let kept = prop_oneof![Just(Aggregation::Peaa), Just(Aggregation::Full)];
    (shape, stages, flags, places, kept, any::<u32>()).prop_map(
        |(shape, stages, flags, rope, aggregation, seed)| {
            let (batch, queries, base, share, groups, head_dim, wider, tap) = shape;
            let (with_heads, with_features, rotary) = stages;
            let (residual, relu, causal, offset, window) = flags;
            // Without a head stage H' = H and G divides it; with one, G is free.
            let (heads, kv_heads) = (
                base * share,
                if with_heads {
                    1 + (base + groups) % 3
                } else {
                    base
                },
            );
            let shape = SasShape {
                batch,
                queries,
                keys: queries + offset,
                heads,
                kv_heads,
                expanded_heads: if with_heads { heads * groups } else { heads },
                head_dim,
                expanded_head_dim: if with_features { wider } else { head_dim },
                kernel_size: if with_heads { 2 * tap + 1 } else { 1 },
            };
            let rotates = if rope == RopePlacement::Before {
                shape.head_dim
            } else {
                shape.expanded_head_dim
            };
            let options = SasOptions {
                attention: AttentionOptions {
                    scale: 1.0 / (shape.expanded_head_dim as f64).sqrt(),
                    causal,
                    offset,
                    window,
                },
                expansion: ExpansionOptions { residual, relu },
                rope,
                aggregation,
            };
            Case::new(
                shape,
                with_heads,
                with_features,
                (2 * rotary).min(rotates / 2 * 2),
                options,
                u64::from(seed),
            )
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn agrees_with_the_definition(case in cases()) {
        case.check();
    }
}

/// 4 → 12 heads, 32 → 48 features, more tokens than one round of work holds together with the
/// second element.
fn language_model(batch: usize, queries: usize) -> Case {
    let shape = SasShape {
        batch,
        queries,
        keys: queries,
        heads: 4,
        kv_heads: 4,
        expanded_heads: 12,
        head_dim: 32,
        expanded_head_dim: 48,
        kernel_size: 5,
    };
    let options = SasOptions {
        attention: AttentionOptions::causal(48),
        expansion: ExpansionOptions {
            residual: true,
            relu: true,
        },
        rope: RopePlacement::After,
        aggregation: Aggregation::Peaa,
    };
    Case::new(shape, true, true, 48, options, 5)
}

#[test]
fn the_usual_form_agrees_with_the_definition() {
    language_model(2, 130).check();
}

/// Five taps over a width that is a multiple of four: the convolutions that are done by minimal
/// filtering, with every way that they end, widths of one tile, an even and an odd number of them,
/// and a last chunk that is not full.
#[test]
fn five_taps_agree_with_the_definition() {
    for (head_dim, queries, residual, relu) in [
        (4, 65, true, true),
        (8, 72, true, false),
        (12, 67, false, true),
        (20, 77, false, false),
        (64, 64, true, true),
    ] {
        let mut case = language_model(2, queries);
        let shape = SasShape {
            head_dim,
            heads: 3,
            kv_heads: 2,
            expanded_heads: 6,
            ..case.shape
        };
        case.options.expansion = ExpansionOptions { residual, relu };
        Case::new(shape, true, true, 48, case.options, 7).check();
    }
}

#[test]
fn every_number_of_threads_gives_the_same_bits() {
    let case = language_model(3, 520);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| case.run(InstructionSet::current()))
    };
    let one = run(1);
    for threads in [2, 3, 5] {
        assert!(run(threads) == one, "{threads} threads");
    }
}

#[test]
fn a_batch_gives_what_its_elements_give() {
    // Three elements of 600 tokens are worked on one after another: nothing may leak from one to
    // the next.
    let case = language_model(3, 600);
    let (out, sums, gradients) = case.run(InstructionSet::current());
    for b in 0..3 {
        let mut one = language_model(1, 600);
        let piece = |x: &[f32]| x[b * x.len() / 3..(b + 1) * x.len() / 3].to_vec();
        one.inputs = [0, 1, 2].map(|i| piece(&case.inputs[i]));
        one.g = piece(&case.g);
        let (one_out, one_sums, one_gradients) = one.run(InstructionSet::current());
        assert_eq!(piece(&out), one_out);
        assert_eq!(piece(&sums), one_sums);
        assert_eq!(piece(&gradients.q), one_gradients.q);
        assert_eq!(piece(&gradients.k), one_gradients.k);
        assert_eq!(piece(&gradients.v), one_gradients.v);
    }
}
