//! One call, checked, and the expansion that both directions begin with.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::operand::{Compact, Expanded, Operand, share_of};
use super::{SasInputs, SasWeights};
use crate::call::{Aggregation, SasOptions, SasShape};
use crate::cpu::blocked::{BLOCK, Geometry};
use crate::cpu::expansion::{Chunk, ExpandChunk, chunk_len};
use crate::cpu::memory::{read_at, with_scratch};
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::store;

/// Batch elements are worked on together until they hold so many tokens.
const TOKENS_IN_WORK: usize = 1024;

/// One call: sizes and expansions, checked.
pub(super) struct Call<'a> {
    pub(super) set: InstructionSet,
    pub(super) shape: SasShape,
    pub(super) geometry: Geometry,
    /// q, k and v.
    pub(super) operands: [Operand<'a>; 3],
    /// Heads of the expanded k and v.
    pub(super) kv_heads: usize,
    /// Groups that are averaged, r; 1 if all heads are kept.
    pub(super) groups: usize,
}

impl<'a> Call<'a> {
    pub(super) fn new(
        set: InstructionSet,
        shape: &SasShape,
        inputs: SasInputs<'a>,
        weights: &SasWeights<'a>,
        options: &SasOptions,
    ) -> Self {
        // What would run as another set must be laid out as that set.
        let set = if set.is_available() {
            set
        } else {
            InstructionSet::Scalar
        };
        check_inputs(shape, &inputs);
        let kv_heads = check_heads(shape, weights);
        let groups = groups(shape, options.aggregation);
        let SasShape {
            queries,
            keys,
            heads,
            expanded_heads,
            head_dim,
            expanded_head_dim,
            ..
        } = *shape;
        let (q_rotation, k_rotation) = inputs.rotations.unzip();
        let q = Compact {
            source: inputs.q,
            tokens: queries,
            heads,
            weights: weights.q,
            rotation: q_rotation,
            expanded_width: expanded_head_dim,
            factor: options.attention.scale as f32,
        };
        let k = Compact {
            source: inputs.k,
            tokens: keys,
            heads: shape.kv_heads,
            weights: weights.k,
            rotation: k_rotation,
            expanded_width: expanded_head_dim,
            factor: 1.0,
        };
        let v = Compact {
            source: inputs.v,
            weights: weights.v,
            rotation: None,
            expanded_width: head_dim,
            ..k
        };
        let operands = [q, k, v].map(|compact| compact.operand(set, shape, options));
        assert_eq!(
            operands[0].expanded_heads(),
            expanded_heads,
            "q's expanded heads"
        );
        let geometry = Geometry {
            queries,
            keys,
            width: expanded_head_dim,
            value_width: head_dim,
            options: options.attention,
        };
        Self {
            set,
            shape: *shape,
            geometry,
            operands,
            kv_heads,
            groups,
        }
    }

    /// Batch elements worked on together: by shape alone.
    pub(super) fn in_work(&self) -> usize {
        (TOKENS_IN_WORK / self.shape.queries.max(self.shape.keys).max(1)).max(1)
    }

    /// Heads of the output.
    pub(super) fn out_heads(&self) -> usize {
        self.shape.expanded_heads / self.groups
    }

    /// Expands q, k and v of `count` batch elements from `first`.
    pub(super) fn expand(&self, first: usize, count: usize, expanded: &[Expanded<'_>; 3]) {
        let all: usize = expanded.iter().map(|x| x.operand.blocks()).sum();
        (0..count * all)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let (element, at) = (task / all, task % all);
                let (expanded, block) = share_of(expanded, |x| x.operand.blocks(), at);
                self.expand_block(expanded, first, element, block);
            });
    }

    /// Expands one block of one operand of batch element `first + element`.
    fn expand_block(&self, expanded: &Expanded<'_>, first: usize, element: usize, block: usize) {
        let operand = expanded.operand;
        let (expansion, tokens) = (&operand.expansion, operand.tokens);
        let sizes = expansion.sizes;
        let token_size = sizes.heads * sizes.width;
        let block_size = sizes.expanded_width * BLOCK;
        with_scratch(expansion.room(), |room| {
            let room = room.map(|r| r.as_mut_ptr());
            for at in (0..BLOCK).step_by(expansion.chunk_len) {
                let token = block * BLOCK + at;
                // Chunks behind the last token are expanded as well, so that every lane is written.
                let chunk = Chunk {
                    token,
                    count: tokens.saturating_sub(token).min(expansion.chunk_len),
                };
                let from = ((first + element) * tokens + token.min(tokens)) * token_size;
                let to = element * operand.size() + block * block_size + at;
                let target = expanded.lanes.at(to, 1);
                if chunk.count == 0 {
                    self.set.run(ZeroLanes {
                        heads: sizes.expanded_heads,
                        head_stride: operand.head_size(),
                        width: sizes.expanded_width,
                        target,
                    });
                    continue;
                }
                let kept = match expanded.kept {
                    Some(kept) if expansion.kept() > 0 => {
                        kept.at(operand.kept_at(element, token), expansion.kept())
                    }
                    _ => std::ptr::null_mut(),
                };
                self.set.run(ExpandChunk {
                    plan: expansion,
                    chunk,
                    source: read_at(operand.source, from, chunk.count * token_size),
                    room,
                    target,
                    head_stride: operand.head_size(),
                    kept,
                });
            }
        });
    }
}

fn check_inputs(shape: &SasShape, inputs: &SasInputs<'_>) {
    let SasShape {
        batch,
        queries,
        keys,
        heads,
        kv_heads,
        head_dim,
        ..
    } = *shape;
    assert_eq!(
        inputs.q.len(),
        batch * queries * heads * head_dim,
        "q is not [B, T, H, D]"
    );
    assert_eq!(
        inputs.k.len(),
        batch * keys * kv_heads * head_dim,
        "k is not [B, S, G, D]"
    );
    assert_eq!(
        inputs.v.len(),
        batch * keys * kv_heads * head_dim,
        "v is not [B, S, G, D]"
    );
    for (rotation, tokens) in inputs
        .rotations
        .iter()
        .flat_map(|r| [(r.0, queries), (r.1, keys)])
    {
        let needed = tokens * rotation.half;
        assert!(
            rotation.cos.len() >= needed && rotation.sin.len() >= needed,
            "the rotation ends before the tokens"
        );
    }
}

/// Heads of the expanded k and v.
fn check_heads(shape: &SasShape, weights: &SasWeights<'_>) -> usize {
    assert!(weights.v.features.is_none(), "v keeps its width");
    assert_eq!(
        weights.k.heads.is_some(),
        weights.v.heads.is_some(),
        "k and v have the same heads"
    );
    let expanded = if weights.k.heads.is_some() {
        shape.expanded_heads
    } else {
        shape.kv_heads
    };
    assert!(
        expanded > 0 && shape.expanded_heads.is_multiple_of(expanded),
        "key/value heads do not divide the heads"
    );
    expanded
}

/// Groups that are averaged.
fn groups(shape: &SasShape, aggregation: Aggregation) -> usize {
    let groups = match aggregation {
        Aggregation::Peaa => shape.expanded_heads / shape.heads,
        Aggregation::Full => 1,
    };
    assert!(
        groups > 0 && (groups == 1 || groups * shape.heads == shape.expanded_heads),
        "heads do not divide the expanded heads"
    );
    groups
}

/// Writes zeros to a chunk's lanes of a block, all heads and features.
struct ZeroLanes {
    heads: usize,
    head_stride: usize,
    width: usize,
    target: *mut f32,
}

impl WithSimd for ZeroLanes {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for head in 0..self.heads {
            for d in 0..self.width {
                for at in (0..chunk_len(S::F32_LANES)).step_by(S::F32_LANES) {
                    // SAFETY: inside a block of the room, as the builder placed it.
                    unsafe {
                        store(
                            simd,
                            self.target.add(head * self.head_stride + d * BLOCK + at),
                            simd.splat_f32s(0.0),
                        )
                    };
                }
            }
        }
    }
}
