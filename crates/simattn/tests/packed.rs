//! Sequences that begin alike give the same states whether what they share is computed once or for
//! each.

use burn::tensor::{Device, Int, Tensor, TensorData};
use serde_json::json;
use simattn::{Decoder, ModelConfig, Packed, Positions};

const SEQUENCES: [&[u32]; 6] = [
    &[1, 2, 3, 4, 5],
    &[1, 2, 3, 4, 6, 7, 8],
    &[1, 2, 3],
    &[1, 2, 3],
    &[9, 1],
    &[9, 1, 1, 2, 3, 4, 5, 6, 7],
];

fn check(name: &str, config: &ModelConfig) {
    let device = Device::flex();
    let decoder = Decoder::new(config, 11, &device).unwrap();
    let mut packed = Packed::new();
    for ids in SEQUENCES {
        packed.push(ids);
    }
    // 5, then 3 behind a shared 4, then nothing new twice, then 2, then 7.
    assert_eq!(
        (packed.tokens(), packed.sequences(), packed.longest()),
        (17, 6, 9)
    );
    let states = decoder.hidden_packed(&packed);
    assert_eq!(states.dims(), [17, config.width]);
    let states: Vec<f32> = states.into_data().iter::<f32>().collect();
    for (sequence, ids) in SEQUENCES.iter().enumerate() {
        let data: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        let input = Tensor::<2, Int>::from_data(TensorData::new(data, [1, ids.len()]), &device);
        let whole: Vec<f32> = decoder.hidden(input).into_data().iter::<f32>().collect();
        for (place, expected) in whole.chunks(config.width).enumerate() {
            let row = packed.row(sequence, place) * config.width;
            for (found, expected) in states[row..row + config.width].iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{name}: {found} {expected}"
                );
            }
        }
    }
}

#[test]
fn every_variant_computes_shared_tokens_once() {
    for (name, attention) in [
        ("mha", json!({"kind": "mha", "heads": 2, "head_dim": 8})),
        (
            "gqa",
            json!({"kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 8}),
        ),
        ("mqa", json!({"kind": "mqa", "heads": 2, "head_dim": 8})),
        (
            "sas",
            json!({"kind": "sas", "heads": 2, "head_dim": 8, "expanded_heads": 6, "expanded_head_dim": 12, "kernel_size": 3}),
        ),
        (
            "sas before",
            json!({"kind": "sas", "heads": 2, "head_dim": 8, "expanded_heads": 6, "expanded_head_dim": 12, "kernel_size": 3, "rope": "before"}),
        ),
        (
            "mla",
            json!({"kind": "mla", "heads": 2, "query_rank": 8, "kv_rank": 8, "nope_head_dim": 8, "rope_head_dim": 4, "value_head_dim": 8}),
        ),
        (
            "tpa",
            json!({"kind": "tpa", "heads": 2, "head_dim": 8, "query_rank": 2, "kv_rank": 2}),
        ),
        (
            "mfa",
            json!({"kind": "mfa", "heads": 2, "head_dim": 8, "query_rank": 8}),
        ),
    ] {
        let attention: simattn::AttentionConfig =
            serde_json::from_value(attention).unwrap_or_else(|error| panic!("{name}: {error}"));
        let config = ModelConfig {
            vocabulary: 10,
            ..ModelConfig::neox(16, 2, 16, attention.clone())
        };
        check(name, &config);
        let config = ModelConfig {
            vocabulary: 10,
            positions: Positions::Learned,
            ..ModelConfig::neox(16, 2, 16, attention)
        };
        if config.validate().is_ok() {
            check(&format!("{name} with learned positions"), &config);
        }
    }
}
