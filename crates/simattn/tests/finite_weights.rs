//! Weights that are NaN or infinite are said by name wherever a model is read or written, and
//! scores that overflow wherever one is used.

use std::collections::BTreeMap;
use std::fs;

use burn::tensor::Device;
use serde_json::{Value, json};
use simattn::checkpoint::{self, CheckpointError, NamedTensor};
use simattn::generate::{GenerateError, greedy};
use simattn::huggingface::{FloatType, HuggingFaceError, export, import};
use simattn::upcycle::{Upcycle, UpcycleError, upcycle};
use simattn::{Decoder, ModelConfig};

fn config() -> ModelConfig {
    serde_json::from_value(
        json!({ "vocabulary": 20, "context": 16, "layers": 1, "width": 16,
        "norm": "rms", "mlp": "swiglu", "bias": false,
        "attention": { "kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 4 } }),
    )
    .expect("a configuration")
}

/// A model with `value` at place 3 of the tensor `name`.
fn with(name: &str, value: f32) -> Decoder {
    changed(|tensor| {
        if tensor.name == name {
            tensor.values[3] = value;
        }
    })
}

/// A model whose tensors were changed.
fn changed(change: impl Fn(&mut NamedTensor)) -> Decoder {
    let model = Decoder::new(&config(), 5, &Device::flex()).expect("a model");
    let mut tensors = checkpoint::tensors(&model);
    tensors.iter_mut().for_each(change);
    let file = tempfile::NamedTempFile::new().expect("a temporary file");
    checkpoint::write(file.path(), &tensors, &BTreeMap::new()).expect("it is writable");
    checkpoint::load(&config(), file.path(), &Device::flex()).expect("what was written")
}

const UP: &str = "layers.0.mlp.up.weight";

fn upcycling(noise: f64) -> Upcycle {
    Upcycle {
        expanded_heads: 8,
        expanded_head_dim: 6,
        kernel_size: 3,
        noise,
        seed: 1,
    }
}

#[test]
fn a_nan_weight_is_named_when_a_model_is_opened_for_use_and_kept_when_a_run_goes_on() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    let names: Vec<String> = checkpoint::tensors(&with("", 0.0))
        .into_iter()
        .map(|tensor| tensor.name)
        .collect();
    for name in &names {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let model = with(name, value);
            let tensors = checkpoint::tensors(&model);
            checkpoint::write(&path, &tensors, &BTreeMap::new()).expect("it is writable");
            let error = checkpoint::load_finite(&config(), &path, &Device::flex());
            let line = error.expect_err("it is not finite").to_string();
            assert!(
                line.contains(&format!(
                    "tensor `{name}` holds values that are not finite (1 of"
                )),
                "{line}"
            );
            assert!(line.contains("model.safetensors"), "{line}");
            // A run that diverged continues from its own bits, whatever they are.
            let again = checkpoint::load(&config(), &path, &Device::flex()).expect("bits");
            let bits = |model: &Decoder| -> Vec<u32> {
                let tensors = checkpoint::tensors(model);
                tensors
                    .iter()
                    .flat_map(|t| t.values.iter().map(|x| x.to_bits()))
                    .collect()
            };
            assert_eq!(bits(&again), bits(&model));
        }
    }
}

#[test]
fn a_nan_weight_is_not_saved_exported_or_upcycled() {
    let model = with(UP, f32::NAN);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    let error = checkpoint::save(&model, &path, &BTreeMap::new()).expect_err("not finite");
    assert!(
        matches!(&error, CheckpointError::Broken(found) if found.name == UP),
        "{error}"
    );
    assert!(!path.exists());
    for float in [FloatType::F32, FloatType::F16, FloatType::Bf16] {
        let error = export(&model, 0, float).expect_err("not finite");
        assert!(matches!(error, HuggingFaceError::Broken(_)), "{error}");
        assert!(error.to_string().contains("mlp.up_proj.weight"), "{error}");
    }
    let error = upcycle(&model, &upcycling(0.0)).expect_err("not finite");
    assert!(
        matches!(&error, UpcycleError::NotFinite(found) if found.name == UP),
        "{error}"
    );
}

#[test]
fn noise_that_overflows_makes_no_model() {
    let model = with("", 0.0);
    let error = upcycle(&model, &upcycling(1e300)).expect_err("noise beyond float32");
    assert!(error.to_string().contains("expand_"), "{error}");
    assert!(upcycle(&model, &upcycling(0.005)).is_ok());
}

#[test]
fn a_weight_that_rounds_to_infinity_is_not_exported() {
    for (value, float, named) in [
        (f32::MAX, FloatType::Bf16, "bfloat16"),
        (-3.4e38, FloatType::Bf16, "bfloat16"),
        (7e4, FloatType::F16, "float16"),
    ] {
        let model = with(UP, value);
        let line = export(&model, 0, float)
            .expect_err("beyond the type")
            .to_string();
        assert!(line.contains(named) && line.contains("up_proj"), "{line}");
        assert!(export(&model, 0, FloatType::F32).is_ok());
    }
}

/// Rewrites one number of a tensor in a folder.
fn poison(folder: &std::path::Path, name: &str, bytes: &[u8]) {
    let path = folder.join("model.safetensors");
    let mut file = fs::read(&path).expect("a file");
    let length = u64::from_le_bytes(file[..8].try_into().expect("eight bytes")) as usize;
    let header: Value = serde_json::from_slice(&file[8..8 + length]).expect("a header");
    let start = header[name]["data_offsets"][0].as_u64().expect("its place") as usize;
    let at = 8 + length + start + bytes.len();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    fs::write(path, file).expect("a small file");
}

#[test]
fn a_nan_weight_is_not_imported_in_any_type_or_family() {
    let forms = [
        (json!({}), "model.layers.0.self_attn.k_proj.weight"),
        (
            json!({ "parallel_residual": true }),
            "layers.0.attention.k.weight",
        ),
        (
            json!({ "norm": "layer", "mlp": "gelu", "bias": true, "parallel_residual": true,
                    "attention": { "kind": "mha", "heads": 4, "head_dim": 4 } }),
            "gpt_neox.layers.0.attention.query_key_value.weight",
        ),
        (
            json!({ "norm": "layer", "mlp": "gelu_tanh", "bias": true, "positions": "learned",
                    "attention": { "kind": "mha", "heads": 4, "head_dim": 4 } }),
            "transformer.h.0.attn.c_attn.bias",
        ),
    ];
    for (form, name) in forms {
        let mut changed = serde_json::to_value(config()).expect("JSON");
        let form = form.as_object().expect("an object").clone();
        changed.as_object_mut().expect("an object").extend(form);
        let config: ModelConfig = serde_json::from_value(changed).expect("a configuration");
        let model = Decoder::new(&config, 5, &Device::flex()).expect("a model");
        for (float, bytes) in [
            (FloatType::F32, f32::NAN.to_le_bytes().to_vec()),
            (FloatType::F32, f32::NEG_INFINITY.to_le_bytes().to_vec()),
            (FloatType::F16, 0x7c01u16.to_le_bytes().to_vec()),
            (FloatType::Bf16, 0x7f80u16.to_le_bytes().to_vec()),
        ] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            for (file, contents) in export(&model, 0, float).expect("it is writable").files {
                fs::write(folder.path().join(file), contents).expect("a small file");
            }
            poison(folder.path(), name, &bytes);
            let error = import(folder.path(), &Device::flex()).expect_err(name);
            let line = error.to_string();
            assert!(
                line.contains(&format!(
                    "tensor `{name}` holds values that are not finite (1 of"
                )),
                "{line}"
            );
            assert!(line.contains("model.safetensors"), "{line}");
        }
    }
}

#[test]
fn scores_that_overflow_choose_no_token() {
    let large = changed(|tensor| {
        if tensor.name == "head" {
            tensor.values.fill(f32::MAX);
        }
    });
    let error = greedy(&large, &[1, 2, 3], 4, None, |_| panic!("nothing is chosen"));
    assert_eq!(error, Err(GenerateError::NotFinite { tokens: 3 }));
    let line = GenerateError::NotFinite { tokens: 3 }.to_string();
    assert!(line.contains("not finite"), "{line}");
}

#[test]
fn a_configuration_far_beyond_its_weights_takes_no_memory() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("model.safetensors");
    checkpoint::save(&with("", 0.0), &path, &BTreeMap::new()).expect("it is writable");
    let huge = ModelConfig {
        width: 1 << 20,
        layers: 1 << 20,
        ..config()
    };
    let error = checkpoint::load(&huge, &path, &Device::flex()).expect_err("far too large");
    assert!(matches!(error, CheckpointError::Size { .. }), "{error}");
}
