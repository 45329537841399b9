//! Small models of every kind, for seeds.

use std::path::Path;

use burn::tensor::Device;
use simattn::Decoder;
use simattn_train::{RunConfig, parse_document};

/// The attention of each seed, and the rest of its model.
const MODELS: [&str; 10] = [
    "attention = { kind = \"mha\", heads = 2, head_dim = 4 }",
    "tied = true\npositions = \"learned\"\nmlp = \"gelu_tanh\"\n\
     attention = { kind = \"mha\", heads = 2, head_dim = 4 }",
    "parallel_residual = true\nqkv_bias = false\nout_bias = false\n\
     attention = { kind = \"mha\", heads = 2, head_dim = 4, rotary_dim = 2 }",
    "norm = \"rms\"\nmlp = \"swiglu\"\nbias = false\n\
     rope_scaling = { kind = \"llama3\", factor = 8.0, low_frequency_factor = 1.0, \
     high_frequency_factor = 4.0, original_context = 8 }\n\
     attention = { kind = \"gqa\", heads = 4, kv_heads = 2, head_dim = 2 }",
    "norm = \"rms\"\nmlp = \"swiglu\"\nbias = false\nqkv_bias = true\n\
     rope_scaling = { kind = \"linear\", factor = 2.0 }\n\
     attention = { kind = \"mqa\", heads = 2, head_dim = 4 }",
    "norm = \"rms\"\nmlp = \"swiglu\"\nbias = false\nqk_norm = true\n\
     attention = { kind = \"gqa\", heads = 4, kv_heads = 2, head_dim = 4 }",
    "mlp_width = 6\nattention = { kind = \"sas\", heads = 2, head_dim = 4, expanded_heads = 4, \
     expanded_head_dim = 6, kernel_size = 3 }",
    "attention = { kind = \"mla\", heads = 2, nope_head_dim = 2, rope_head_dim = 2, \
     value_head_dim = 4, query_rank = 2, kv_rank = 2 }",
    "attention = { kind = \"tpa\", heads = 2, head_dim = 4, query_rank = 2, kv_rank = 2 }",
    "attention = { kind = \"mfa\", heads = 2, head_dim = 4, query_rank = 2 }",
];

/// Configurations of models with 257 ids, each of another kind.
///
/// # Panics
/// Where one of them is wrong.
pub fn configs() -> Vec<RunConfig> {
    let read = |model: &&str| {
        let text = format!(
            "seed = 7\n[model]\nvocabulary = 257\ncontext = 16\nlayers = 1\nwidth = 8\n{model}\n\
             [data]\ntales_train_bytes = 4000\ntales_validation_bytes = 1000\n\
             [train]\nsteps = 2\nbatch = 2\nevaluation_batches = 1\nlog_every = 1\n\
             checkpoint_every = 1\n"
        );
        parse_document(&text, Path::new("seed.toml")).expect("a configuration")
    };
    MODELS.iter().map(read).collect()
}

/// A model of a configuration, its weights drawn.
///
/// # Panics
/// Where the configuration is wrong.
pub fn decoder(config: &RunConfig) -> Decoder {
    Decoder::new(&config.model, config.seed, &Device::flex()).expect("a small model")
}
