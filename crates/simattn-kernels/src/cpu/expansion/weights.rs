//! Weights of an expansion and their gradients, as the caller sees them.

/// Weights of a head expansion, H → H' heads.
#[derive(Clone, Copy, Debug)]
pub struct HeadExpansion<'a> {
    /// First convolution, [H', H, κ].
    pub first_weight: &'a [f32],
    /// Its bias, `[H']`.
    pub first_bias: &'a [f32],
    /// Second convolution, [H', H', κ].
    pub second_weight: &'a [f32],
    /// Its bias, `[H']`.
    pub second_bias: &'a [f32],
}

/// Weights of a feature expansion, D → D'.
#[derive(Clone, Copy, Debug)]
pub struct FeatureExpansion<'a> {
    /// First map, [D', D].
    pub first_weight: &'a [f32],
    /// Its bias, `[D']`.
    pub first_bias: &'a [f32],
    /// Second map, [D', D'].
    pub second_weight: &'a [f32],
    /// Its bias, `[D']`.
    pub second_bias: &'a [f32],
}

/// The maps that one of q, k, v goes through; a stage that is `None` is left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Expansion<'a> {
    /// H → H' heads.
    pub heads: Option<HeadExpansion<'a>>,
    /// D → D' features.
    pub features: Option<FeatureExpansion<'a>>,
}

/// Gradients of one stage, laid out as its weights.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageGradients {
    /// Of the first weight.
    pub first_weight: Vec<f32>,
    /// Of the first bias.
    pub first_bias: Vec<f32>,
    /// Of the second weight.
    pub second_weight: Vec<f32>,
    /// Of the second bias.
    pub second_bias: Vec<f32>,
}

/// Gradients of an [`Expansion`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ExpansionGradients {
    /// Of the head stage.
    pub heads: Option<StageGradients>,
    /// Of the feature stage.
    pub features: Option<StageGradients>,
}
