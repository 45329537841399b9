//! The weights of all expansions as one tensor: one differentiable input of an operation instead
//! of twenty that may be absent. They are small.

use std::ops::Range;

use super::{Expansion, Qkv, SasShape, Stage, Stages};

/// The order of the weights in the one tensor that holds them all: q's expansion, then k's, then
/// v's; of each the head stage, then the feature stage; of each stage the first weight, the first
/// bias, the second weight, the second bias. A stage that is left out takes no place.
///
/// Whatever packs, unpacks or finds a weight does it by this type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedOrder {
    places: Qkv<Expansion<Stage<Range<usize>>>>,
    len: usize,
}

impl PackedOrder {
    /// The places for such sizes and stages.
    pub fn new(shape: &SasShape, stages: Stages) -> Self {
        let n = shape;
        let head_stage = |present: bool, inputs: usize| {
            present.then_some(Stage {
                first_weight: n.expanded_heads * inputs * n.kernel_size,
                first_bias: n.expanded_heads,
                second_weight: n.expanded_heads * n.expanded_heads * n.kernel_size,
                second_bias: n.expanded_heads,
            })
        };
        let feature_stage = |present: bool| {
            present.then_some(Stage {
                first_weight: n.expanded_head_dim * n.head_dim,
                first_bias: n.expanded_head_dim,
                second_weight: n.expanded_head_dim * n.expanded_head_dim,
                second_bias: n.expanded_head_dim,
            })
        };
        let lens = Qkv {
            q: Expansion {
                heads: head_stage(stages.query_heads, n.heads),
                features: feature_stage(stages.features),
            },
            k: Expansion {
                heads: head_stage(stages.key_value_heads, n.kv_heads),
                features: feature_stage(stages.features),
            },
            v: Expansion {
                heads: head_stage(stages.key_value_heads, n.kv_heads),
                features: None,
            },
        };
        let mut len = 0;
        let places = each_weight(lens, |piece| {
            len += piece;
            len - piece..len
        });
        Self { places, len }
    }

    /// The weights, whatever represents them, one after another in this order.
    pub fn in_order<T>(weights: Qkv<Expansion<Stage<T>>>) -> Vec<T> {
        let mut all = Vec::new();
        each_weight(weights, |weight| all.push(weight));
        all
    }

    /// Where each weight is.
    pub fn places(&self) -> &Qkv<Expansion<Stage<Range<usize>>>> {
        &self.places
    }

    /// The weights in `packed`.
    ///
    /// # Panics
    /// If `packed` ends before the last of them.
    pub fn slices<'a>(&self, packed: &'a [f32]) -> Qkv<Expansion<Stage<&'a [f32]>>> {
        each_weight(self.places.clone(), |place| &packed[place])
    }

    /// Values that all weights hold.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no weight.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// `function` of each weight, in the packed order: the one place where it is written down.
fn each_weight<T, U>(
    weights: Qkv<Expansion<Stage<T>>>,
    mut function: impl FnMut(T) -> U,
) -> Qkv<Expansion<Stage<U>>> {
    let mut stage = |stage: Stage<T>| Stage {
        first_weight: function(stage.first_weight),
        first_bias: function(stage.first_bias),
        second_weight: function(stage.second_weight),
        second_bias: function(stage.second_bias),
    };
    weights.map(|expansion| Expansion {
        heads: expansion.heads.map(&mut stage),
        features: expansion.features.map(&mut stage),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> SasShape {
        SasShape {
            batch: 2,
            queries: 3,
            keys: 4,
            heads: 2,
            kv_heads: 1,
            expanded_heads: 6,
            head_dim: 5,
            expanded_head_dim: 7,
            kernel_size: 3,
        }
    }

    #[test]
    fn weights_follow_one_another_without_gaps() {
        for bits in 0..8 {
            let stages = Stages {
                query_heads: bits & 1 > 0,
                key_value_heads: bits & 2 > 0,
                features: bits & 4 > 0,
            };
            let order = PackedOrder::new(&shape(), stages);
            let mut end = 0;
            for place in PackedOrder::in_order(order.places().clone()) {
                assert_eq!(place.start, end);
                assert!(place.end > place.start);
                end = place.end;
            }
            assert_eq!((order.len(), order.is_empty()), (end, !stages.any()));
            assert_eq!(Stages::of(order.places()), Some(stages));
        }
    }

    /// Weights packed by an earlier build stand where they stood.
    #[test]
    fn the_places_are_those_of_the_written_order() {
        let stages = Stages {
            query_heads: true,
            key_value_heads: true,
            features: true,
        };
        let places = PackedOrder::new(&shape(), stages).places().clone();
        let starts = |stage: Option<Stage<Range<usize>>>| {
            let stage = stage.map(|s| s.map(|place| place.start, |place| place.start));
            stage.map(|s| [s.first_weight, s.first_bias, s.second_weight, s.second_bias])
        };
        let Qkv { q, k, v } = places;
        // [H', H, κ] = 36 values and 6, [H', H', κ] = 108 and 6; [D', D] = 35 and 7, 49 and 7.
        assert_eq!(starts(q.heads), Some([0, 36, 42, 150]));
        assert_eq!(starts(q.features), Some([156, 191, 198, 247]));
        // One head comes in: 18 values.
        assert_eq!(starts(k.heads), Some([254, 272, 278, 386]));
        assert_eq!(starts(k.features), Some([392, 427, 434, 483]));
        assert_eq!(starts(v.heads), Some([490, 508, 514, 622]));
        assert_eq!(starts(v.features), None);
    }

    #[test]
    fn slices_are_the_packed_values() {
        let stages = Stages {
            query_heads: false,
            key_value_heads: true,
            features: true,
        };
        let order = PackedOrder::new(&shape(), stages);
        let packed: Vec<f32> = (0..order.len()).map(|i| i as f32).collect();
        assert_eq!(
            PackedOrder::in_order(order.slices(&packed)).concat(),
            packed
        );
    }
}
