//! Attention, and simulated attention.

use burn::tensor::DType;
use simattn_kernels::ops;
use simattn_kernels::reference::{
    Aggregation, AttentionOptions, Expansion, ExpansionOptions, FeatureExpansion, HeadExpansion,
    RopePlacement, RopeTable, SasOptions, SasWeights,
};

use super::{Call, TOKENS};

pub fn attention(call: &mut Call) {
    let causal = AttentionOptions::causal(64);
    let windowed = AttentionOptions {
        window: Some(40),
        offset: 20,
        ..causal
    };
    let whole = AttentionOptions {
        causal: false,
        ..causal
    };
    // Widths of q and k, and of v: as published, expanded, narrow, wide, and such as no tile
    // divides.
    for (width, value_width, heads) in [
        (64, 64, 4),
        (96, 64, 2),
        (16, 16, 2),
        (128, 128, 2),
        (20, 7, 2),
    ] {
        for options in [causal, windowed, whole] {
            let q = call.leaf([1, 4, TOKENS, width]);
            let k = call.leaf([1, heads, TOKENS + options.offset, width]);
            let v = call.leaf([1, heads, TOKENS + options.offset, value_width]);
            let y = ops::attention(q, k, v, &options);
            call.backward(y);
        }
    }
}

/// Sizes of one call of simulated attention.
struct Simulated {
    heads: usize,
    kv_heads: usize,
    expanded_heads: usize,
    width: usize,
    expanded_width: usize,
    taps: usize,
}

impl Simulated {
    fn launch(&self, call: &mut Call, of_heads: bool, of_features: bool, options: SasOptions) {
        let Self {
            heads,
            kv_heads,
            width,
            ..
        } = *self;
        let mut expansion = |inputs, features| Expansion {
            heads: of_heads.then(|| self.head_maps(call, inputs)),
            features: (of_features && features).then(|| self.feature_maps(call)),
        };
        let weights = SasWeights {
            q: expansion(heads, true),
            k: expansion(kv_heads, true),
            v: expansion(kv_heads, false),
        };
        let q = call.leaf([2, TOKENS, heads, width]);
        let [k, v] = [0, 1].map(|_| call.leaf([2, TOKENS, kv_heads, width]));
        let table = RopeTable::new(TOKENS, 0, width, 1e4, call.device, DType::F32);
        let y = ops::sas_attention(q, k, v, &weights, Some((&table, &table)), &options);
        call.backward(y);
    }

    fn head_maps(&self, call: &mut Call, inputs: usize) -> HeadExpansion {
        let outputs = self.expanded_heads;
        HeadExpansion {
            first_weight: call.leaf([outputs, inputs, self.taps]),
            first_bias: call.leaf([outputs]),
            second_weight: call.leaf([outputs, outputs, self.taps]),
            second_bias: call.leaf([outputs]),
        }
    }

    fn feature_maps(&self, call: &mut Call) -> FeatureExpansion {
        let (inputs, outputs) = (self.width, self.expanded_width);
        FeatureExpansion {
            first_weight: call.leaf([outputs, inputs]),
            first_bias: call.leaf([outputs]),
            second_weight: call.leaf([outputs, outputs]),
            second_bias: call.leaf([outputs]),
        }
    }
}

pub fn simulated_attention(call: &mut Call) {
    let published = Simulated {
        heads: 12,
        kv_heads: 12,
        expanded_heads: 36,
        width: 64,
        expanded_width: 96,
        taps: 5,
    };
    let options = SasOptions {
        attention: AttentionOptions::causal(96),
        expansion: ExpansionOptions::default(),
        rope: RopePlacement::After,
        aggregation: Aggregation::Peaa,
    };
    published.launch(call, true, true, options);
    // Sizes that tensor cores take, with every form of the maps.
    let even = Simulated {
        heads: 4,
        kv_heads: 1,
        expanded_heads: 8,
        width: 64,
        expanded_width: 96,
        taps: 3,
    };
    for (residual, relu) in [(true, false), (false, true), (false, false)] {
        let expansion = ExpansionOptions { residual, relu };
        let options = SasOptions {
            expansion,
            ..options
        };
        even.launch(call, true, true, options);
    }
    even.launch(call, true, false, options);
    let small = Simulated {
        heads: 2,
        kv_heads: 1,
        expanded_heads: 6,
        width: 8,
        expanded_width: 12,
        taps: 3,
    };
    for (rope, aggregation) in [
        (RopePlacement::Before, Aggregation::Full),
        (RopePlacement::None, Aggregation::Peaa),
    ] {
        let options = SasOptions {
            rope,
            aggregation,
            ..options
        };
        small.launch(call, true, true, options);
    }
    for (residual, relu) in [(true, false), (false, true), (false, false)] {
        let expansion = ExpansionOptions { residual, relu };
        let options = SasOptions {
            expansion,
            ..options
        };
        small.launch(call, true, true, options);
    }
    small.launch(call, true, false, options);
    small.launch(call, false, true, options);
}
