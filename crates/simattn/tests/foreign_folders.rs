//! Folders from outside that must be refused, each with one clear line.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use simattn::huggingface::{Family, FloatType, export, import, weight_bytes};
use simattn::{Decoder, ModelConfig};

fn config(changes: Value) -> ModelConfig {
    let mut config = json!({ "vocabulary": 20, "context": 16, "layers": 2, "width": 16,
        "norm": "rms", "mlp": "swiglu", "bias": false,
        "attention": { "kind": "gqa", "heads": 4, "kv_heads": 2, "head_dim": 4 } });
    let changes = changes.as_object().expect("an object").clone();
    config.as_object_mut().expect("an object").extend(changes);
    serde_json::from_value(config).expect("a configuration")
}

/// Writes a freshly drawn model's folder.
fn write(changes: Value, folder: &Path) -> Decoder {
    let model = Decoder::new(&config(changes), 5, &Device::flex()).expect("a model");
    let written = export(&model, 0, FloatType::F32).expect("it is writable");
    fs::create_dir_all(folder).expect("a folder");
    for (name, contents) in written.files {
        fs::write(folder.join(name), contents).expect("a small file");
    }
    model
}

fn refusal(folder: &Path) -> String {
    let error = import(folder, &Device::flex()).expect_err("it must be refused");
    let line = error.to_string();
    assert!(!line.contains('\n'), "{line}");
    line
}

/// The header of a safetensors file, and its data.
fn parts(file: &[u8]) -> (serde_json::Map<String, Value>, Vec<u8>) {
    let (length, rest) = file.split_at(8);
    let length = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
    let header = serde_json::from_slice(&rest[..length]).expect("a header");
    (header, rest[length..].to_vec())
}

fn joined(header: &serde_json::Map<String, Value>, data: &[u8]) -> Vec<u8> {
    let header = serde_json::to_vec(header).expect("JSON");
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}

#[test]
fn every_family_comes_back() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let neox = json!({ "kind": "mha", "heads": 4, "head_dim": 4, "rotary_dim": 2 });
    let plain = json!({ "kind": "mha", "heads": 4, "head_dim": 4 });
    let sas = json!({ "kind": "sas", "heads": 2, "head_dim": 8, "expanded_heads": 6,
                      "expanded_head_dim": 12, "kernel_size": 3 });
    let forms = [
        (Family::Llama, json!({})),
        (
            Family::Llama,
            json!({ "bias": true, "tied": true, "rope_scaling": { "kind": "llama3", "factor": 8.0, "low_frequency_factor": 1.0, "high_frequency_factor": 4.0, "original_context": 8 } }),
        ),
        (Family::Qwen2, json!({ "qkv_bias": true })),
        (Family::Qwen3, json!({ "qk_norm": true })),
        (
            Family::GptNeoX,
            json!({ "norm": "layer", "mlp": "gelu", "bias": true, "parallel_residual": true, "attention": neox }),
        ),
        (
            Family::Gpt2,
            json!({ "norm": "layer", "mlp": "gelu_tanh", "bias": true, "positions": "learned", "attention": plain }),
        ),
        (Family::Simattn, json!({ "parallel_residual": true })),
        (Family::Simattn, json!({ "attention": sas, "tied": true })),
    ];
    for (n, (family, form)) in forms.into_iter().enumerate() {
        let place = folder.path().join(n.to_string());
        let model = write(form.clone(), &place);
        let found = import(&place, &Device::flex()).expect("what was written is readable");
        assert_eq!(found.family, family, "{form}");
        let tensors = simattn::checkpoint::tensors;
        assert_eq!(tensors(&model), tensors(&found.decoder), "{form}");
        let mut expected = model.config().clone();
        // Not part of the function: a default that is written out, and how weights were drawn.
        expected.mlp_width = found.decoder.config().mlp_width;
        expected.init = found.decoder.config().init;
        if family != Family::Simattn {
            assert_eq!(expected.mlp_width(), model.config().mlp_width());
        }
        assert_eq!(&expected, found.decoder.config(), "{form}");
    }
}

#[test]
fn fields_that_are_not_understood_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(json!({}), folder.path());
    let path = folder.path().join("config.json");
    let original: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    let cases = [
        ("model_type", json!("bloom"), "bloom"),
        ("model_type", Value::Null, "model_type"),
        ("model_type", json!(7), "model_type"),
        (
            "architectures",
            json!(["LlamaForSequenceClassification"]),
            "architectures",
        ),
        ("auto_map", json!({ "AutoModel": "evil.Model" }), "auto_map"),
        (
            "quantization_config",
            json!({ "bits": 4 }),
            "quantization_config",
        ),
        ("logit_scale", json!(2.0), "logit_scale"),
        ("hidden_act", json!("relu"), "hidden_act"),
        ("hidden_size", json!("many"), "hidden_size"),
        ("hidden_size", json!(-16), "hidden_size"),
        ("hidden_size", json!(1.5e300), "hidden_size"),
        ("hidden_size", Value::Null, "hidden_size"),
        ("num_hidden_layers", json!(0), "layers"),
        ("num_hidden_layers", json!(16_000_000), "layers.2."),
        ("num_hidden_layers", json!(1), "layers.1."),
        ("num_attention_heads", json!(0), "heads"),
        ("num_key_value_heads", json!(3), "kv_heads"),
        ("head_dim", json!(1 << 20), "q_proj"),
        ("vocab_size", json!(0), "vocab_size"),
        ("vocab_size", json!(2_000_000_000), "embed_tokens"),
        ("rms_norm_eps", json!(-1.0), "norm_epsilon"),
        ("rms_norm_eps", Value::Null, "rms_norm_eps"),
        ("attention_bias", json!(true), "q_proj.bias"),
        ("tie_word_embeddings", json!(true), "lm_head"),
        ("rope_theta", json!(0), "rope_base"),
        (
            "rope_scaling",
            json!({ "rope_type": "yarn", "factor": 2.0 }),
            "yarn",
        ),
        ("rope_scaling", json!({ "type": "linear" }), "factor"),
        (
            "rope_scaling",
            json!({ "type": "linear", "factor": 2.0, "beta": 1 }),
            "rope_parameters.beta",
        ),
        (
            "layer_types",
            json!(["full_attention", "sliding_attention"]),
            "layer_types",
        ),
    ];
    for (field, value, needle) in cases {
        let mut changed = original.clone();
        changed[field] = value.clone();
        fs::write(&path, changed.to_string()).expect("a small file");
        let line = refusal(folder.path());
        let needle = needle.replace("rope_parameters.beta", "rope_scaling.beta");
        assert!(line.contains(&needle), "{field} = {value}: {line}");
    }
    for text in ["", "[]", "{", "null", "{\"model_type\": \"llama\"}"] {
        fs::write(&path, text).expect("a small file");
        assert!(refusal(folder.path()).contains("config.json"), "{text}");
    }
    fs::remove_file(&path).expect("it is there");
    assert!(refusal(folder.path()).contains("config.json is missing"));
}

#[test]
fn windows_are_refused_where_they_are_in_use() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(json!({ "qkv_bias": true, "context": 64 }), folder.path());
    let path = folder.path().join("config.json");
    let original: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    for (window, used, taken) in [
        (json!(32), true, false),
        (json!(64), true, true),
        (json!(32), false, true),
        (Value::Null, true, true),
    ] {
        let mut changed = original.clone();
        changed["sliding_window"] = window.clone();
        changed["use_sliding_window"] = json!(used);
        fs::write(&path, changed.to_string()).expect("a small file");
        if taken {
            import(folder.path(), &Device::flex()).expect("no window is in use");
        } else {
            assert!(
                refusal(folder.path()).contains("sliding_window"),
                "{window}"
            );
        }
    }
}

#[test]
fn damaged_and_foreign_weights_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(json!({}), folder.path());
    let path = folder.path().join("model.safetensors");
    let whole = fs::read(&path).expect("a file");
    let (header, data) = parts(&whole);
    let put = |file: &[u8]| {
        fs::write(&path, file).expect("a small file");
        refusal(folder.path())
    };

    for length in [0, 7, 8, 100, whole.len() - 1] {
        assert!(
            put(&whole[..length]).contains("not a complete safetensors"),
            "{length}"
        );
    }
    assert!(put(&[whole.clone(), vec![0]].concat()).contains("not a complete"));
    for length in [1_u64 << 63, u64::MAX, 100_000_001, whole.len() as u64] {
        let mut file = whole.clone();
        file[..8].copy_from_slice(&length.to_le_bytes());
        assert!(
            put(&file).contains("not a complete safetensors"),
            "{length}"
        );
    }

    let changed = |name: &str, field: &str, value: Value| {
        let mut header = header.clone();
        header[name][field] = value;
        joined(&header, &data)
    };
    let norm = "model.norm.weight";
    assert!(put(&changed(norm, "shape", json!([4, 4]))).contains("[4, 4]"));
    assert!(
        put(&changed(norm, "shape", json!([usize::MAX, usize::MAX]))).contains("not a complete")
    );
    assert!(put(&changed(norm, "shape", json!([8]))).contains("not a complete"));
    assert!(put(&changed(norm, "dtype", json!("I32"))).contains("I32"));
    assert!(put(&changed(norm, "dtype", json!("F99"))).contains("not a complete"));
    assert!(put(&changed(norm, "data_offsets", json!([0, 64]))).contains("not a complete"));
    assert!(put(&changed(norm, "data_offsets", json!([64, 0]))).contains("not a complete"));

    let renamed = |from: &str, to: &str| {
        let mut header = header.clone();
        let entry = header.remove(from).expect("it is there");
        header.insert(to.into(), entry);
        joined(&header, &data)
    };
    assert!(put(&renamed(norm, "model.norms.weight")).contains("`model.norm.weight` is missing"));
    // A bias that nobody asked for, by its own name.
    let mut more = header.clone();
    more.insert(
        "model.norm.bias".into(),
        json!({ "dtype": "F32", "shape": [1], "data_offsets": [data.len(), data.len() + 4] }),
    );
    let file = joined(&more, &[data.clone(), vec![0; 4]].concat());
    assert!(put(&file).contains("`model.norm.bias`"));

    fs::remove_file(&path).expect("it is there");
    fs::write(folder.path().join("pytorch_model.bin"), "a pickle").expect("a small file");
    assert!(refusal(folder.path()).contains("never read"));
}

#[test]
fn shards_stay_in_their_folder_and_agree_with_their_index() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let here = folder.path().join("model");
    let model = write(json!({}), &here);
    let single = here.join("model.safetensors");
    let file = fs::read(&single).expect("a file");
    let (header, data) = parts(&file);
    // Two shards: the head's tensor alone, and the rest.
    let entry = header["lm_head.weight"].clone();
    let place = |n: usize| entry["data_offsets"][n].as_u64().expect("a number") as usize;
    let (start, end) = (place(0), place(1));
    let mut first = serde_json::Map::new();
    first.insert(
        "lm_head.weight".into(),
        json!({ "dtype": "F32", "shape": entry["shape"], "data_offsets": [0, end - start] }),
    );
    let mut second = header.clone();
    second.remove("lm_head.weight");
    for (_, tensor) in second
        .iter_mut()
        .filter(|(name, _)| *name != "__metadata__")
    {
        for n in 0..2 {
            let offset = tensor["data_offsets"][n].as_u64().expect("a number") as usize;
            if offset >= end {
                tensor["data_offsets"][n] = json!(offset - (end - start));
            }
        }
    }
    let rest = [&data[..start], &data[end..]].concat();
    fs::write(
        here.join("a.safetensors"),
        joined(&first, &data[start..end]),
    )
    .expect("a file");
    fs::write(here.join("b.safetensors"), joined(&second, &rest)).expect("a file");
    let index = |head: &str, others: &str| {
        let names = header.keys().filter(|name| *name != "__metadata__");
        let map: serde_json::Map<String, Value> = names
            .map(|name| {
                (
                    name.clone(),
                    json!(if name == "lm_head.weight" {
                        head
                    } else {
                        others
                    }),
                )
            })
            .collect();
        let text = json!({ "metadata": {}, "weight_map": map }).to_string();
        fs::write(here.join("model.safetensors.index.json"), text).expect("a small file");
    };
    index("a.safetensors", "b.safetensors");
    assert!(refusal(&here).contains("both"), "two sets of weights");
    fs::rename(&single, folder.path().join("outside.safetensors")).expect("it is there");
    let found = import(&here, &Device::flex()).expect("two good shards");
    let tensors = simattn::checkpoint::tensors;
    assert_eq!(tensors(&model), tensors(&found.decoder));

    let absolute = folder.path().join("outside.safetensors");
    for name in [
        "../outside.safetensors",
        absolute.to_str().expect("UTF-8"),
        "./a.safetensors",
        "..",
        "",
    ] {
        index(name, name);
        assert!(refusal(&here).contains("is not the plain name"), "{name}");
    }
    index("b.safetensors", "a.safetensors");
    assert!(refusal(&here).contains("is missing"), "swapped");
    index("a.safetensors", "c.safetensors");
    assert!(refusal(&here).contains("shard c.safetensors is missing"));
    fs::write(
        here.join("model.safetensors.index.json"),
        "{\"weight_map\": 3}",
    )
    .expect("a file");
    assert!(refusal(&here).contains("index.json"));
}

#[test]
fn our_own_type_must_agree_with_itself() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let sas = json!({ "kind": "sas", "heads": 2, "head_dim": 8, "expanded_heads": 4,
                      "expanded_head_dim": 8, "kernel_size": 3 });
    write(json!({ "attention": sas }), folder.path());
    let path = folder.path().join("config.json");
    let original: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
    let change = |pointer: &str, value: Value| {
        let mut changed = original.clone();
        *changed.pointer_mut(pointer).expect("it is there") = value;
        fs::write(&path, changed.to_string()).expect("a small file");
        refusal(folder.path())
    };
    assert!(change("/vocab_size", json!(21)).contains("vocab_size"));
    assert!(change("/tie_word_embeddings", json!(true)).contains("tie_word_embeddings"));
    assert!(change("/simattn", json!({})).contains("simattn"));
    assert!(change("/simattn/attention/kernel_size", json!(5)).contains("weights"));
    // Terabytes by the configuration, a few numbers in the file.
    let mut huge = original["simattn"].clone();
    huge["mlp_width"] = json!(1 << 24);
    assert!(change("/simattn", huge).contains("weights"));
}

#[test]
fn what_an_index_or_a_head_says_for_people_is_passed_over() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = write(json!({}), folder.path());
    let single = folder.path().join("model.safetensors");
    let (header, data) = parts(&fs::read(&single).expect("a file"));
    let tensors = simattn::checkpoint::tensors;
    let same = |what: &str| {
        let found = import(folder.path(), &Device::flex()).expect(what);
        assert_eq!(tensors(&model), tensors(&found.decoder), "{what}");
    };
    for metadata in [
        json!({}),
        json!({ "format": "pt" }),
        json!({ "format": "pt", "total_size": 1000, "nested": { "a": [null] } }),
        json!("text"),
        Value::Null,
    ] {
        let mut header = header.clone();
        header.insert("__metadata__".into(), metadata.clone());
        fs::write(&single, joined(&header, &data)).expect("a small file");
        same(&metadata.to_string());
    }
    fs::rename(
        &single,
        folder.path().join("model-00001-of-00001.safetensors"),
    )
    .expect("a file");
    let names = header.keys().filter(|name| *name != "__metadata__");
    let map: serde_json::Map<String, Value> = names
        .map(|name| (name.clone(), json!("model-00001-of-00001.safetensors")))
        .collect();
    for (metadata, more) in [
        (None, json!({})),
        (Some(Value::Null), json!({})),
        (
            Some(json!({ "total_size": 7, "total_parameters": 8 })),
            json!({}),
        ),
        (
            Some(json!({ "total_size": 13476835328.0 })),
            json!({ "format": "pt" }),
        ),
        (
            Some(json!({ "total_size": "12 GB" })),
            json!({ "weights": [1] }),
        ),
    ] {
        let mut index = json!({ "weight_map": map });
        let fields = index.as_object_mut().expect("an object");
        fields.extend(metadata.map(|metadata| ("metadata".to_owned(), metadata)));
        fields.extend(more.as_object().expect("an object").clone());
        let path = folder.path().join("model.safetensors.index.json");
        fs::write(path, index.to_string()).expect("a small file");
        same(&index.to_string());
    }
}

#[test]
fn what_a_folder_would_take_is_known_from_its_heads() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let model = write(json!({}), folder.path());
    let parameters = simattn::cost::Cost::of(model.config()).parameters.total;
    assert_eq!(
        weight_bytes(folder.path()).expect("a model"),
        4 * parameters
    );
    // A configuration that asks for more than the files hold is refused for that, not for memory.
    let path = folder.path().join("config.json");
    let mut fields: Value = serde_json::from_slice(&fs::read(&path).expect("JSON")).expect("JSON");
    fields["vocab_size"] = json!(2_000_000_000);
    fs::write(&path, fields.to_string()).expect("a small file");
    assert_eq!(
        weight_bytes(folder.path()).expect("a model"),
        4 * parameters
    );
    assert!(refusal(folder.path()).contains("embed_tokens"));
}
