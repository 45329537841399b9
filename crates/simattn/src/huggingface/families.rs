use serde_json::{Map, Value, json};

use super::{
    HuggingFaceError as Error,
    fields::Fields,
    form::{heads, is_gelu},
    rope::{Rope, written},
    simattn_type,
};
use crate::config::{
    AttentionConfig, GroupedConfig, Mlp, ModelConfig, MultiHeadConfig, Norm, Positions, RopeScaling,
};

/// A way to spell a model, `model_type` in a `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Llama, SmolLM, TinyLlama.
    Llama,
    /// Mistral, as long as no window is in use.
    Mistral,
    /// Qwen2: biases on q, k and v.
    Qwen2,
    /// Qwen3: norms on q and k.
    Qwen3,
    /// GPT-NeoX and Pythia.
    GptNeoX,
    /// GPT-2.
    Gpt2,
    /// Our own, for what the others cannot spell.
    Simattn,
}

/// Names of the tanh form of GELU in `transformers`.
const TANH: [&str; 5] = [
    "gelu_new",
    "gelu_fast",
    "gelu_pytorch_tanh",
    "gelu_python_tanh",
    "gelu_accurate",
];

impl Family {
    const ALL: [(Self, &'static str, &'static str); 7] = [
        (Self::Llama, "llama", "LlamaForCausalLM"),
        (Self::Mistral, "mistral", "MistralForCausalLM"),
        (Self::Qwen2, "qwen2", "Qwen2ForCausalLM"),
        (Self::Qwen3, "qwen3", "Qwen3ForCausalLM"),
        (Self::GptNeoX, "gpt_neox", "GPTNeoXForCausalLM"),
        (Self::Gpt2, "gpt2", "GPT2LMHeadModel"),
        (Self::Simattn, "simattn", "SimattnForCausalLM"),
    ];

    /// `model_type`.
    pub fn model_type(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The class that `transformers` runs it with.
    pub fn architecture(self) -> &'static str {
        Self::ALL[self as usize].2
    }

    /// The family that a (validated) model is written as: one that every `transformers` knows
    /// where its form fits, ours elsewhere.
    pub fn of(config: &ModelConfig) -> Self {
        let Some([heads, kv_heads, head_dim]) = heads(config) else {
            return Self::Simattn;
        };
        let rotary = match config.rotation() {
            Some((rotary, _)) => rotary,
            None => 0,
        };
        let biases = [config.qkv_bias(), config.out_bias()];
        let square = heads * head_dim == config.width;
        if config.norm == Norm::Rms {
            let plain = config.mlp == Mlp::Swiglu && !config.parallel_residual;
            if !plain || rotary != head_dim || !config.width.is_multiple_of(heads) {
                return Self::Simattn;
            }
            return match (config.qk_norm, biases) {
                (true, [q, out]) if q == out && !config.bias => Self::Qwen3,
                (false, [q, out]) if q == out => Self::Llama,
                (false, [true, false]) if square && !config.bias => Self::Qwen2,
                _ => Self::Simattn,
            };
        }
        let plain = is_gelu(config) && config.bias && !config.qk_norm;
        if !plain || !square || kv_heads != heads || biases[0] != biases[1] {
            return Self::Simattn;
        }
        match config.positions {
            Positions::Rotary => Self::GptNeoX,
            Positions::Learned if biases[0] && !config.parallel_residual => Self::Gpt2,
            Positions::Learned => Self::Simattn,
        }
    }

    /// What a `config.json` says. Every field of it has been understood.
    pub(super) fn read(mut fields: Fields) -> Result<(Self, ModelConfig), Error> {
        let name = fields
            .text("model_type")?
            .ok_or_else(|| fields.wrong("model_type", "is missing"))?;
        let known = Self::ALL
            .iter()
            .find(|(_, model_type, _)| *model_type == name);
        let Some(&(family, _, architecture)) = known else {
            let all: Vec<_> = Self::ALL.iter().map(|(_, name, _)| *name).collect();
            return Err(fields.wrong(
                "model_type",
                format!("= {name:?} is not supported: only {} are", all.join(", ")),
            ));
        };
        fields.only("architectures", &json!([architecture]))?;
        let path = fields.path().to_owned();
        let config = match family {
            Self::GptNeoX => neox(fields),
            Self::Gpt2 => gpt2(fields),
            Self::Simattn => simattn_type::read(fields),
            Self::Llama | Self::Mistral | Self::Qwen2 | Self::Qwen3 => llama(family, fields),
        }?;
        let invalid = |source| Error::Config { path, source };
        config.validate().map_err(invalid)?;
        Ok((family, config))
    }

    /// The `config.json` of a model that [`Family::of`] gave this family for, with `tokens`, the
    /// fields that name token ids.
    pub(super) fn write(self, config: &ModelConfig, tokens: &Map<String, Value>) -> Value {
        let mut fields = match self {
            Self::GptNeoX => neox_fields(config),
            Self::Gpt2 => gpt2_fields(config),
            Self::Simattn => simattn_type::fields(config),
            _ => llama_fields(self, config),
        };
        for (field, value) in [
            ("model_type", json!(self.model_type())),
            ("architectures", json!([self.architecture()])),
            ("vocab_size", json!(config.vocabulary)),
            ("tie_word_embeddings", json!(config.tied)),
        ] {
            fields[field] = value;
        }
        for (field, value) in tokens {
            fields[field] = value.clone();
        }
        fields
    }
}

/// MHA, GQA or MQA by the numbers of heads.
fn grouped(
    [heads, kv_heads, head_dim]: [usize; 3],
    rope_base: f64,
    rotary_dim: Option<usize>,
) -> AttentionConfig {
    let plain = MultiHeadConfig {
        heads,
        head_dim,
        rope_base,
        rotary_dim,
    };
    match kv_heads {
        _ if kv_heads == heads => AttentionConfig::Mha(plain),
        1 => AttentionConfig::Mqa(plain),
        _ => AttentionConfig::Gqa(GroupedConfig {
            heads,
            kv_heads,
            head_dim,
            rope_base,
            rotary_dim,
        }),
    }
}

/// C / H for a head's width that is not given.
fn default_head_dim(fields: &Fields, width: usize, heads: usize) -> Result<usize, Error> {
    match width.checked_div(heads) {
        Some(head_dim) if head_dim * heads == width => Ok(head_dim),
        _ => Err(fields.wrong(
            "head_dim",
            format!("is missing, and {heads} heads do not divide a width of {width}"),
        )),
    }
}

fn llama(family: Family, mut fields: Fields) -> Result<ModelConfig, Error> {
    let width = fields.count("hidden_size")?;
    let heads = fields.count("num_attention_heads")?;
    let kv_heads = match (fields.optional_count("num_key_value_heads")?, family) {
        (Some(given), _) => given,
        (None, Family::Llama) => heads,
        // Its classes fill in numbers of their own, which differ between versions.
        (None, _) => return Err(fields.wrong("num_key_value_heads", "is missing")),
    };
    let head_dim = match (fields.optional_count("head_dim")?, family) {
        (Some(given), _) => given,
        (None, Family::Qwen3) => return Err(fields.wrong("head_dim", "is missing")),
        (None, _) => default_head_dim(&fields, width, heads)?,
    };
    // Two names of one function.
    match fields.text("hidden_act")?.as_deref() {
        None | Some("silu" | "swish") => {}
        Some(other) => {
            let why = format!("= {other:?} is not supported: only \"silu\" is");
            return Err(fields.wrong("hidden_act", why));
        }
    }
    let context = fields.count("max_position_embeddings")?;
    fields.same("max_sequence_length", "max_position_embeddings", context)?;
    check_windows(family, &mut fields, context)?;
    let rope = Rope::take(&mut fields, None)?;
    let (qkv_bias, out_bias) = match family {
        Family::Qwen2 => (true, false),
        Family::Mistral => (false, false),
        _ => [fields.flag("attention_bias", false)?; 2].into(),
    };
    let bias = family == Family::Llama && fields.flag("mlp_bias", false)?;
    let attention = grouped([heads, kv_heads, head_dim], rope.base, None);
    let layers = fields.count("num_hidden_layers")?;
    let config = ModelConfig {
        vocabulary: fields.count("vocab_size")?,
        mlp_width: Some(fields.count("intermediate_size")?),
        norm_epsilon: fields.number("rms_norm_eps")?,
        tied: fields.flag("tie_word_embeddings", false)?,
        bias,
        qkv_bias: (qkv_bias != bias).then_some(qkv_bias),
        out_bias: (out_bias != bias).then_some(out_bias),
        qk_norm: family == Family::Qwen3,
        rope_scaling: rope.scaling,
        ..ModelConfig::llama(context, layers, width, attention)
    };
    fields.finish(family.model_type())?;
    Ok(config)
}

/// Refuses attention over a window that is shorter than the context.
fn check_windows(family: Family, fields: &mut Fields, context: usize) -> Result<(), Error> {
    if let Some(types) = fields.take("layer_types") {
        let full = |kind: &Value| kind == "full_attention";
        if !types.as_array().is_some_and(|types| types.iter().all(full)) {
            return Err(fields.wrong("layer_types", "names others than full_attention"));
        }
    }
    if family == Family::Llama {
        return Ok(());
    }
    let given = fields.has("sliding_window");
    let window = fields.optional_count("sliding_window")?;
    let window = match family {
        Family::Mistral if !given => Some(4096),
        Family::Mistral => window,
        _ => {
            fields.take("max_window_layers");
            let used = fields.flag("use_sliding_window", false)?;
            used.then_some(window).flatten()
        }
    };
    match window {
        Some(window) if window < context => Err(fields.wrong(
            "sliding_window",
            format!(
                "= {window}{} is shorter than the context of {context}: windows are not supported",
                if given {
                    ""
                } else {
                    " (the value of an absent one)"
                },
            ),
        )),
        _ => Ok(()),
    }
}

fn llama_fields(family: Family, config: &ModelConfig) -> Value {
    let [heads, kv_heads, head_dim] = heads(config).unwrap_or_default();
    let base = config.rotation().map(|(_, base)| base);
    let mut fields = json!({
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width(),
        "num_hidden_layers": config.layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "max_position_embeddings": config.context,
        "rms_norm_eps": config.norm_epsilon,
        "hidden_act": "silu",
        "rope_theta": base,
        "rope_scaling": written(&config.rope_scaling),
        "dtype": "float32",
    });
    if family == Family::Llama {
        fields["mlp_bias"] = json!(config.bias);
    }
    if family != Family::Qwen2 {
        fields["attention_bias"] = json!(config.qkv_bias());
    }
    if family != Family::Llama {
        fields["use_sliding_window"] = json!(false);
    }
    fields
}

/// The MLP's form by the name of its activation.
fn gelu(fields: &mut Fields, field: &str, absent: &str) -> Result<Mlp, Error> {
    let name = fields.text(field)?.unwrap_or_else(|| absent.into());
    match name.as_str() {
        "gelu" | "gelu_python" => Ok(Mlp::Gelu),
        tanh if TANH.contains(&tanh) => Ok(Mlp::GeluTanh),
        other => Err(fields.wrong(
            field,
            format!(
                "= {other:?} is not supported: only gelu and {} are",
                TANH.join(", ")
            ),
        )),
    }
}

fn gelu_name(config: &ModelConfig) -> &'static str {
    match config.mlp {
        Mlp::GeluTanh => "gelu_new",
        _ => "gelu",
    }
}

fn neox(mut fields: Fields) -> Result<ModelConfig, Error> {
    let width = fields.count("hidden_size")?;
    let heads = fields.count("num_attention_heads")?;
    let head_dim = default_head_dim(&fields, width, heads)?;
    let rope = Rope::take(&mut fields, Some(["rotary_emb_base", "rotary_pct"]))?;
    let share = rope.share.unwrap_or(0.25);
    // Rounded down, as `transformers` does.
    let rotary = (head_dim as f64 * share) as usize;
    let bias = fields.flag("attention_bias", true)?;
    let context = fields.count("max_position_embeddings")?;
    let layers = fields.count("num_hidden_layers")?;
    let attention = grouped(
        [heads, heads, head_dim],
        rope.base,
        (rotary != head_dim).then_some(rotary),
    );
    let config = ModelConfig {
        vocabulary: fields.count("vocab_size")?,
        mlp_width: Some(fields.count("intermediate_size")?),
        mlp: gelu(&mut fields, "hidden_act", "gelu")?,
        norm_epsilon: fields.number("layer_norm_eps")?,
        tied: fields.flag("tie_word_embeddings", false)?,
        qkv_bias: (!bias).then_some(false),
        out_bias: (!bias).then_some(false),
        parallel_residual: fields.flag("use_parallel_residual", true)?,
        rope_scaling: rope.scaling,
        ..ModelConfig::neox(context, layers, width, attention)
    };
    fields.finish(Family::GptNeoX.model_type())?;
    Ok(config)
}

fn neox_fields(config: &ModelConfig) -> Value {
    let [heads, _, head_dim] = heads(config).unwrap_or_default();
    let (rotary, base) = config.rotation().unwrap_or_default();
    let exact = rotary as f64 / head_dim as f64;
    let share = if (head_dim as f64 * exact) as usize == rotary {
        exact
    } else {
        // Rounding down then gives the whole number.
        (rotary as f64 + 0.5) / head_dim as f64
    };
    json!({
        "hidden_size": config.width,
        "intermediate_size": config.mlp_width(),
        "num_hidden_layers": config.layers,
        "num_attention_heads": heads,
        "max_position_embeddings": config.context,
        "layer_norm_eps": config.norm_epsilon,
        "hidden_act": gelu_name(config),
        "rotary_pct": share,
        "rotary_emb_base": base,
        "rope_scaling": written(&config.rope_scaling),
        "use_parallel_residual": config.parallel_residual,
        "attention_bias": config.qkv_bias(),
        "attention_dropout": 0.0,
        "hidden_dropout": 0.0,
        "dtype": "float32",
    })
}

fn gpt2(mut fields: Fields) -> Result<ModelConfig, Error> {
    let width = fields.count("n_embd")?;
    let heads = fields.count("n_head")?;
    let head_dim = default_head_dim(&fields, width, heads)?;
    let context = fields.count("n_positions")?;
    fields.same("n_ctx", "n_positions", context)?;
    let layers = fields.count("n_layer")?;
    for (alias, field, value) in [
        ("hidden_size", "n_embd", width),
        ("num_attention_heads", "n_head", heads),
        ("num_hidden_layers", "n_layer", layers),
        ("max_position_embeddings", "n_positions", context),
    ] {
        fields.same(alias, field, value)?;
    }
    fields.only("scale_attn_weights", &json!(true))?;
    fields.only("scale_attn_by_inverse_layer_idx", &json!(false))?;
    let attention = grouped([heads, heads, head_dim], 10_000.0, None);
    let config = ModelConfig {
        vocabulary: fields.count("vocab_size")?,
        mlp_width: Some(
            fields
                .optional_count("n_inner")?
                .unwrap_or(width.saturating_mul(4)),
        ),
        mlp: gelu(&mut fields, "activation_function", "gelu_new")?,
        norm_epsilon: fields.number("layer_norm_epsilon")?,
        tied: fields.flag("tie_word_embeddings", true)?,
        positions: Positions::Learned,
        rope_scaling: RopeScaling::None,
        ..ModelConfig::neox(context, layers, width, attention)
    };
    fields.finish(Family::Gpt2.model_type())?;
    Ok(config)
}

fn gpt2_fields(config: &ModelConfig) -> Value {
    let [heads, _, _] = heads(config).unwrap_or_default();
    json!({
        "n_embd": config.width,
        "n_inner": config.mlp_width(),
        "n_layer": config.layers,
        "n_head": heads,
        "n_positions": config.context,
        "layer_norm_epsilon": config.norm_epsilon,
        "activation_function": gelu_name(config),
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "dtype": "float32",
    })
}
