use serde::{Deserialize, Serialize};

use super::{AttentionOptions, Expansion, ExpansionOptions, Qkv};

/// Where rotary position embeddings go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RopePlacement {
    /// On the expanded q and k, width D': keeps relative positions, learns best.
    #[default]
    After,
    /// On the compact q and k, width D; the expansions then mix the rotated pairs.
    Before,
    /// Nowhere.
    None,
}

/// What becomes of the r = H'/H groups of heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregation {
    /// Parameter-efficient attention aggregation: the groups are averaged; one projection
    /// H·D → C follows.
    #[default]
    Peaa,
    /// All heads are kept; a projection H'·D → C follows.
    Full,
}

/// Everything about simulated attention that is neither a tensor nor its size.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SasOptions {
    /// Scale, causality, offset and window of the attention over the expanded heads.
    pub attention: AttentionOptions,
    /// Residuals and ReLU of the expansions.
    pub expansion: ExpansionOptions,
    /// Where the rotation goes; the tables are given apart.
    pub rope: RopePlacement,
    /// Averaged groups or all heads.
    pub aggregation: Aggregation,
}

/// Sizes of one simulated attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SasShape {
    /// B
    pub batch: usize,
    /// T
    pub queries: usize,
    /// S
    pub keys: usize,
    /// H, heads of q.
    pub heads: usize,
    /// G, heads of k and v.
    pub kv_heads: usize,
    /// H', heads of the attention; H without expansion of q's heads.
    pub expanded_heads: usize,
    /// D
    pub head_dim: usize,
    /// D', width of the expanded q and k; D without expansion of their features.
    pub expanded_head_dim: usize,
    /// κ
    pub kernel_size: usize,
}

/// Which stages of the expansions there are. v has no feature stage, and k's two stages are there
/// or not as v's head stage and q's feature stage are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stages {
    /// The head stage of q, H → H'.
    pub query_heads: bool,
    /// The head stages of k and v, G → H'.
    pub key_value_heads: bool,
    /// The feature stages of q and k, D → D'.
    pub features: bool,
}

impl Stages {
    /// Those of the given expansions; `None` for a combination that kernels do not know.
    pub fn of<H, F>(Qkv { q, k, v }: &Qkv<Expansion<H, F>>) -> Option<Self> {
        let known = v.features.is_none()
            && k.heads.is_some() == v.heads.is_some()
            && q.features.is_some() == k.features.is_some();
        known.then_some(Self {
            query_heads: q.heads.is_some(),
            key_value_heads: k.heads.is_some(),
            features: q.features.is_some(),
        })
    }

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.query_heads || self.key_value_heads || self.features
    }
}

/// What simulated attention on a GPU keeps for backward, which works out the rest again; the bits
/// are the same. On a CPU it keeps what [`SasKeep::Inputs`] says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SasKeep {
    /// q, k, v and the log-sum-exp: per token H·D + 2·G·D values, and H' in float32.
    #[default]
    Inputs,
    /// The outputs of the expanded heads too: H'·D values more, and attention is worked out once.
    Outputs,
    /// Everything that backward reads, so that the expansions are worked out once as well: with all
    /// maps H'·(8·D + 4·D') values more, those of the outputs among them.
    Expansions,
}

/// What a call of simulated attention is, beside its tensors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SasCall {
    /// Sizes.
    pub shape: SasShape,
    /// Mask, placement of the rotation, form of the expansions, aggregation.
    pub options: SasOptions,
    /// Which stages the packed weights hold.
    pub stages: Stages,
    /// Rotated pairs of features; 0 without rotation.
    pub half: usize,
    /// What is kept for backward.
    pub keep: SasKeep,
}
