//! Simulated attention as one operation on CubeCL devices.
//!
//! Backward keeps compact q, k and v and the log-sum-exp. Unless more is kept ([`SasKeep`]), it
//! expands again, and works the outputs of the expanded heads out again too, because it needs their
//! products with the gradient (δ), and only their average goes on.
//!
//! How often an expanded q or k [N, H', D'] passes through device memory, forward: written by the
//! first map along the features, read by the second (as input and as residual), written, read and
//! written by the rotation, read by attention; twice more at width D by the maps along the heads.
//! The expanded v [N, H', D] is written twice, read by the second map, and read by attention. Fewer
//! passes need whole tokens in a cube's shared memory, 14 KB each at 36 heads of width 96, which
//! devices with 32 KB do not have for two buffers.

use std::ops::Range;

use burn::backend::ops::FloatTensorOps;
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::tensor::CubeTensor;

use super::aggregate::averaged;
use super::attention::{attention_gradients, attention_with_sums};
use super::expansion::{MapSizes, Maps, Turn};
use super::rotary::Rotation;
use super::tensor::{reshaped, swapped, unwritten};
use crate::call::{
    Aggregation, PackedOrder, Qkv, RopePlacement, SasCall, SasKeep, SasOptions, Stage,
};

/// One of q, k, v on its way from compact [B, T, G, D] to expanded heads.
struct Path {
    before: Option<Rotation>,
    heads: Option<Maps>,
    features: Option<Maps>,
    after: Option<Rotation>,
    /// Batch, tokens, heads and width at its end.
    end: [usize; 4],
}

/// What backward reads of an expansion.
#[derive(Clone, Debug)]
struct Steps {
    compact: CubeTensor,
    /// Between the maps along the heads, and after both.
    heads: Option<[CubeTensor; 2]>,
    /// Between the maps along the features.
    features: Option<CubeTensor>,
}

impl Path {
    /// The expanded tensor as attention reads it, [B, heads, T, width], and the steps on the way,
    /// where `keep` asks for them.
    fn expand(&self, x: &CubeTensor, keep: bool) -> (CubeTensor, Option<Steps>) {
        let compact = match &self.before {
            Some(rotation) => rotation.apply(x),
            None => x.clone(),
        };
        let mut y = compact.clone();
        let mut heads = None;
        let mut features = None;
        if let Some(maps) = &self.heads {
            let both = maps.apply(&maps.rows(&y), keep, None);
            y = both.second.clone();
            heads = both.first.map(|first| [first, both.second]);
        }
        if let Some(maps) = &self.features {
            let turn = self.after.clone().map(|rotation| Turn {
                rotation,
                shape: self.end,
            });
            let both = maps.apply(&maps.rows(&y), keep, turn.as_ref());
            features = both.first;
            y = reshaped(both.second, self.end);
        } else {
            y = reshaped(y, self.end);
            if let Some(rotation) = &self.after {
                y = rotation.apply(&y);
            }
        }
        let steps = keep.then_some(Steps {
            compact,
            heads,
            features,
        });
        (swapped(y), steps)
    }

    /// The gradient of the compact tensor from that of the expanded one, [B, heads, T, width] with
    /// tokens before heads in memory; the weights' gradients go into their place in `gradients`.
    fn gradient(&self, steps: Option<Steps>, dy: CubeTensor, gradients: &CubeTensor) -> CubeTensor {
        let mut dy = swapped(dy);
        let steps = steps.expect("backward keeps the steps");
        if let Some(rotation) = &self.after {
            dy = rotation.undo(&dy);
        }
        let expanded = match &steps.heads {
            Some([_, second]) => second,
            None => &steps.compact,
        };
        if let (Some(maps), Some(first)) = (&self.features, &steps.features) {
            dy = maps.gradient(&maps.rows(expanded), first, &dy, gradients);
        }
        if let (Some(maps), Some([first, _])) = (&self.heads, &steps.heads) {
            dy = maps.gradient(&maps.rows(&steps.compact), first, &dy, gradients);
        }
        dy = reshaped(dy, steps.compact.meta.shape().clone());
        match &self.before {
            Some(rotation) => rotation.undo(&dy),
            None => dy,
        }
    }
}

/// The ways of q, k and v.
fn paths(call: &SasCall, weights: &CubeTensor, table: &CubeTensor) -> [Path; 3] {
    let n = call.shape;
    let order = PackedOrder::new(&n, call.stages);
    let begins = |stage: &Stage<Range<usize>>| stage.clone().map(|at| at.start, |at| at.start);
    let maps = |stage: &Option<Stage<Range<usize>>>, sizes: MapSizes| {
        stage.as_ref().map(|stage| Maps {
            sizes,
            options: call.options.expansion,
            weights: weights.clone(),
            places: begins(stage),
        })
    };
    let along_heads = |inputs: usize| MapSizes {
        inputs,
        outputs: n.expanded_heads,
        positions: n.head_dim,
        taps: n.kernel_size,
    };
    let along_features = MapSizes {
        inputs: n.head_dim,
        outputs: n.expanded_head_dim,
        positions: 1,
        taps: 1,
    };
    let rotation = |first: usize, placement: RopePlacement| {
        (call.half > 0 && call.options.rope == placement).then(|| Rotation {
            table: table.clone(),
            first,
            half: call.half,
        })
    };
    let keys_table = 2 * n.queries * call.half;
    let kv_end = if call.stages.key_value_heads {
        n.expanded_heads
    } else {
        n.kv_heads
    };
    let width = if call.stages.features {
        n.expanded_head_dim
    } else {
        n.head_dim
    };
    let Qkv { q, k, v } = order.places();
    let of_q = Path {
        before: rotation(0, RopePlacement::Before),
        heads: maps(&q.heads, along_heads(n.heads)),
        features: maps(&q.features, along_features),
        after: rotation(0, RopePlacement::After),
        end: [n.batch, n.queries, n.expanded_heads, width],
    };
    let of_k = Path {
        before: rotation(keys_table, RopePlacement::Before),
        heads: maps(&k.heads, along_heads(n.kv_heads)),
        features: maps(&k.features, along_features),
        after: rotation(keys_table, RopePlacement::After),
        end: [n.batch, n.keys, kv_end, width],
    };
    let of_v = Path {
        before: None,
        heads: maps(&v.heads, along_heads(n.kv_heads)),
        features: None,
        after: None,
        end: [n.batch, n.keys, kv_end, n.head_dim],
    };
    [of_q, of_k, of_v]
}

/// An expansion of one of q, k, v alone.
pub(crate) struct ExpandCall {
    /// All weights of its stages, packed.
    pub weights: CubeTensor,
    /// Where those of the head stage begin, and its sizes: G, H', κ.
    pub heads: Option<(Stage<usize>, [usize; 3])>,
    /// Where those of the feature stage begin, and its sizes: D, D'.
    pub features: Option<(Stage<usize>, [usize; 2])>,
    /// Cosines and sines of the tokens' positions, and how many pairs of features turn.
    pub turn: Option<(CubeTensor, usize)>,
    /// Of the whole attention.
    pub options: SasOptions,
}

/// `x` [B, T, G, D] expanded and turned, as attention reads it: [B, heads, T, width].
pub(crate) fn expanded(x: CubeTensor, call: ExpandCall) -> CubeTensor {
    let x = into_contiguous(x);
    let [batch, tokens, heads, width] = x.meta.shape().dims();
    let maps = |places: Stage<usize>, sizes: MapSizes| Maps {
        sizes,
        options: call.options.expansion,
        weights: call.weights.clone(),
        places,
    };
    let rotation = |placement: RopePlacement| {
        let (table, half) = call.turn.clone()?;
        (call.options.rope == placement).then_some(Rotation {
            table,
            first: 0,
            half,
        })
    };
    let along_heads = |(places, [inputs, outputs, taps]): (Stage<usize>, [usize; 3])| {
        let sizes = MapSizes {
            inputs,
            outputs,
            positions: width,
            taps,
        };
        maps(places, sizes)
    };
    let along_features = |(places, [inputs, outputs]): (Stage<usize>, [usize; 2])| {
        let sizes = MapSizes {
            inputs,
            outputs,
            positions: 1,
            taps: 1,
        };
        maps(places, sizes)
    };
    let end_heads = call.heads.map_or(heads, |(_, [_, outputs, _])| outputs);
    let end_width = call.features.map_or(width, |(_, [_, outputs])| outputs);
    let path = Path {
        before: rotation(RopePlacement::Before),
        heads: call.heads.map(along_heads),
        features: call.features.map(along_features),
        after: rotation(RopePlacement::After),
        end: [batch, tokens, end_heads, end_width],
    };
    path.expand(&x, false).0
}

/// What backward reads beside the gradient of the output.
#[derive(Clone, Debug)]
pub struct SasKept {
    /// q, k, v, packed weights and tables.
    inputs: [CubeTensor; 5],
    /// The log-sum-exp [B, H', T].
    sums: CubeTensor,
    /// The outputs of the expanded heads, where they are kept.
    outputs: Option<CubeTensor>,
    /// q, k and v expanded, and the steps on the way, where they are kept.
    expanded: Option<[(CubeTensor, Option<Steps>); 3]>,
}

/// The aggregated output [B, T, H or H', D] of simulated attention, from q, k, v, packed weights and
/// tables, and what backward reads.
pub(crate) fn sas_attention_kept(inputs: [CubeTensor; 5], call: &SasCall) -> (CubeTensor, SasKept) {
    let [q, k, v, weights, table] = inputs.clone().map(into_contiguous);
    let [of_q, of_k, of_v] = paths(call, &weights, &table);
    let keeps_all = call.keep == SasKeep::Expansions;
    let compact = [(of_q, &q), (of_k, &k), (of_v, &v)];
    let expanded = compact.map(|(path, x)| path.expand(x, keeps_all));
    let [q, k, v] = expanded.each_ref().map(|(x, _)| x.clone());
    let (outputs, sums) = attention_with_sums(q, k, v, &call.options.attention);
    let out = match call.options.aggregation {
        Aggregation::Peaa => averaged(&outputs, call.shape.expanded_heads / call.shape.heads),
        Aggregation::Full => swapped(outputs.clone()),
    };
    let kept = SasKept {
        inputs,
        sums,
        outputs: (call.keep != SasKeep::Inputs).then_some(outputs),
        expanded: keeps_all.then_some(expanded),
    };
    (out, kept)
}

/// Gradients of q, k, v and the packed weights from that of the aggregated output.
pub(crate) fn sas_attention_gradients(
    kept: SasKept,
    dy: CubeTensor,
    call: &SasCall,
) -> [CubeTensor; 4] {
    let [q, k, v, weights, table] = kept.inputs.map(into_contiguous);
    let attention = &call.options.attention;
    let [of_q, of_k, of_v] = paths(call, &weights, &table);
    let again = || [(&of_q, &q), (&of_k, &k), (&of_v, &v)].map(|(path, x)| path.expand(x, true));
    let [(q, q_steps), (k, k_steps), (v, v_steps)] = kept.expanded.unwrap_or_else(again);
    let out = kept
        .outputs
        .unwrap_or_else(|| attention_with_sums(q.clone(), k.clone(), v.clone(), attention).0);
    let dy = match call.options.aggregation {
        Aggregation::Peaa => {
            let groups = call.shape.expanded_heads / call.shape.heads;
            CubeBackend::float_mul_scalar(dy, (1.0 / groups as f32).into())
        }
        Aggregation::Full => dy,
    };
    let state = [q, k, v, out, kept.sums];
    let [dq, dk, dv] = attention_gradients(state, swapped(dy), attention);
    // Without any map the packed weights are one unused zero, and so is their gradient.
    let len = weights.meta.num_elements();
    let gradients = if call.stages.any() {
        unwritten(&weights, [len], weights.dtype)
    } else {
        weights.clone()
    };
    let dq = of_q.gradient(q_steps, dq, &gradients);
    let dk = of_k.gradient(k_steps, dk, &gradients);
    let dv = of_v.gradient(v_steps, dv, &gradients);
    [dq, dk, dv, gradients]
}
