//! The configurations of well-known published models, field by field and at a small size: each is
//! imported, or refused by the name of the field that makes another function of it.

use std::fs;
use std::path::Path;

use burn::tensor::Device;
use serde_json::{Value, json};
use simattn::huggingface::{FloatType, export, import};
use simattn::{Decoder, ModelConfig};

/// A model, its fields as far as they are no sizes, and the field that it is refused by.
type Published = (&'static str, &'static str, Option<&'static str>);

const PUBLISHED: &[Published] = &[
    (
        "HuggingFaceTB/SmolLM-135M",
        r#"{"model_type":"llama","attention_bias":false,"attention_dropout":0.0,"bos_token_id":0,
            "eos_token_id":0,"hidden_act":"silu","initializer_range":0.02,"mlp_bias":false,
            "max_position_embeddings":2048,"num_attention_heads":9,"num_key_value_heads":3,
            "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,
            "tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.42.3",
            "use_cache":true}"#,
        None,
    ),
    (
        "HuggingFaceTB/SmolLM2-135M",
        r#"{"model_type":"llama","attention_bias":false,"attention_dropout":0.0,"bos_token_id":0,
            "eos_token_id":0,"hidden_act":"silu","initializer_range":0.041666666666666664,
            "is_llama_config":true,"max_position_embeddings":8192,"num_attention_heads":9,
            "num_key_value_heads":3,"pretraining_tp":1,"rms_norm_eps":1e-05,
            "rope_interleaved":false,"rope_scaling":null,"rope_theta":100000,
            "tie_word_embeddings":true,"torch_dtype":"bfloat16","transformers_version":"4.40.1",
            "use_cache":true}"#,
        None,
    ),
    (
        "HuggingFaceTB/SmolLM2-135M-Instruct",
        r#"{"model_type":"llama","attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,
            "eos_token_id":2,"hidden_act":"silu","initializer_range":0.041666666666666664,
            "is_llama_config":true,"max_position_embeddings":8192,"mlp_bias":false,
            "num_attention_heads":9,"num_key_value_heads":3,"pad_token_id":2,"pretraining_tp":1,
            "rms_norm_eps":1e-05,"rope_interleaved":false,"rope_scaling":null,
            "rope_theta":100000,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
            "transformers.js_config":{"kv_cache_dtype":{"q4f16":"float16","fp16":"float16"}},
            "transformers_version":"4.42.3","use_cache":true}"#,
        None,
    ),
    (
        "TinyLlama/TinyLlama-1.1B-Chat-v1.0",
        r#"{"model_type":"llama","attention_bias":false,"bos_token_id":1,"eos_token_id":2,
            "hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":2048,
            "num_attention_heads":32,"num_key_value_heads":4,"pretraining_tp":1,
            "rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":10000.0,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.35.0","use_cache":true}"#,
        None,
    ),
    (
        "meta-llama/Llama-2-7b-hf",
        r#"{"model_type":"llama","_name_or_path":"meta-llama/Llama-2-7b-hf","bos_token_id":1,
            "eos_token_id":2,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":4096,"num_attention_heads":32,"num_key_value_heads":32,
            "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,
            "tie_word_embeddings":false,"torch_dtype":"float16",
            "transformers_version":"4.31.0.dev0","use_cache":true}"#,
        None,
    ),
    (
        "meta-llama/Meta-Llama-3-8B-Instruct, saved by 4.45",
        r#"{"model_type":"llama","_name_or_path":"Meta-Llama-3-8B-Instruct",
            "attention_bias":false,"attention_dropout":0.0,"bos_token_id":128000,
            "eos_token_id":128009,"head_dim":128,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":8192,"mlp_bias":false,"num_attention_heads":32,
            "num_key_value_heads":8,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,
            "rope_theta":500000.0,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.45.0","use_cache":true}"#,
        None,
    ),
    (
        "meta-llama/Llama-3.1-8B-Instruct",
        r#"{"model_type":"llama","attention_bias":false,"attention_dropout":0.0,
            "bos_token_id":128000,"eos_token_id":[128001,128008,128009],"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":131072,"mlp_bias":false,
            "num_attention_heads":32,"num_key_value_heads":8,"pretraining_tp":1,
            "rms_norm_eps":1e-05,"rope_scaling":{"factor":8.0,"low_freq_factor":1.0,
            "high_freq_factor":4.0,"original_max_position_embeddings":8192,
            "rope_type":"llama3"},"rope_theta":500000.0,"tie_word_embeddings":false,
            "torch_dtype":"bfloat16","transformers_version":"4.42.3","use_cache":true}"#,
        None,
    ),
    (
        "unsloth/Llama-3.2-1B-Instruct, saved by 4.51",
        r#"{"model_type":"llama","_attn_implementation_autoset":true,"attention_bias":false,
            "attention_dropout":0.0,"bos_token_id":128000,"eos_token_id":128009,"head_dim":64,
            "hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":131072,
            "mlp_bias":false,"num_attention_heads":32,"num_key_value_heads":8,
            "pad_token_id":128004,"pretraining_tp":1,"rms_norm_eps":1e-05,
            "rope_scaling":{"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,
            "original_max_position_embeddings":8192,"rope_type":"llama3"},
            "rope_theta":500000.0,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
            "transformers_version":"4.51.3","unsloth_fixed":true,"unsloth_version":"2025.5.7",
            "use_cache":true}"#,
        None,
    ),
    (
        "codellama/CodeLlama-7b-hf",
        r#"{"model_type":"llama","_name_or_path":"codellama/CodeLlama-7b-hf","bos_token_id":1,
            "eos_token_id":2,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":16384,"num_attention_heads":32,"num_key_value_heads":32,
            "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,"rope_theta":1000000,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.33.0.dev0","use_cache":true}"#,
        None,
    ),
    (
        "lmsys/vicuna-7b-v1.5",
        r#"{"model_type":"llama","_name_or_path":"vicuna-7b-v1.5","bos_token_id":1,
            "eos_token_id":2,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":4096,"num_attention_heads":32,"num_key_value_heads":32,
            "pad_token_id":0,"pretraining_tp":1,"rms_norm_eps":1e-05,"rope_scaling":null,
            "tie_word_embeddings":false,"torch_dtype":"float16","transformers_version":"4.31.0",
            "use_cache":true}"#,
        None,
    ),
    (
        "openlm-research/open_llama_3b",
        r#"{"model_type":"llama","bos_token_id":1,"eos_token_id":2,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":2048,"num_attention_heads":32,
            "pad_token_id":0,"rms_norm_eps":1e-06,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.30.0.dev0","use_cache":true}"#,
        None,
    ),
    (
        "a first conversion of LLaMA-7B",
        r#"{"model_type":"llama","bos_token_id":0,"eos_token_id":1,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":2048,"max_sequence_length":2048,
            "num_attention_heads":32,"pad_token_id":-1,"rms_norm_eps":1e-06,
            "torch_dtype":"float16","transformers_version":"4.27.0.dev0","use_cache":true}"#,
        None,
    ),
    (
        "01-ai/Yi-6B",
        r#"{"model_type":"llama","attention_bias":false,"bos_token_id":1,"eos_token_id":2,
            "hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":4096,
            "num_attention_heads":32,"num_key_value_heads":4,"pad_token_id":0,
            "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_theta":5000000.0,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.34.0","use_cache":true}"#,
        None,
    ),
    (
        "deepseek-ai/deepseek-coder-1.3b-base",
        r#"{"model_type":"llama","bos_token_id":32013,"eos_token_id":32014,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":16384,"num_attention_heads":16,
            "num_key_value_heads":16,"pretraining_tp":1,"rms_norm_eps":1e-06,
            "rope_scaling":{"factor":4.0,"type":"linear"},"rope_theta":100000,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.33.1","use_cache":true}"#,
        None,
    ),
    (
        "tiiuae/Falcon3-1B-Base",
        r#"{"model_type":"llama","activation":"swiglu","attention_bias":false,
            "attention_dropout":0.0,"eos_token_id":11,"head_dim":256,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":4096,"mlp_bias":false,
            "num_attention_heads":8,"num_key_value_heads":4,"pretraining_tp":1,
            "rms_norm_eps":1e-06,"rope_scaling":null,"rope_theta":1000042,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.46.1","use_cache":true}"#,
        None,
    ),
    (
        "a Llama model saved by transformers 5",
        r#"{"model_type":"llama","attention_bias":false,"attention_dropout":0.0,"bos_token_id":1,
            "dtype":"bfloat16","eos_token_id":2,"head_dim":64,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":2048,"mlp_bias":false,
            "num_attention_heads":32,"num_key_value_heads":4,"pad_token_id":null,
            "pretraining_tp":1,"rms_norm_eps":1e-05,"rope_parameters":{"rope_theta":10000.0,
            "rope_type":"default","partial_rotary_factor":1.0},"tie_word_embeddings":false,
            "transformers_version":"5.0.0","use_cache":true}"#,
        None,
    ),
    (
        "mistralai/Mistral-7B-v0.1",
        r#"{"model_type":"mistral","bos_token_id":1,"eos_token_id":2,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":32768,"num_attention_heads":32,
            "num_key_value_heads":8,"rms_norm_eps":1e-05,"rope_theta":10000.0,
            "sliding_window":4096,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.34.0.dev0","use_cache":true}"#,
        Some("sliding_window"),
    ),
    (
        "mistralai/Mistral-7B-Instruct-v0.2",
        r#"{"model_type":"mistral","attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,
            "hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":32768,
            "num_attention_heads":32,"num_key_value_heads":8,"rms_norm_eps":1e-05,
            "rope_theta":1000000.0,"sliding_window":null,"tie_word_embeddings":false,
            "torch_dtype":"bfloat16","transformers_version":"4.36.0","use_cache":true}"#,
        None,
    ),
    (
        "mistralai/Mistral-7B-v0.3",
        r#"{"model_type":"mistral","attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,
            "hidden_act":"silu","initializer_range":0.02,"max_position_embeddings":32768,
            "num_attention_heads":32,"num_key_value_heads":8,"rms_norm_eps":1e-05,
            "rope_theta":1000000.0,"sliding_window":null,"tie_word_embeddings":false,
            "torch_dtype":"bfloat16","transformers_version":"4.42.0.dev0","use_cache":true}"#,
        None,
    ),
    (
        "mistralai/Mistral-Nemo-Base-2407",
        r#"{"model_type":"mistral","attention_dropout":0.0,"bos_token_id":1,"eos_token_id":2,
            "head_dim":128,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":128000,"num_attention_heads":32,"num_key_value_heads":8,
            "rms_norm_eps":1e-05,"rope_theta":1000000.0,"sliding_window":null,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.43.3","use_cache":true}"#,
        None,
    ),
    (
        "HuggingFaceH4/zephyr-7b-beta",
        r#"{"model_type":"mistral","_name_or_path":"mistralai/Mistral-7B-v0.1","bos_token_id":1,
            "eos_token_id":2,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":32768,"num_attention_heads":32,"num_key_value_heads":8,
            "pad_token_id":2,"rms_norm_eps":1e-05,"rope_theta":10000.0,"sliding_window":4096,
            "tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.35.0","use_cache":true}"#,
        Some("sliding_window"),
    ),
    (
        "Qwen/Qwen1.5-0.5B",
        r#"{"model_type":"qwen2","attention_dropout":0.0,"bos_token_id":151643,
            "eos_token_id":151643,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":32768,"max_window_layers":21,"num_attention_heads":16,
            "num_key_value_heads":16,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
            "sliding_window":32768,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
            "transformers_version":"4.37.0","use_cache":true,"use_sliding_window":false}"#,
        None,
    ),
    (
        "Qwen/Qwen2.5-0.5B",
        r#"{"model_type":"qwen2","attention_dropout":0.0,"bos_token_id":151643,
            "eos_token_id":151643,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":32768,"max_window_layers":24,"num_attention_heads":14,
            "num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
            "sliding_window":32768,"tie_word_embeddings":true,"torch_dtype":"bfloat16",
            "transformers_version":"4.40.1","use_cache":true,"use_mrope":false,
            "use_sliding_window":false}"#,
        None,
    ),
    (
        "Qwen/Qwen2.5-7B-Instruct",
        r#"{"model_type":"qwen2","attention_dropout":0.0,"bos_token_id":151643,
            "eos_token_id":151645,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":32768,"max_window_layers":28,"num_attention_heads":28,
            "num_key_value_heads":4,"rms_norm_eps":1e-06,"rope_theta":1000000.0,
            "sliding_window":131072,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.43.1","use_cache":true,"use_sliding_window":false}"#,
        None,
    ),
    (
        "Qwen/Qwen2.5-Coder-32B-Instruct for long contexts",
        r#"{"model_type":"qwen2","attention_dropout":0.0,"bos_token_id":151643,
            "eos_token_id":151645,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":32768,"max_window_layers":70,"num_attention_heads":40,
            "num_key_value_heads":8,"rms_norm_eps":1e-06,"rope_scaling":{"factor":4.0,
            "original_max_position_embeddings":32768,"type":"yarn"},"rope_theta":1000000.0,
            "sliding_window":131072,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.43.1","use_cache":true,"use_sliding_window":false}"#,
        Some("rope_scaling.rope_type"),
    ),
    (
        "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B",
        r#"{"model_type":"qwen2","attention_dropout":0.0,"bos_token_id":151643,
            "eos_token_id":151643,"hidden_act":"silu","initializer_range":0.02,
            "max_position_embeddings":131072,"max_window_layers":21,"num_attention_heads":12,
            "num_key_value_heads":2,"rms_norm_eps":1e-06,"rope_theta":10000,
            "sliding_window":4096,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.44.0","use_cache":true,"use_mrope":false,
            "use_sliding_window":false}"#,
        None,
    ),
    (
        "Qwen/Qwen3-0.6B",
        r#"{"model_type":"qwen3","attention_bias":false,"attention_dropout":0.0,
            "bos_token_id":151643,"eos_token_id":151645,"head_dim":128,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":40960,"max_window_layers":28,
            "num_attention_heads":16,"num_key_value_heads":8,"rms_norm_eps":1e-06,
            "rope_scaling":null,"rope_theta":1000000,"sliding_window":null,
            "tie_word_embeddings":true,"torch_dtype":"bfloat16",
            "transformers_version":"4.51.0","use_cache":true,"use_sliding_window":false}"#,
        None,
    ),
    (
        "a Qwen3 model saved by 4.57",
        r#"{"model_type":"qwen3","attention_bias":false,"attention_dropout":0.0,
            "dtype":"bfloat16","eos_token_id":151645,"head_dim":128,"hidden_act":"silu",
            "initializer_range":0.02,"layer_types":["full_attention","full_attention"],
            "max_position_embeddings":32768,"max_window_layers":28,"num_attention_heads":8,
            "num_key_value_heads":4,"rms_norm_eps":1e-06,"rope_scaling":null,
            "rope_theta":1000000.0,"sliding_window":null,"tie_word_embeddings":true,
            "transformers_version":"4.57.6","use_cache":true,"use_sliding_window":false}"#,
        None,
    ),
    (
        "EleutherAI/pythia-70m",
        r#"{"model_type":"gpt_neox","bos_token_id":0,"eos_token_id":0,"hidden_act":"gelu",
            "initializer_range":0.02,"layer_norm_eps":1e-05,"max_position_embeddings":2048,
            "rotary_emb_base":10000,"rotary_pct":0.25,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.24.0","use_cache":true,
            "use_parallel_residual":true}"#,
        None,
    ),
    (
        "EleutherAI/pythia-6.9b-deduped, saved by 4.45",
        r#"{"model_type":"gpt_neox","_name_or_path":"EleutherAI/pythia-6.9b-deduped",
            "attention_bias":true,"attention_dropout":0.0,"bos_token_id":0,
            "classifier_dropout":0.1,"eos_token_id":0,"hidden_act":"gelu","hidden_dropout":0.0,
            "initializer_range":0.02,"layer_norm_eps":1e-05,"max_position_embeddings":2048,
            "partial_rotary_factor":0.25,"rope_scaling":null,"rope_theta":10000,
            "rotary_emb_base":10000,"rotary_pct":0.25,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.45.2","use_cache":true,
            "use_parallel_residual":true}"#,
        None,
    ),
    (
        "EleutherAI/gpt-neox-20b",
        r#"{"model_type":"gpt_neox","attention_probs_dropout_prob":0,"bos_token_id":0,
            "eos_token_id":0,"hidden_act":"gelu_fast","hidden_dropout_prob":0,
            "initializer_range":0.02,"layer_norm_eps":1e-05,"max_position_embeddings":2048,
            "rotary_emb_base":10000,"rotary_pct":0.25,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.19.0.dev0","use_cache":true}"#,
        None,
    ),
    (
        "databricks/dolly-v2-3b",
        r#"{"model_type":"gpt_neox","bos_token_id":0,"custom_pipelines":{"text-generation":
            {"impl":"instruct_pipeline.InstructionTextGenerationPipeline",
            "pt":"AutoModelForCausalLM","tf":"TFAutoModelForCausalLM"}},"eos_token_id":0,
            "gradient_checkpointing":false,"hidden_act":"gelu","initializer_range":0.02,
            "layer_norm_eps":1e-05,"max_position_embeddings":2048,"rotary_emb_base":10000,
            "rotary_pct":0.25,"tie_word_embeddings":false,"torch_dtype":"bfloat16",
            "transformers_version":"4.25.1","use_cache":true,"use_parallel_residual":true}"#,
        None,
    ),
    (
        "togethercomputer/RedPajama-INCITE-Base-3B-v1",
        r#"{"model_type":"gpt_neox","bos_token_id":0,"eos_token_id":0,"hidden_act":"gelu",
            "initializer_range":0.02,"layer_norm_eps":1e-05,"max_position_embeddings":2048,
            "rotary_emb_base":10000,"rotary_pct":1.0,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.28.1","use_cache":true,
            "use_parallel_residual":false}"#,
        None,
    ),
    (
        "stabilityai/stablelm-base-alpha-3b",
        r#"{"model_type":"gpt_neox","bos_token_id":0,"eos_token_id":0,"hidden_act":"gelu",
            "initializer_range":0.02,"layer_norm_eps":1e-05,"max_position_embeddings":4096,
            "rotary_emb_base":10000,"rotary_pct":0.25,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.28.1","use_cache":true,
            "use_parallel_residual":true}"#,
        None,
    ),
    (
        "EleutherAI/polyglot-ko-5.8b",
        r#"{"model_type":"gpt_neox","bos_token_id":0,"eos_token_id":0,"initializer_range":0.02,
            "layer_norm_eps":1e-05,"max_position_embeddings":2048,
            "num_steps":"global_step320000","rotary_emb_base":10000,"rotary_pct":0.25,
            "torch_dtype":"float16","use_cache":true}"#,
        None,
    ),
    (
        "OpenAssistant/oasst-sft-4-pythia-12b-epoch-3.5",
        r#"{"model_type":"gpt_neox","_name_or_path":"pythia-12b","bos_token_id":0,
            "classifier_dropout":0.1,"eos_token_id":0,"gradient_checkpointing":true,
            "hidden_act":"gelu","initializer_range":0.02,"layer_norm_eps":1e-05,
            "max_position_embeddings":2048,"rotary_emb_base":10000,"rotary_pct":0.25,
            "tie_word_embeddings":false,"torch_dtype":"float16",
            "transformers_version":"4.28.0.dev0","use_cache":true,
            "use_parallel_residual":true}"#,
        None,
    ),
    (
        "openai-community/gpt2",
        r#"{"model_type":"gpt2","activation_function":"gelu_new","attn_pdrop":0.1,
            "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,"initializer_range":0.02,
            "layer_norm_epsilon":1e-05,"resid_pdrop":0.1,"summary_activation":null,
            "summary_first_dropout":0.1,"summary_proj_to_labels":true,
            "summary_type":"cls_index","summary_use_proj":true,"task_specific_params":
            {"text-generation":{"do_sample":true,"max_length":50}}}"#,
        None,
    ),
    (
        "openai-community/gpt2-medium",
        r#"{"model_type":"gpt2","activation_function":"gelu_new","attn_pdrop":0.1,
            "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,"initializer_range":0.02,
            "layer_norm_epsilon":1e-05,"n_special":0,"predict_special_tokens":true,
            "resid_pdrop":0.1,"summary_activation":null,"summary_first_dropout":0.1,
            "summary_proj_to_labels":true,"summary_type":"cls_index","summary_use_proj":true,
            "task_specific_params":{"text-generation":{"do_sample":true,"max_length":50}}}"#,
        None,
    ),
    (
        "openai-community/gpt2-xl",
        r#"{"model_type":"gpt2","activation_function":"gelu_new","attn_pdrop":0.1,
            "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,"initializer_range":0.02,
            "layer_norm_epsilon":1e-05,"output_past":true,"resid_pdrop":0.1,
            "summary_activation":null,"summary_first_dropout":0.1,"summary_proj_to_labels":true,
            "summary_type":"cls_index","summary_use_proj":true,"task_specific_params":
            {"text-generation":{"do_sample":true,"max_length":50}}}"#,
        None,
    ),
    (
        "distilbert/distilgpt2",
        r#"{"model_type":"gpt2","_num_labels":1,"activation_function":"gelu_new",
            "attn_pdrop":0.1,"bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,
            "gradient_checkpointing":false,"id2label":{"0":"LABEL_0"},"initializer_range":0.02,
            "label2id":{"LABEL_0":0},"layer_norm_epsilon":1e-05,"n_inner":null,
            "resid_pdrop":0.1,"summary_activation":null,"summary_first_dropout":0.1,
            "summary_proj_to_labels":true,"summary_type":"cls_index","summary_use_proj":true,
            "task_specific_params":{"text-generation":{"do_sample":true,"max_length":50}}}"#,
        None,
    ),
    (
        "microsoft/DialoGPT-medium",
        r#"{"model_type":"gpt2","activation_function":"gelu_new","attn_pdrop":0.1,
            "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,"initializer_range":0.02,
            "layer_norm_epsilon":1e-05,"resid_pdrop":0.1,"summary_activation":null,
            "summary_first_dropout":0.1,"summary_proj_to_labels":true,
            "summary_type":"cls_index","summary_use_proj":true,"task_specific_params":
            {"conversational":{"max_length":1000}}}"#,
        None,
    ),
    (
        "cerebras/Cerebras-GPT-111M",
        r#"{"model_type":"gpt2","activation_function":"gelu","attn_pdrop":0.0,
            "embd_pdrop":0.0,"layer_norm_epsilon":1e-05,"n_inner":3072,"resid_pdrop":0.0,
            "scale_attn_weights":true,"use_cache":true}"#,
        None,
    ),
    (
        "rinna/japanese-gpt2-medium, saved by 4.9",
        r#"{"model_type":"gpt2","_name_or_path":"rinna/japanese-gpt2-medium",
            "activation_function":"gelu_new","attn_pdrop":0.1,"bos_token_id":1,"embd_pdrop":0.1,
            "eos_token_id":2,"gradient_checkpointing":false,"initializer_range":0.02,
            "layer_norm_epsilon":1e-05,"n_inner":4096,"resid_pdrop":0.1,
            "scale_attn_weights":true,"summary_activation":null,"summary_first_dropout":0.1,
            "summary_proj_to_labels":true,"summary_type":"cls_index","summary_use_proj":true,
            "task_specific_params":{"text-generation":{"do_sample":true,"max_length":50}},
            "transformers_version":"4.9.2","use_cache":true}"#,
        None,
    ),
    (
        "stanford-crfm/alias-gpt2-small-x21",
        r#"{"model_type":"gpt2","activation_function":"gelu_new","attn_pdrop":0.1,
            "bos_token_id":50256,"embd_pdrop":0.1,"eos_token_id":50256,
            "gradient_checkpointing":false,"initializer_range":0.02,"layer_norm_epsilon":1e-05,
            "n_inner":null,"reorder_and_upcast_attn":true,"resid_pdrop":0.1,
            "scale_attn_by_inverse_layer_idx":true,"scale_attn_weights":true,
            "summary_activation":null,"summary_first_dropout":0.1,"summary_proj_to_labels":true,
            "summary_type":"cls_index","summary_use_proj":true,"use_cache":true}"#,
        Some("scale_attn_by_inverse_layer_idx"),
    ),
    (
        "a GPT-2 model saved by 4.20, with the generation's defaults",
        r#"{"model_type":"gpt2","activation_function":"gelu_new","add_cross_attention":false,
            "attn_pdrop":0.1,"bad_words_ids":null,"bos_token_id":50256,
            "chunk_size_feed_forward":0,"cross_attention_hidden_size":null,
            "decoder_start_token_id":null,"diversity_penalty":0.0,"do_sample":false,
            "early_stopping":false,"embd_pdrop":0.1,"encoder_no_repeat_ngram_size":0,
            "eos_token_id":50256,"exponential_decay_length_penalty":null,
            "finetuning_task":null,"forced_bos_token_id":null,"forced_eos_token_id":null,
            "hidden_size":16,"id2label":{"0":"LABEL_0","1":"LABEL_1"},
            "initializer_range":0.02,"is_decoder":false,"is_encoder_decoder":false,
            "label2id":{"LABEL_0":0,"LABEL_1":1},"layer_norm_epsilon":1e-05,
            "length_penalty":1.0,"max_length":20,"min_length":0,"no_repeat_ngram_size":0,
            "num_beam_groups":1,"num_beams":1,"num_hidden_layers":2,"num_return_sequences":1,
            "output_attentions":false,"output_hidden_states":false,"output_scores":false,
            "pad_token_id":null,"prefix":null,"problem_type":null,"pruned_heads":{},
            "remove_invalid_values":false,"repetition_penalty":1.0,"resid_pdrop":0.1,
            "return_dict":true,"return_dict_in_generate":false,"sep_token_id":null,
            "summary_type":"cls_index","task_specific_params":null,"temperature":1.0,
            "tf_legacy_loss":false,"tie_encoder_decoder":false,"tie_word_embeddings":true,
            "tokenizer_class":null,"top_k":50,"top_p":1.0,"torchscript":false,
            "typical_p":1.0,"use_bfloat16":false,"use_cache":true}"#,
        None,
    ),
    (
        "TheBloke/zephyr-7B-alpha-AWQ",
        r#"{"model_type":"mistral","bos_token_id":1,"eos_token_id":2,"hidden_act":"silu",
            "initializer_range":0.02,"max_position_embeddings":4096,"num_attention_heads":32,
            "num_key_value_heads":8,"quantization_config":{"bits":4,"group_size":128,
            "quant_method":"awq","version":"gemm","zero_point":true},"rms_norm_eps":1e-05,
            "rope_theta":10000.0,"sliding_window":4096,"tie_word_embeddings":false,
            "torch_dtype":"float16","transformers_version":"4.35.0","use_cache":true}"#,
        Some("quantization_config"),
    ),
];

/// The model's fields with small sizes, and a configuration of ours that its weights have the form
/// of.
fn small(fields: &str) -> (Value, ModelConfig) {
    let mut fields: Value = serde_json::from_str(fields).expect("JSON");
    let family = fields["model_type"].as_str().expect("a family").to_owned();
    let architecture = match family.as_str() {
        "llama" => "LlamaForCausalLM",
        "mistral" => "MistralForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        "gpt_neox" => "GPTNeoXForCausalLM",
        _ => "GPT2LMHeadModel",
    };
    fields["architectures"] = json!([architecture]);
    fields["vocab_size"] = json!(20);
    let context = if family == "gpt2" { 16 } else { 2048 };
    let tied = fields["tie_word_embeddings"]
        .as_bool()
        .unwrap_or(family == "gpt2");
    let mut ours = json!({ "vocabulary": 20, "context": context, "layers": 2, "width": 32,
                           "mlp_width": 24, "tied": tied });
    let form = match family.as_str() {
        "gpt2" => {
            for (field, size) in [("n_ctx", 16), ("n_positions", 16), ("n_embd", 16)] {
                fields[field] = json!(size);
            }
            ours["width"] = json!(16);
            fields["n_head"] = json!(4);
            fields["n_layer"] = json!(2);
            if fields["n_inner"].is_u64() {
                fields["n_inner"] = json!(24);
            } else {
                ours["mlp_width"] = json!(64);
            }
            json!({ "positions": "learned", "mlp": "gelu_tanh",
                    "attention": { "kind": "mha", "heads": 4, "head_dim": 4 } })
        }
        _ => {
            for (field, size) in [("hidden_size", 32), ("intermediate_size", 24)] {
                fields[field] = json!(size);
            }
            fields["num_hidden_layers"] = json!(2);
            let heads = fields["num_attention_heads"].as_u64().unwrap_or(4);
            let kv_heads = match fields["num_key_value_heads"].as_u64() {
                Some(kv_heads) => {
                    let share = (4 * kv_heads / heads).max(1);
                    fields["num_key_value_heads"] = json!(share);
                    share
                }
                None => 4,
            };
            fields["num_attention_heads"] = json!(4);
            if fields["head_dim"].is_u64() {
                fields["head_dim"] = json!(8);
            }
            let attention = json!({ "kind": "gqa", "heads": 4, "kv_heads": kv_heads,
                                    "head_dim": 8 });
            match family.as_str() {
                "gpt_neox" => json!({ "parallel_residual": true,
                    "attention": { "kind": "mha", "heads": 4, "head_dim": 8, "rotary_dim": 2 } }),
                _ => json!({ "norm": "rms", "mlp": "swiglu", "bias": false,
                    "qkv_bias": family == "qwen2", "qk_norm": family == "qwen3",
                    "attention": attention }),
            }
        }
    };
    let form = form.as_object().expect("an object").clone();
    ours.as_object_mut().expect("an object").extend(form);
    if ours["qkv_bias"] == false {
        ours["qkv_bias"] = Value::Null;
    }
    (
        fields,
        serde_json::from_value(ours).expect("a configuration"),
    )
}

/// Writes a folder with these fields and weights of the form.
fn write(folder: &Path, fields: &Value, form: &ModelConfig) {
    let model = Decoder::new(form, 5, &Device::flex()).expect("a model");
    let written = export(&model, 0, FloatType::F32).expect("it is writable");
    for (name, contents) in written.files {
        fs::write(folder.join(name), contents).expect("a small file");
    }
    fs::write(folder.join("config.json"), fields.to_string()).expect("a small file");
}

#[test]
fn published_configurations_are_imported_or_refused_by_the_field_that_matters() {
    assert!(PUBLISHED.len() >= 25);
    for (model, fields, refused) in PUBLISHED {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (fields, form) = small(fields);
        write(folder.path(), &fields, &form);
        match (import(folder.path(), &Device::flex()), refused) {
            (Ok(found), None) => {
                let family = fields["model_type"].as_str().expect("a family");
                assert_eq!(found.family.model_type(), family, "{model}");
            }
            (Err(error), Some(field)) => {
                let line = error.to_string();
                assert!(line.contains(&format!("`{field}`")), "{model}: {line}");
            }
            (Ok(_), Some(field)) => panic!("{model} was taken in spite of {field}"),
            (Err(error), None) => panic!("{model}: {error}"),
        }
    }
}

/// Each field that has one harmless value is refused, by its name, at another.
#[test]
fn a_harmless_field_is_taken_at_its_harmless_value_only() {
    let table = include_str!("../src/huggingface/harmless.tsv");
    let bases = ["llama", "mistral", "qwen2", "qwen3", "gpt_neox", "gpt2"].map(|family| {
        let of_family = |(_, fields, refused): &&Published| {
            refused.is_none() && fields.contains(&format!("\"model_type\":\"{family}\""))
        };
        let (_, fields, _) = PUBLISHED.iter().find(of_family).expect("one of the family");
        (family, small(fields))
    });
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut refused = 0;
    for (family, (fields, form)) in &bases {
        write(folder.path(), fields, form);
        for line in table.lines().skip(1) {
            let row: Vec<&str> = line.split('\t').collect();
            if row[1] != "all" && !row[1].split(' ').any(|name| name == *family) {
                continue;
            }
            let (good, bad) = match row[2] {
                "any" => (json!("x"), None),
                "flag" => (json!(true), Some(json!("x"))),
                "number" => (json!(0.5), Some(json!("x"))),
                "count" => (json!(3), Some(json!(-1))),
                "text" => (json!("x"), Some(json!(1))),
                "object" => (json!({ "a": 1 }), Some(json!([]))),
                literal => {
                    let good: Value = serde_json::from_str(literal).expect("a literal");
                    let bad = match &good {
                        Value::Bool(flag) => json!(!flag),
                        Value::Number(_) => json!(0.5),
                        _ => json!({ "1": [2] }),
                    };
                    (good, Some(bad))
                }
            };
            let mut changed = fields.clone();
            changed[row[0]] = good;
            fs::write(folder.path().join("config.json"), changed.to_string()).expect("a file");
            let taken = import(folder.path(), &Device::flex());
            assert!(taken.is_ok(), "{family} {line}: {taken:?}");
            if let Some(bad) = bad {
                changed[row[0]] = bad;
                let text = changed.to_string();
                fs::write(folder.path().join("config.json"), text).expect("a file");
                let error = import(folder.path(), &Device::flex()).expect_err(line);
                let said = error.to_string();
                assert!(said.contains(&format!("`{}`", row[0])), "{said}");
                refused += 1;
            }
        }
    }
    assert!(refused > 20, "{refused}");
}

#[test]
fn values_whose_effect_lies_beyond_what_is_computed_are_refused_by_name() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cases = [
        ("llama", "hidden_act", json!("gelu")),
        ("llama", "hidden_act", json!("relu")),
        ("llama", "partial_rotary_factor", json!(0.5)),
        ("llama", "rope_interleaved", json!(true)),
        ("llama", "use_mrope", json!(true)),
        ("llama", "is_llama_config", json!(false)),
        ("llama", "sliding_window", json!(1024)),
        ("llama", "attn_logit_softcapping", json!(50.0)),
        ("llama", "query_pre_attn_scalar", json!(224)),
        ("llama", "no_rope_layers", json!([1, 0])),
        ("llama", "max_sequence_length", json!(7)),
        ("llama", "pruned_heads", json!({ "0": [1] })),
        ("llama", "add_cross_attention", json!(true)),
        ("llama", "cross_attention_hidden_size", json!(8)),
        ("llama", "quantization_config", json!({ "bits": 4 })),
        ("qwen2", "use_sliding_window", json!(true)),
        ("qwen3", "layer_types", json!(["sliding_attention"])),
        ("gpt_neox", "hidden_act", json!("quick_gelu")),
        ("gpt_neox", "hidden_act", json!("gelu_10")),
        ("gpt_neox", "rope_theta", json!(500_000)),
        ("gpt_neox", "partial_rotary_factor", json!(0.5)),
        ("gpt2", "activation_function", json!("swish")),
        ("gpt2", "scale_attn_weights", json!(false)),
        ("gpt2", "n_special", json!(2)),
        ("gpt2", "predict_special_tokens", json!(false)),
        ("gpt2", "hidden_size", json!(32)),
    ];
    for (family, field, value) in cases {
        let of_family = |(_, fields, refused): &&Published| {
            refused.is_none() && fields.contains(&format!("\"model_type\":\"{family}\""))
        };
        let (_, fields, _) = PUBLISHED.iter().find(of_family).expect("one of the family");
        let (mut fields, form) = small(fields);
        if field == "use_sliding_window" {
            fields["sliding_window"] = json!(64);
        }
        fields[field] = value.clone();
        write(folder.path(), &fields, &form);
        let error = import(folder.path(), &Device::flex()).expect_err(field);
        let line = error.to_string();
        let named = line.contains(&format!("`{field}`")) || line.contains("`sliding_window`");
        assert!(named, "{family} {field} = {value}: {line}");
    }
    for name in ["yarn", "longrope", "dynamic", "su", "mrope", "proportional"] {
        let (mut fields, form) = small(PUBLISHED[0].1);
        fields["rope_scaling"] = json!({ "type": name, "factor": 2.0 });
        write(folder.path(), &fields, &form);
        let line = import(folder.path(), &Device::flex()).expect_err(name);
        assert!(
            line.to_string().contains("rope_scaling.rope_type"),
            "{line}"
        );
    }
}

#[test]
fn other_names_of_a_supported_function_are_taken() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (family, field, value) in [
        ("llama", "hidden_act", json!("swish")),
        ("llama", "max_position_embeddings", json!(2048.0)),
        ("gpt_neox", "hidden_act", json!("gelu_python")),
        ("gpt2", "activation_function", json!("gelu_pytorch_tanh")),
        ("gpt2", "activation_function", json!("gelu_accurate")),
        ("gpt2", "num_attention_heads", json!(4)),
    ] {
        let of_family = |(_, fields, refused): &&Published| {
            refused.is_none() && fields.contains(&format!("\"model_type\":\"{family}\""))
        };
        let (_, fields, _) = PUBLISHED.iter().find(of_family).expect("one of the family");
        let (mut fields, form) = small(fields);
        fields[field] = value.clone();
        write(folder.path(), &fields, &form);
        let taken = import(folder.path(), &Device::flex());
        assert!(taken.is_ok(), "{family} {field} = {value}: {taken:?}");
    }
}
