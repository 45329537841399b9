use serde_json::{Value, json};

use super::{HuggingFaceError as Error, fields::Fields};
use crate::config::ModelConfig;

/// What `transformers` loads for `trust_remote_code`.
const CLASSES: [(&str, &str); 2] = [
    ("AutoConfig", "configuration_simattn.SimattnConfig"),
    (
        "AutoModelForCausalLM",
        "modeling_simattn.SimattnForCausalLM",
    ),
];

/// Our own type: the whole configuration under `simattn`, and beside it what `transformers` wants
/// to know of any model, which must agree.
pub(super) fn read(mut fields: Fields) -> Result<ModelConfig, Error> {
    let whole = fields
        .take("simattn")
        .ok_or_else(|| fields.wrong("simattn", "is missing"))?;
    let config: ModelConfig = serde_json::from_value(whole)
        .map_err(|why| fields.wrong("simattn", format!("describes no model: {why}")))?;
    for (field, expected) in [
        ("vocab_size", config.vocabulary),
        ("hidden_size", config.width),
        ("num_hidden_layers", config.layers),
        ("max_position_embeddings", config.context),
    ] {
        let given = fields.count(field)?;
        if given != expected {
            return Err(fields.wrong(field, format!("= {given} contradicts simattn's {expected}")));
        }
    }
    if fields.flag("tie_word_embeddings", config.tied)? != config.tied {
        return Err(fields.wrong("tie_word_embeddings", "contradicts simattn.tied"));
    }
    // Names of Python classes: never run here.
    fields.take("auto_map");
    fields.finish("simattn")?;
    Ok(config)
}

pub(super) fn fields(config: &ModelConfig) -> Value {
    json!({
        "auto_map": CLASSES.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "hidden_size": config.width,
        "num_hidden_layers": config.layers,
        "max_position_embeddings": config.context,
        "simattn": config,
        "dtype": "float32",
    })
}

/// A tensor's name there: PyTorch keeps tables in modules of their own.
pub(super) fn name(ours: &str) -> String {
    match ours {
        "embedding" | "positions" | "head" => format!("{ours}.weight"),
        _ => ours.into(),
    }
}
