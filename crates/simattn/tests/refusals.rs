//! Configurations and weight files that must be refused, each with one clear line.

use std::{collections::BTreeMap, fs};

use burn::tensor::Device;
use serde_json::{Value, json};
use simattn::{
    Decoder, ModelConfig,
    checkpoint::{self, CheckpointError},
};

fn model(changes: Value) -> Result<ModelConfig, String> {
    let mut config = json!({ "vocabulary": 20, "context": 8, "layers": 1, "width": 16,
        "attention": { "kind": "sas", "heads": 2, "head_dim": 8, "expanded_heads": 6,
                       "expanded_head_dim": 12, "kernel_size": 3 } });
    merge(&mut config, &changes);
    let config: ModelConfig = serde_json::from_value(config).map_err(|e| e.to_string())?;
    config.validate().map_err(|e| e.to_string())?;
    Ok(config)
}

fn merge(into: &mut Value, changes: &Value) {
    for (key, value) in changes.as_object().expect("an object") {
        match value {
            Value::Object(_) if into[key].is_object() && value.get("kind").is_none() => {
                merge(&mut into[key], value);
            }
            _ => into[key] = value.clone(),
        }
    }
}

#[test]
fn impossible_models_are_named() {
    assert!(model(json!({})).is_ok());
    let cases = [
        (
            json!({ "attention": { "kernel_size": 4 } }),
            "kernel_size = 4",
        ),
        (
            json!({ "attention": { "kernel_size": 0 } }),
            "kernel_size = 0",
        ),
        (
            json!({ "attention": { "expanded_heads": 5 } }),
            "expanded_heads = 5",
        ),
        (
            json!({ "attention": { "rotary_dim": 14 } }),
            "rotary_dim = 14",
        ),
        (
            json!({ "attention": { "rotary_dim": 3 } }),
            "rotary_dim = 3",
        ),
        (json!({ "attention": { "expanded_head_dim": 11 } }), "= 11"),
        (
            json!({ "attention": { "expand_features": false } }),
            "expanded_head_dim = 12",
        ),
        (
            json!({ "attention": { "expand_heads": false } }),
            "expanded_heads = 6",
        ),
        (
            json!({ "attention": { "rope": "none", "rotary_dim": 4 } }),
            "rotary_dim = 4",
        ),
        (
            json!({ "attention": { "kernel": 3 } }),
            "unknown field `kernel`",
        ),
        (
            json!({ "attention": { "rope_base": -1.0 } }),
            "rope_base = -1",
        ),
        (
            json!({ "attention": { "kind": "gqa", "heads": 4, "kv_heads": 3, "head_dim": 4 } }),
            "heads = 4",
        ),
        (
            json!({ "attention": { "kind": "mha", "heads": 0, "head_dim": 4 } }),
            "heads = 0",
        ),
        (
            json!({ "attention": { "kind": "mha", "heads": 2, "head_dim": 5 } }),
            "= 5",
        ),
        (json!({ "attention": { "kind": "xyz", "heads": 2 } }), "xyz"),
        (json!({ "layers": 0 }), "layers = 0"),
        (json!({ "width": 0 }), "width = 0"),
        (json!({ "context": 99_999_999 }), "context = 99999999"),
        (json!({ "norm_epsilon": 0.0 }), "norm_epsilon = 0"),
        // 4·C and 8·C do not fit a machine word: this once overflowed before it was refused.
        (
            json!({ "width": u64::MAX / 2 }),
            "model.width = 9223372036854775807",
        ),
        (
            json!({ "width": u64::MAX / 2, "mlp": "swiglu" }),
            "model.width = 9223372036854775807",
        ),
        (json!({ "layrs": 2 }), "unknown field `layrs`"),
    ];
    for (changes, named) in cases {
        let message = model(changes.clone()).expect_err(&changes.to_string());
        assert!(message.contains(named), "{changes}: {message}");
        assert!(!message.contains('\n'), "{changes}: {message}");
    }
    let mut empty = model(json!({})).unwrap();
    empty.vocabulary = 0;
    let message = Decoder::new(&empty, 1, &Device::flex())
        .unwrap_err()
        .to_string();
    assert!(message.contains("vocabulary"), "{message}");
}

#[test]
fn weights_come_back_bit_for_bit_and_strangers_are_refused() {
    let folder = std::env::temp_dir().join(format!("simattn-refusals-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("model.safetensors");
    let again = folder.join("again.safetensors");
    let device = Device::flex();
    let config = model(json!({})).unwrap();
    let saved = Decoder::new(&config, 1, &device).unwrap();
    checkpoint::save(&saved, &path, &BTreeMap::new()).unwrap();
    let loaded = checkpoint::load(&config, &path, &device).unwrap();
    checkpoint::save(&loaded, &again, &BTreeMap::new()).unwrap();
    assert_eq!(fs::read(&path).unwrap(), fs::read(&again).unwrap());

    let against = |changes| checkpoint::load(&model(changes).unwrap(), &path, &device).unwrap_err();
    let wider = against(json!({ "attention": { "expanded_head_dim": 14 } }));
    assert!(matches!(wider, CheckpointError::Shape { .. }), "{wider}");
    let deeper = against(json!({ "layers": 2 }));
    assert!(
        matches!(deeper, CheckpointError::Missing { .. }),
        "{deeper}"
    );
    let tied = against(json!({ "tied": true }));
    assert!(matches!(tied, CheckpointError::Unexpected { .. }), "{tied}");
    let missing = checkpoint::load(&config, &folder.join("none"), &device).unwrap_err();
    assert!(matches!(missing, CheckpointError::Io { .. }), "{missing}");

    let whole = fs::read(&path).unwrap();
    let mut huge = whole.clone();
    huge[..8].copy_from_slice(&(1u64 << 63).to_le_bytes());
    for broken in [
        &whole[..whole.len() - 1],
        &whole[..40],
        &whole[..3],
        &[],
        &huge,
    ] {
        fs::write(&again, broken).unwrap();
        let error = checkpoint::load(&config, &again, &device).unwrap_err();
        assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
