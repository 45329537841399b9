//! Small models of every variant and ablation, for tests.

use serde_json::{Value, json};
use simattn::{AttentionConfig, ModelConfig};

/// Every variant and every ablation of SAS by name, at width 24.
pub fn attentions() -> Vec<(&'static str, AttentionConfig)> {
    let sas = |changes: Value| {
        let mut sas = json!({ "kind": "sas", "heads": 3, "head_dim": 8, "expanded_heads": 6,
                              "expanded_head_dim": 12, "kernel_size": 3 });
        for (key, value) in changes.as_object().expect("an object") {
            sas[key] = value.clone();
        }
        sas
    };
    [
        ("mha", json!({ "kind": "mha", "heads": 3, "head_dim": 8 })),
        (
            "mha partly rotated",
            json!({ "kind": "mha", "heads": 3, "head_dim": 8, "rotary_dim": 4 }),
        ),
        (
            "gqa",
            json!({ "kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 6 }),
        ),
        ("mqa", json!({ "kind": "mqa", "heads": 5, "head_dim": 8 })),
        (
            "mla",
            json!({ "kind": "mla", "heads": 3, "nope_head_dim": 8, "rope_head_dim": 4,
                        "value_head_dim": 6, "query_rank": 10, "kv_rank": 7 }),
        ),
        (
            "tpa",
            json!({ "kind": "tpa", "heads": 5, "head_dim": 8, "query_rank": 3, "kv_rank": 2 }),
        ),
        (
            "tpa kv-only",
            json!({ "kind": "tpa", "heads": 5, "head_dim": 8, "kv_rank": 2 }),
        ),
        (
            "mfa",
            json!({ "kind": "mfa", "heads": 5, "head_dim": 8, "query_rank": 9 }),
        ),
        ("sas", sas(json!({}))),
        ("sas linear", sas(json!({ "kernel_size": 1 }))),
        ("sas wide kernel", sas(json!({ "kernel_size": 7 }))),
        (
            "sas heads only",
            sas(json!({ "expand_features": false, "expanded_head_dim": 8 })),
        ),
        (
            "sas features only",
            sas(json!({ "expand_heads": false, "expanded_heads": 3 })),
        ),
        ("sas shared kv", sas(json!({ "kv_heads": 1 }))),
        (
            "sas shared kv, features only",
            sas(json!({ "kv_heads": 1, "expand_heads": false, "expanded_heads": 3 })),
        ),
        ("sas without residual", sas(json!({ "residual": false }))),
        ("sas without relu", sas(json!({ "relu": false }))),
        ("sas full projection", sas(json!({ "aggregation": "full" }))),
        ("sas rope before", sas(json!({ "rope": "before" }))),
        ("sas no rope", sas(json!({ "rope": "none" }))),
        ("sas partly rotated", sas(json!({ "rotary_dim": 8 }))),
    ]
    .into_iter()
    .map(|(name, config)| {
        (
            name,
            serde_json::from_value(config).expect("a valid attention"),
        )
    })
    .collect()
}

/// A small model of each, in both styles.
pub fn models() -> Vec<(String, ModelConfig)> {
    attentions()
        .into_iter()
        .flat_map(|(name, attention)| {
            let mut neox = ModelConfig::neox(16, 2, 24, attention.clone());
            neox.vocabulary = 31;
            let mut llama = ModelConfig::llama(16, 2, 24, attention);
            llama.vocabulary = 31;
            // Zero output projections would hide everything before them.
            llama.init = simattn::Init::Small;
            [
                (format!("{name}, neox"), neox),
                (format!("{name}, llama"), llama),
            ]
        })
        .collect()
}
