/// What all parameters of an AdamW step (arXiv 1711.05101) share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Decay of the first moment, β₁.
    pub beta_1: f32,
    /// Decay of the second moment, β₂.
    pub beta_2: f32,
    /// ε, added to the root of the corrected second moment.
    pub epsilon: f32,
    /// The number of this step, from 1: for the correction of the moments' bias.
    pub step: u64,
    /// Every gradient is multiplied by this first: 1, or a clipping factor.
    pub gradient_factor: f32,
}

/// What the parameters of one group share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GroupSettings {
    /// The learning rate of this step.
    pub learning_rate: f32,
    /// Decoupled weight decay: values shrink by learning rate × decay.
    pub weight_decay: f32,
}
