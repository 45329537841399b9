//! Simulated attention on GPUs against its definition in float64 on the CPU: values and every
//! gradient.
#![cfg(feature = "cube")]

mod gpu;

use burn::tensor::{DType, Device, Tensor};
use gpu::layout::Rows;
use gpu::{Named, Numbers, assert_near, read, tensor};
use simattn_kernels::ops::{self, SasKeep};
use simattn_kernels::reference::{
    self, Aggregation, AttentionOptions, Expansion, ExpansionOptions, FeatureExpansion,
    HeadExpansion, RopePlacement, RopeTable, SasOptions, SasWeights,
};

/// The largest RMS relative error of a value or a gradient.
const LIMIT: f64 = 1e-5;

/// The same for bfloat16 and float16, where every map's result and attention's weights are rounded,
/// up to 2⁻⁹ and 2⁻¹² each time.
const HALF_LIMITS: [(DType, f64); 2] = [(DType::BF16, 3e-2), (DType::F16, 5e-3)];

/// Which maps there are.
#[derive(Clone, Copy, Debug)]
struct Stages {
    q_heads: bool,
    kv_heads: bool,
    features: bool,
}

const ALL: Stages = Stages {
    q_heads: true,
    kv_heads: true,
    features: true,
};

#[derive(Clone, Copy, Debug)]
struct Case {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    expanded_heads: usize,
    head_dim: usize,
    expanded_head_dim: usize,
    kernel_size: usize,
    rotary_dim: usize,
    stages: Stages,
    window: Option<usize>,
    expansion: ExpansionOptions,
    rope: RopePlacement,
    aggregation: Aggregation,
    rows: Rows,
    keep: SasKeep,
}

impl Case {
    fn usual() -> Self {
        Self {
            batch: 2,
            queries: 21,
            keys: 21,
            heads: 2,
            kv_heads: 1,
            expanded_heads: 6,
            head_dim: 8,
            expanded_head_dim: 12,
            kernel_size: 3,
            rotary_dim: 8,
            stages: ALL,
            window: None,
            expansion: ExpansionOptions::default(),
            rope: RopePlacement::After,
            aggregation: Aggregation::Peaa,
            rows: Rows::EndToEnd,
            keep: SasKeep::Inputs,
        }
    }

    /// On inputs rounded to `rounded`, in `dtype`.
    fn run(&self, device: &Device, rounded: DType, dtype: DType, fused: bool) -> Named {
        let mut numbers = Numbers(self.expanded_heads as u64 * 1_000 + self.queries as u64);
        let plain = device.clone().inner();
        let mut leaves = Leaves {
            numbers: &mut numbers,
            device,
            rounded,
            dtype,
        };
        let d = self.head_dim;
        let q = leaves.leaf([self.batch, self.queries, self.heads, d], 1.0);
        let k = leaves.leaf([self.batch, self.keys, self.kv_heads, d], 1.0);
        let v = leaves.leaf([self.batch, self.keys, self.kv_heads, d], 1.0);
        let mut expansion = |heads: bool, features: bool, inputs: usize| Expansion {
            heads: heads.then(|| leaves.heads(inputs, self.expanded_heads, self.kernel_size)),
            features: features.then(|| leaves.features(d, self.expanded_head_dim)),
        };
        let stages = self.stages;
        let weights = SasWeights {
            q: expansion(stages.q_heads, stages.features, self.heads),
            k: expansion(stages.kv_heads, stages.features, self.kv_heads),
            v: expansion(stages.kv_heads, false, self.kv_heads),
        };
        let width = if stages.features {
            self.expanded_head_dim
        } else {
            d
        };
        let offset = self.keys - self.queries;
        let table =
            |tokens, first| RopeTable::new(tokens, first, self.rotary_dim, 100.0, &plain, dtype);
        let tables = (table(self.queries, offset), table(self.keys, 0));
        let options = SasOptions {
            attention: AttentionOptions {
                offset,
                window: self.window,
                ..AttentionOptions::causal(width)
            },
            expansion: self.expansion,
            rope: self.rope,
            aggregation: self.aggregation,
        };
        let tables = Some((&tables.0, &tables.1));
        let [own_q, own_k, own_v] = [&q, &k, &v].map(|x| self.rows.of(x.clone()));
        let own = self.lying(&weights);
        let y = if fused {
            ops::sas_attention_keeping(own_q, own_k, own_v, &own, tables, &options, self.keep)
        } else {
            reference::sas_attention(own_q, own_k, own_v, &own, tables, &options)
        };
        let dy = tensor(
            &gpu::rounded(numbers.values(y.shape().num_elements(), 1.0), rounded),
            y.dims(),
            device,
            dtype,
        );
        let gradients = self.rows.weighted_sum(y.clone(), dy).backward();
        let mut all = vec![("output", read(y.inner()))];
        for (name, x) in [("dq", &q), ("dk", &k), ("dv", &v)] {
            all.push((name, read(x.grad(&gradients).unwrap())));
        }
        for e in [&weights.q, &weights.k, &weights.v] {
            if let Some(s) = &e.heads {
                let of = [&s.first_bias, &s.second_bias];
                let [first, second] = of.map(|x| read(x.grad(&gradients).unwrap()));
                all.push((
                    "first head weight",
                    read(s.first_weight.grad(&gradients).unwrap()),
                ));
                all.push(("first head bias", first));
                all.push((
                    "second head weight",
                    read(s.second_weight.grad(&gradients).unwrap()),
                ));
                all.push(("second head bias", second));
            }
            if let Some(s) = &e.features {
                let of = [&s.first_bias, &s.second_bias];
                let [first, second] = of.map(|x| read(x.grad(&gradients).unwrap()));
                all.push((
                    "first feature weight",
                    read(s.first_weight.grad(&gradients).unwrap()),
                ));
                all.push(("first feature bias", first));
                all.push((
                    "second feature weight",
                    read(s.second_weight.grad(&gradients).unwrap()),
                ));
                all.push(("second feature bias", second));
            }
        }
        all
    }

    /// The weights with their rows lying as those of q, k and v do.
    fn lying(&self, weights: &SasWeights) -> SasWeights {
        let of = |expansion: &Expansion| {
            let bias = |x| self.rows.of::<1>(x);
            expansion.clone().map(
                |stage| stage.map(|x| self.rows.of::<3>(x), bias),
                |stage| stage.map(|x| self.rows.of::<2>(x), bias),
            )
        };
        SasWeights {
            q: of(&weights.q),
            k: of(&weights.k),
            v: of(&weights.v),
        }
    }

    #[track_caller]
    fn check(&self, device: &Device) -> f64 {
        // Where no rotation follows, the keys' last bias shifts all scores of a query alike: its
        // gradient is zero, and what rounding leaves is measured by a hundredth of the largest
        // gradient.
        let limit = match self.rope {
            RopePlacement::After => LIMIT,
            RopePlacement::Before | RopePlacement::None => 3.0 * LIMIT,
        };
        self.check_to(limit, device)
    }

    #[track_caller]
    fn check_to(&self, limit: f64, device: &Device) -> f64 {
        self.check_in(DType::F32, limit, device)
    }

    #[track_caller]
    fn check_in(&self, dtype: DType, limit: f64, device: &Device) -> f64 {
        let got = self.run(&device.clone().autodiff(), dtype, dtype, true);
        let exact = self.run(&Device::flex().autodiff(), dtype, DType::F64, false);
        let error = assert_near(&format!("{dtype:?} {self:?}"), &got, &exact, limit);
        println!("{error:.1e} {dtype:?} {self:?}");
        error
    }

    /// In the half-precision types that the device has; values near zero take the other branch of a
    /// ReLU more often there.
    #[track_caller]
    fn check_halves(&self, device: &Device) {
        for (dtype, limit) in HALF_LIMITS {
            if device.supports_dtype(dtype) {
                let relu = self.expansion.relu;
                self.check_in(dtype, if relu { 10.0 * limit } else { limit }, device);
            }
        }
    }
}

struct Leaves<'a> {
    numbers: &'a mut Numbers,
    device: &'a Device,
    rounded: DType,
    dtype: DType,
}

impl Leaves<'_> {
    fn leaf<const R: usize>(&mut self, shape: [usize; R], spread: f64) -> Tensor<R> {
        let values = self.numbers.values(shape.iter().product(), spread);
        let values = gpu::rounded(values, self.rounded);
        tensor(&values, shape, self.device, self.dtype).require_grad()
    }

    fn heads(&mut self, inputs: usize, outputs: usize, kernel: usize) -> HeadExpansion {
        HeadExpansion {
            first_weight: self.leaf([outputs, inputs, kernel], spread(inputs * kernel)),
            first_bias: self.leaf([outputs], 0.2),
            second_weight: self.leaf([outputs, outputs, kernel], 0.5 * spread(outputs * kernel)),
            second_bias: self.leaf([outputs], 0.2),
        }
    }

    fn features(&mut self, inputs: usize, outputs: usize) -> FeatureExpansion {
        FeatureExpansion {
            first_weight: self.leaf([outputs, inputs], spread(inputs)),
            first_bias: self.leaf([outputs], 0.2),
            second_weight: self.leaf([outputs, outputs], 0.5 * spread(outputs)),
            second_bias: self.leaf([outputs], 0.2),
        }
    }
}

/// Keeps the expanded values near one whatever the sizes: scores of thousands would make every
/// gradient a matter of rounding.
fn spread(fan_in: usize) -> f64 {
    1.0 / (fan_in as f64).sqrt()
}

#[test]
fn the_usual_form_with_either_aggregation_and_every_placement() {
    let Some(device) = gpu::device() else { return };
    for aggregation in [Aggregation::Peaa, Aggregation::Full] {
        for rope in [
            RopePlacement::After,
            RopePlacement::Before,
            RopePlacement::None,
        ] {
            Case {
                aggregation,
                rope,
                ..Case::usual()
            }
            .check(&device);
        }
    }
}

#[test]
fn rows_with_room_between_them() {
    let Some(device) = gpu::device() else { return };
    let case = Case {
        rows: Rows::Padded,
        ..Case::usual()
    };
    case.check(&device);
    case.check_halves(&device);
}

#[test]
fn every_form_of_the_second_map() {
    let Some(device) = gpu::device() else { return };
    for residual in [true, false] {
        for relu in [true, false] {
            Case {
                expansion: ExpansionOptions { residual, relu },
                ..Case::usual()
            }
            .check(&device);
        }
    }
}

#[test]
fn any_subset_of_the_maps() {
    let Some(device) = gpu::device() else { return };
    for (q_heads, kv_heads, features) in [
        (true, true, false),
        (true, false, true),
        (true, false, false),
        (false, false, true),
        (false, false, false),
    ] {
        let heads = if q_heads { 2 } else { 6 };
        Case {
            heads,
            kv_heads: if kv_heads { 1 } else { 2 },
            stages: Stages {
                q_heads,
                kv_heads,
                features,
            },
            ..Case::usual()
        }
        .check(&device);
    }
}

#[test]
fn a_layer_of_the_published_size_on_few_tokens() {
    let Some(device) = gpu::device() else { return };
    // Among a million values in front of ReLUs, a few are so near zero that float32 takes the other
    // branch: without ReLUs the gradients agree as everywhere, with them as far as those few allow.
    for (relu, limit) in [(false, LIMIT), (true, 1e-3)] {
        Case {
            batch: 1,
            queries: 70,
            keys: 70,
            heads: 12,
            kv_heads: 12,
            expanded_heads: 36,
            head_dim: 64,
            expanded_head_dim: 96,
            kernel_size: 5,
            rotary_dim: 96,
            expansion: ExpansionOptions {
                relu,
                ..ExpansionOptions::default()
            },
            ..Case::usual()
        }
        .check_to(limit, &device);
    }
}

fn assert_that_what_is_kept_changes_no_bit(case: Case) {
    let Some(device) = gpu::device() else { return };
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        if dtype != DType::F32 && !device.supports_dtype(dtype) {
            continue;
        }
        let run = |keep| {
            let case = Case { keep, ..case };
            case.run(&device.clone().autodiff(), dtype, dtype, true)
        };
        let least = run(SasKeep::Inputs);
        for keep in [SasKeep::Outputs, SasKeep::Expansions] {
            assert!(run(keep) == least, "{dtype:?} {keep:?}");
        }
    }
}

#[test]
fn what_is_kept_changes_no_bit() {
    assert_that_what_is_kept_changes_no_bit(Case::usual());
}

#[test]
fn what_is_kept_changes_no_bit_of_even_sizes() {
    assert_that_what_is_kept_changes_no_bit(Case {
        queries: 7,
        keys: 7,
        expanded_heads: 4,
        head_dim: 16,
        expanded_head_dim: 32,
        rotary_dim: 32,
        ..Case::usual()
    });
}

#[test]
fn random_shapes() {
    let Some(device) = gpu::device() else { return };
    let mut worst = 0.0f64;
    for seed in 0..8 {
        let mut n = Numbers(seed);
        let heads = n.between(1, 4);
        let queries = n.between(1, 80);
        let head_dim = n.between(2, 30);
        let case = Case {
            batch: n.between(1, 2),
            queries,
            keys: queries + n.between(0, 70),
            heads,
            kv_heads: n.between(1, 3),
            expanded_heads: heads * n.between(1, 4),
            head_dim,
            expanded_head_dim: head_dim + n.between(0, 40),
            kernel_size: 2 * n.between(0, 3) + 1,
            rotary_dim: head_dim / 2 * 2,
            stages: ALL,
            window: n.flip().then(|| n.between(1, 60)),
            expansion: ExpansionOptions::default(),
            rope: RopePlacement::After,
            aggregation: Aggregation::Peaa,
            rows: Rows::EndToEnd,
            keep: SasKeep::Inputs,
        };
        worst = worst.max(case.check(&device));
    }
    println!("largest error {worst:.1e}");
}

#[test]
fn more_rows_than_one_slice_of_a_weight_gradient() {
    let Some(device) = gpu::device() else { return };
    Case {
        queries: 150,
        keys: 150,
        window: Some(20),
        ..Case::usual()
    }
    .check(&device);
}

#[test]
fn half_precision() {
    let Some(device) = gpu::device() else { return };
    let linear = ExpansionOptions {
        relu: false,
        ..ExpansionOptions::default()
    };
    let wide = Case {
        batch: 1,
        queries: 40,
        keys: 40,
        heads: 3,
        kv_heads: 3,
        expanded_heads: 18,
        head_dim: 20,
        expanded_head_dim: 36,
        kernel_size: 5,
        rotary_dim: 16,
        ..Case::usual()
    };
    for expansion in [linear, ExpansionOptions::default()] {
        Case {
            expansion,
            ..Case::usual()
        }
        .check_halves(&device);
        Case { expansion, ..wide }.check_halves(&device);
    }
    // More positions than a chunk of them; widths that are read one by one; a window of one.
    for (head_dim, kernel_size) in [(70, 3), (9, 7), (16, 1)] {
        Case {
            head_dim,
            expanded_head_dim: head_dim + 5,
            kernel_size,
            // All of it turned: what is not makes gradients of the keys' biases that are zero but
            // for rounding.
            rotary_dim: (head_dim + 5) / 2 * 2,
            expansion: linear,
            ..Case::usual()
        }
        .check_halves(&device);
    }
}

#[test]
fn half_precision_at_the_published_size() {
    let Some(device) = gpu::device() else { return };
    Case {
        batch: 1,
        queries: 24,
        keys: 24,
        heads: 12,
        kv_heads: 12,
        expanded_heads: 36,
        head_dim: 64,
        expanded_head_dim: 96,
        kernel_size: 5,
        rotary_dim: 96,
        expansion: ExpansionOptions {
            relu: false,
            ..ExpansionOptions::default()
        },
        ..Case::usual()
    }
    .check_halves(&device);
}

/// Sizes that NVIDIA's tensor cores take.
#[test]
fn half_precision_of_even_sizes() {
    let Some(device) = gpu::device() else { return };
    let heads_only = Case {
        queries: 13,
        keys: 13,
        heads: 4,
        expanded_heads: 8,
        head_dim: 16,
        rotary_dim: 16,
        stages: Stages {
            features: false,
            ..ALL
        },
        ..Case::usual()
    };
    let both = Case {
        head_dim: 32,
        expanded_head_dim: 48,
        kernel_size: 5,
        rotary_dim: 48,
        stages: ALL,
        ..heads_only
    };
    for residual in [true, false] {
        for relu in [false, true] {
            let expansion = ExpansionOptions { residual, relu };
            Case {
                expansion,
                ..heads_only
            }
            .check_halves(&device);
            Case { expansion, ..both }.check_halves(&device);
        }
    }
    let linear = ExpansionOptions {
        relu: false,
        ..ExpansionOptions::default()
    };
    // Heads that no product divides, a window of one, and a rotation that no thread has both features
    // of.
    Case {
        batch: 1,
        queries: 7,
        keys: 9,
        heads: 3,
        kv_heads: 2,
        expanded_heads: 9,
        head_dim: 48,
        expanded_head_dim: 64,
        kernel_size: 1,
        rotary_dim: 40,
        expansion: linear,
        ..Case::usual()
    }
    .check_halves(&device);
}
