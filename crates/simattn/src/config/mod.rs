//! What a model is made of: one typed tree that a TOML preset, a command line and a saved model
//! share.

mod attention;
mod error;
mod rope;

pub use attention::{
    AttentionConfig, FactorisedConfig, GroupedConfig, LatentConfig, MultiHeadConfig,
    MultiQueryConfig, SasConfig, TensorProductConfig,
};
pub use error::ModelConfigError;
use error::{at_least_one, positive};
pub use rope::RopeScaling;
use serde::{Deserialize, Serialize};
pub use simattn_kernels::call::{Aggregation, RopePlacement};

/// A decoder-only language model: pre-norm blocks of attention and MLP.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// Number of token ids V; 0 in a preset: take it from the tokenizer.
    #[serde(default)]
    pub vocabulary: usize,
    /// Tokens in a training window, T.
    pub context: usize,
    /// Number of blocks L.
    pub layers: usize,
    /// Model width C.
    pub width: usize,
    /// Width of the MLP's inner layer; left out: 4·C for GELU, ⌊8·C/3⌋ for SwiGLU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mlp_width: Option<usize>,
    /// Normalisation before each sub-layer and at the end.
    #[serde(default)]
    pub norm: Norm,
    /// ε of the normalisation.
    #[serde(default = "default_norm_epsilon")]
    pub norm_epsilon: f64,
    /// The MLP's form.
    #[serde(default)]
    pub mlp: Mlp,
    /// Whether dense layers carry biases (the head never does).
    #[serde(default = "yes")]
    pub bias: bool,
    /// Biases of the q, k and v projections of MHA, GQA, MQA and SAS; left out: as `bias` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qkv_bias: Option<bool>,
    /// Bias of the attention's output projection, likewise; left out: as `bias` says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_bias: Option<bool>,
    /// RMSNorm over the features of every projected head of q and k, one weight for all heads,
    /// before positions and expansions (Qwen3); MHA, GQA, MQA and SAS only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub qk_norm: bool,
    /// `x + attention(norm(x)) + mlp(norm'(x))` in place of one after the other (GPT-NeoX).
    #[serde(default, skip_serializing_if = "is_default")]
    pub parallel_residual: bool,
    /// How a token's place enters the model.
    #[serde(default, skip_serializing_if = "is_default")]
    pub positions: Positions,
    /// What a longer context does to the rotary frequencies.
    #[serde(default, skip_serializing_if = "is_default")]
    pub rope_scaling: RopeScaling,
    /// Whether the head shares the embedding's weights.
    #[serde(default)]
    pub tied: bool,
    /// How weights are drawn before training.
    #[serde(default)]
    pub init: Init,
    /// The attention of every block.
    pub attention: AttentionConfig,
}

fn yes() -> bool {
    true
}

fn default_norm_epsilon() -> f64 {
    1e-5
}

/// Fields that pretrained models of other makes need are written only where they say something.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How a token's place in the window enters the model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Positions {
    /// Rotary embeddings inside the attention.
    #[default]
    Rotary,
    /// A learned vector for each of the `context` places, added to the embedding (GPT-2); nothing
    /// rotates.
    Learned,
}

/// Normalisation of a block's input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Norm {
    /// LayerNorm with weight and bias (GPT-NeoX style).
    #[default]
    Layer,
    /// RMSNorm with weight (Llama style).
    Rms,
}

/// The form of the MLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mlp {
    /// C → F, exact GELU, F → C.
    #[default]
    Gelu,
    /// C → F, GELU in its tanh form, F → C (GPT-2).
    GeluTanh,
    /// silu(C → F) · (C → F), then F → C.
    Swiglu,
}

/// Initialisation of the dense weights; biases start at 0, norms at 1, and an attention variant
/// whose paper states its own scheme for some maps (SAS's expansions, TPA's factors) keeps that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Init {
    /// small_init: normal with σ = √(2/(5·C)); outputs into the residual stream by wang_init:
    /// σ = 2/(L·√C) (GPT-NeoX).
    #[default]
    Small,
    /// Normal with σ = 0.02; outputs into the residual stream start at zero (TPA's recipe).
    ZeroOutput,
}

impl ModelConfig {
    /// GPT-NeoX style: LayerNorm, GELU, biases, untied, small_init and wang_init.
    pub fn neox(context: usize, layers: usize, width: usize, attention: AttentionConfig) -> Self {
        Self {
            vocabulary: 0,
            context,
            layers,
            width,
            mlp_width: None,
            norm: Norm::Layer,
            norm_epsilon: default_norm_epsilon(),
            mlp: Mlp::Gelu,
            bias: true,
            qkv_bias: None,
            out_bias: None,
            qk_norm: false,
            parallel_residual: false,
            positions: Positions::Rotary,
            rope_scaling: RopeScaling::None,
            tied: false,
            init: Init::Small,
            attention,
        }
    }

    /// Llama style: RMSNorm, SwiGLU, no biases, tied, output projections starting at zero.
    pub fn llama(context: usize, layers: usize, width: usize, attention: AttentionConfig) -> Self {
        Self {
            norm: Norm::Rms,
            mlp: Mlp::Swiglu,
            bias: false,
            tied: true,
            init: Init::ZeroOutput,
            ..Self::neox(context, layers, width, attention)
        }
    }

    /// The MLP's inner width F.
    pub fn mlp_width(&self) -> usize {
        self.mlp_width.unwrap_or(match self.mlp {
            // Saturating: an absurd width is refused by `validate`, which asks for this too.
            Mlp::Gelu | Mlp::GeluTanh => self.width.saturating_mul(4),
            Mlp::Swiglu => self.width.saturating_mul(8) / 3,
        })
    }

    /// Whether q, k and v are projected with biases, where the variant allows any.
    pub fn qkv_bias(&self) -> bool {
        self.qkv_bias.unwrap_or(self.bias)
    }

    /// Whether the attention's output projection has a bias, where the variant allows one.
    pub(crate) fn out_bias(&self) -> bool {
        self.out_bias.unwrap_or(self.bias)
    }

    /// How many features rotary embeddings turn, and their base; `None` where nothing rotates.
    pub fn rotation(&self) -> Option<(usize, f64)> {
        match self.positions {
            Positions::Rotary => self.attention.rotation(),
            Positions::Learned => None,
        }
    }

    /// Checks every field against the others.
    ///
    /// # Errors
    /// The first field that does not fit, with its value and what is allowed. A vocabulary of 0
    /// passes: it is filled in from the tokenizer before a model is built.
    pub fn validate(&self) -> Result<(), ModelConfigError> {
        at_least_one("model.context", self.context)?;
        at_least_one("model.layers", self.layers)?;
        at_least_one("model.width", self.width)?;
        at_least_one("model.mlp_width", self.mlp_width())?;
        positive("model.norm_epsilon", self.norm_epsilon)?;
        if self.vocabulary > i32::MAX as usize {
            return Err(ModelConfigError::OutOfRange {
                field: "model.vocabulary",
                value: self.vocabulary.to_string(),
                allowed: "at most 2147483647".into(),
            });
        }
        self.check_size()?;
        self.attention.validate()?;
        self.check_pretrained()
    }

    /// The fields of other makes against the attention variant.
    fn check_pretrained(&self) -> Result<(), ModelConfigError> {
        let contradiction = |field, value: String, why| {
            Err(ModelConfigError::Contradiction {
                field,
                value,
                other: format!("attention.kind = {}", self.attention.name()),
                why,
            })
        };
        let projects = match &self.attention {
            AttentionConfig::Mha(_) | AttentionConfig::Mqa(_) => true,
            AttentionConfig::Gqa(_) | AttentionConfig::Sas(_) => true,
            AttentionConfig::Mla(_) | AttentionConfig::Tpa(_) | AttentionConfig::Mfa(_) => false,
        };
        if !projects {
            let why = "only mha, gqa, mqa and sas project q, k and v plainly";
            for (field, given) in [
                ("model.qkv_bias", self.qkv_bias),
                ("model.out_bias", self.out_bias),
            ] {
                if let Some(value) = given {
                    return contradiction(field, value.to_string(), why);
                }
            }
            if self.qk_norm {
                return contradiction("model.qk_norm", "true".into(), why);
            }
        }
        self.rope_scaling.validate()?;
        if self.positions == Positions::Rotary {
            return Ok(());
        }
        const FIELD: &str = "model.positions";
        let learned = || "learned".to_owned();
        if self.rope_scaling != RopeScaling::None {
            return contradiction(FIELD, learned(), "nothing rotates, so rope_scaling must go");
        }
        match &self.attention {
            AttentionConfig::Mha(MultiHeadConfig { rotary_dim, .. })
            | AttentionConfig::Mqa(MultiHeadConfig { rotary_dim, .. })
            | AttentionConfig::Gqa(GroupedConfig { rotary_dim, .. })
                if rotary_dim.is_none() =>
            {
                Ok(())
            }
            AttentionConfig::Sas(sas) if sas.rope == RopePlacement::None => Ok(()),
            AttentionConfig::Sas(_) => {
                contradiction(FIELD, learned(), "sas needs rope = \"none\" then")
            }
            AttentionConfig::Mha(_) | AttentionConfig::Mqa(_) | AttentionConfig::Gqa(_) => {
                contradiction(FIELD, learned(), "nothing rotates, so rotary_dim must go")
            }
            _ => contradiction(
                FIELD,
                learned(),
                "its rotated part is part of its definition",
            ),
        }
    }

    /// Sizes whose product would not fit a machine's memory are mistakes of typing.
    fn check_size(&self) -> Result<(), ModelConfigError> {
        const LIMIT: usize = 1 << 24;
        for (field, value) in [
            ("model.context", self.context),
            ("model.layers", self.layers),
            ("model.width", self.width),
            ("model.mlp_width", self.mlp_width()),
        ] {
            if value > LIMIT {
                return Err(ModelConfigError::OutOfRange {
                    field,
                    value: value.to_string(),
                    allowed: format!("at most {LIMIT}"),
                });
            }
        }
        Ok(())
    }
}
