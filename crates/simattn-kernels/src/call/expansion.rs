/// The parts of an expansion's second stage that ablations switch off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpansionOptions {
    /// Whether the second map's result is added to the first one's (else it replaces it).
    pub residual: bool,
    /// Whether a ReLU comes before the second map.
    pub relu: bool,
}

impl Default for ExpansionOptions {
    fn default() -> Self {
        Self {
            residual: true,
            relu: true,
        }
    }
}

/// Two maps in a row: a head stage (two convolutions) or a feature stage (two linear maps).
///
/// With H heads in, H' out, D features in and D' out, and kernel size κ:
///
/// | | head stage | feature stage |
/// |---|---|---|
/// | first weight | [H', H, κ] | [D', D] |
/// | first bias | `[H']` | `[D']` |
/// | second weight | [H', H', κ] | [D', D'] |
/// | second bias | `[H']` | `[D']` |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage<Weight, Bias = Weight> {
    /// Weight of the first map.
    pub first_weight: Weight,
    /// Bias of the first map.
    pub first_bias: Bias,
    /// Weight of the second map.
    pub second_weight: Weight,
    /// Bias of the second map.
    pub second_bias: Bias,
}

impl<W, B> Stage<W, B> {
    /// `weight` of both weights and `bias` of both biases.
    pub fn map<V, C>(
        self,
        mut weight: impl FnMut(W) -> V,
        mut bias: impl FnMut(B) -> C,
    ) -> Stage<V, C> {
        Stage {
            first_weight: weight(self.first_weight),
            first_bias: bias(self.first_bias),
            second_weight: weight(self.second_weight),
            second_bias: bias(self.second_bias),
        }
    }
}

/// The maps that one of q, k, v goes through; a stage that is `None` is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expansion<Heads, Features = Heads> {
    /// H → H' heads, G → H' of k and v.
    pub heads: Option<Heads>,
    /// D → D' features (q and k only: v keeps its width).
    pub features: Option<Features>,
}

impl<H, F> Default for Expansion<H, F> {
    fn default() -> Self {
        Self {
            heads: None,
            features: None,
        }
    }
}

impl<H, F> Expansion<H, F> {
    /// `heads` of the head stage and `features` of the feature stage, in this order.
    pub fn map<I, G>(
        self,
        heads: impl FnOnce(H) -> I,
        features: impl FnOnce(F) -> G,
    ) -> Expansion<I, G> {
        Expansion {
            heads: self.heads.map(heads),
            features: self.features.map(features),
        }
    }
}

/// One thing for each of q, k and v.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Qkv<T> {
    /// For the queries.
    pub q: T,
    /// For the keys.
    pub k: T,
    /// For the values.
    pub v: T,
}

impl<T> Qkv<T> {
    /// `function` of q's, then of k's, then of v's.
    pub fn map<U>(self, mut function: impl FnMut(T) -> U) -> Qkv<U> {
        Qkv {
            q: function(self.q),
            k: function(self.k),
            v: function(self.v),
        }
    }
}

impl<T> From<Qkv<T>> for [T; 3] {
    fn from(Qkv { q, k, v }: Qkv<T>) -> Self {
        [q, k, v]
    }
}

impl<T> From<[T; 3]> for Qkv<T> {
    fn from([q, k, v]: [T; 3]) -> Self {
        Self { q, k, v }
    }
}
