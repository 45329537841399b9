use simattn_kernels::call::NumberType;

/// How a model is kept and what its caches keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunningOptions {
    /// The type of dense weights and of the embedding. Norms, biases and the expansions of SAS stay
    /// float32.
    pub weights: NumberType,
    /// The type of what caches keep.
    pub cache: NumberType,
    /// What the caches of SAS keep; without effect on other variants.
    pub form: CacheForm,
}

/// What the cache of a running SAS sequence keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheForm {
    /// Expanded keys and values, and beside them the projected ones.
    #[default]
    Expanded,
    /// Projected keys and values alone; every step expands those of the whole sequence.
    Compact,
}
