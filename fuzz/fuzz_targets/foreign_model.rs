//! A folder of the Hugging Face Hub's layout: config.json and safetensors, in one file or in shards.
//!
//! reader: crates/simattn/src/huggingface/import.rs
//! reader: crates/simattn/src/huggingface/fields.rs
//! reader: crates/simattn/src/huggingface/families.rs except model_type architecture of write llama_fields gelu_name neox_fields gpt2_fields
//! reader: crates/simattn/src/huggingface/rope.rs except written
//! reader: crates/simattn/src/huggingface/simattn_type.rs except fields
//! reader: crates/simattn/src/huggingface/weights.rs
//! reader: crates/simattn/src/huggingface/layout.rs except join
//! reader: crates/simattn/src/huggingface/form.rs
#![no_main]

use burn::tensor::Device;
use simattn::checkpoint::tensors;
use simattn::huggingface::{FloatType, export, import};
use simattn_fuzz::{Place, files, models, parts};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, config) in models::configs().iter().enumerate() {
        let float = [FloatType::F32, FloatType::F16, FloatType::Bf16][number % 3];
        let exported = export(&models::decoder(config), 256, float).expect("a small model");
        let file = |name: &str| {
            let found = exported.files.iter().find(|(file, _)| file == name);
            found.map(|(_, bytes)| bytes.clone()).unwrap_or_default()
        };
        let [head, data] = files::safetensors_parts(&file(WEIGHTS));
        let mut seed = vec![b"00".to_vec(), file("config.json"), head.clone(), data];
        seeds.push(parts::join(&seed));
        if number % 3 == 0 {
            // The same in a shard that an index names.
            let head: serde_json::Value = serde_json::from_slice(&head).expect("a head");
            let names = head.as_object().into_iter().flatten();
            let map: serde_json::Map<_, _> = names
                .filter(|(name, _)| *name != "__metadata__")
                .map(|(name, _)| (name.clone(), "a.safetensors".into()))
                .collect();
            seed[0] = b"001".to_vec();
            seed.push(serde_json::json!({ "weight_map": map }).to_string().into());
            seeds.push(parts::join(&seed));
        }
    }
    seeds.extend(published());
    seeds
}

/// Configurations as published models spell them; the weights are those of the first seeds.
fn published() -> Vec<Vec<u8>> {
    let weights = |number: usize| {
        let exported = export(
            &models::decoder(&models::configs()[number]),
            256,
            FloatType::F32,
        );
        let (_, bytes) = exported.expect("a small model").files.pop().expect("files");
        files::safetensors_parts(&bytes)
    };
    let fields = [
        (
            3,
            r#"{"model_type":"llama","architectures":["LlamaForCausalLM"],"hidden_size":8,
            "num_attention_heads":4,"num_key_value_heads":2,"head_dim":2,"hidden_act":"silu",
            "max_position_embeddings":16,"num_hidden_layers":1,"intermediate_size":21,
            "vocab_size":257,"rms_norm_eps":1e-5,"tie_word_embeddings":false,
            "rope_parameters":{"rope_type":"llama3","rope_theta":5e5,"factor":8.0,
            "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8},
            "pretraining_tp":1,"attention_bias":false,"bos_token_id":0,"eos_token_id":[0,1]}"#,
        ),
        (
            3,
            r#"{"model_type":"mistral","hidden_size":8,"num_attention_heads":4,"head_dim":2,
            "num_key_value_heads":2,"hidden_act":"silu","max_position_embeddings":16,
            "num_hidden_layers":1,"intermediate_size":21,"vocab_size":257,"rms_norm_eps":1e-5,
            "sliding_window":4096,"rope_theta":1e4,"layer_types":["full_attention"]}"#,
        ),
        (
            4,
            r#"{"model_type":"qwen2","hidden_size":8,"num_attention_heads":2,"head_dim":4,
            "num_key_value_heads":1,"hidden_act":"silu","max_position_embeddings":16,
            "num_hidden_layers":1,"intermediate_size":21,"vocab_size":257,"rms_norm_eps":1e-5,
            "use_sliding_window":true,"sliding_window":32,"max_window_layers":1,
            "rope_scaling":{"type":"linear","factor":2.0}}"#,
        ),
        (
            2,
            r#"{"model_type":"gpt_neox","hidden_size":8,"num_attention_heads":2,
            "rotary_pct":0.5,"rotary_emb_base":10000,"max_position_embeddings":16,
            "num_hidden_layers":1,"intermediate_size":32,"vocab_size":257,"layer_norm_eps":1e-5,
            "hidden_act":"gelu","use_parallel_residual":true,"attention_bias":false,
            "classifier_dropout":0.1}"#,
        ),
        (
            1,
            r#"{"model_type":"gpt2","n_embd":8,"n_head":2,"n_positions":16,"n_ctx":16,
            "n_layer":1,"vocab_size":257,"layer_norm_epsilon":1e-5,
            "activation_function":"gelu_new","task_specific_params":{},"summary_type":"cls_index",
            "scale_attn_weights":true}"#,
        ),
    ];
    let seed = |(number, config): (usize, &str)| {
        let [head, data] = weights(number);
        parts::join(&[b"00".to_vec(), config.as_bytes().to_vec(), head, data])
    };
    fields.map(seed).to_vec()
}

fn run(data: &[u8]) {
    let (switches, [config, head, data, index, head2, data2]) = parts::parts(data);
    let place = Place::fresh();
    if !switches.on(3) {
        place.write("config.json", config);
    }
    let fit = !switches.on(0);
    let file = files::safetensors(head, data, fit);
    let file = if switches.on(1) {
        &file[..file.len() / 2]
    } else {
        &file[..]
    };
    if switches.on(2) {
        place.write("a.safetensors", file);
        place.write("b.safetensors", &files::safetensors(head2, data2, fit));
        place.write(INDEX, index);
    } else {
        place.write(WEIGHTS, file);
        if switches.on(4) {
            place.write(INDEX, index);
        }
    }
    let imported = match import(&place.path(""), &Device::flex()) {
        Ok(imported) => imported,
        Err(error) => return simattn_fuzz::refused(&error),
    };
    // What was read can be written, and reads back as the same model.
    let exported = export(&imported.decoder, 0, FloatType::F32).expect("float32 holds them all");
    for (name, bytes) in &exported.files {
        place.write(&format!("again/{name}"), bytes);
    }
    let again = import(&place.path("again"), &Device::flex()).expect("what was just written");
    let bits = |decoder| {
        let tensors = tensors(decoder).into_iter();
        tensors.map(|t| {
            (
                t.name,
                t.values.iter().map(|x| x.to_bits()).collect::<Vec<_>>(),
            )
        })
    };
    assert!(bits(&again.decoder).eq(bits(&imported.decoder)));
}

simattn_fuzz::target!(seeds, run);
