//! One call, checked, and the expansion that both directions begin with.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{Expansion, Rotation, SasInputs, SasWeights};
use crate::call::{Aggregation, RopePlacement, SasOptions, SasShape};
use crate::cpu::blocked::{BLOCK, Geometry};
use crate::cpu::expansion::{Chunk, ExpandChunk, Prepared, Sizes, chunk_len};
use crate::cpu::memory::{Shared, read_at, with_scratch};
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::store;

/// Batch elements are worked on together until they hold so many tokens.
const TOKENS_IN_WORK: usize = 1024;

/// One call: sizes and expansions, checked.
pub(super) struct Call<'a> {
    pub(super) set: InstructionSet,
    pub(super) shape: SasShape,
    pub(super) geometry: Geometry,
    pub(super) inputs: SasInputs<'a>,
    /// Of q, k and v.
    pub(super) plans: [Prepared<'a>; 3],
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
        let SasShape {
            batch,
            queries,
            keys,
            heads,
            kv_heads,
            expanded_heads,
            head_dim,
            expanded_head_dim,
            kernel_size,
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
        assert!(weights.v.features.is_none(), "v keeps its width");
        assert_eq!(
            weights.k.heads.is_some(),
            weights.v.heads.is_some(),
            "k and v have the same heads"
        );
        let groups = match options.aggregation {
            Aggregation::Peaa => expanded_heads / heads,
            Aggregation::Full => 1,
        };
        assert!(
            groups > 0 && (groups == 1 || groups * heads == expanded_heads),
            "heads do not divide the expanded heads"
        );
        let kv_expanded = if weights.k.heads.is_some() {
            expanded_heads
        } else {
            kv_heads
        };
        assert!(
            kv_expanded > 0 && expanded_heads % kv_expanded == 0,
            "key/value heads do not divide the heads"
        );
        let plan = |weights: Expansion<'a>,
                    heads: usize,
                    tokens: usize,
                    rotation: Option<Rotation<'a>>,
                    width: usize,
                    factor: f64| {
            let sizes = Sizes {
                heads,
                expanded_heads: if weights.heads.is_some() {
                    expanded_heads
                } else {
                    heads
                },
                width: head_dim,
                expanded_width: width,
                kernel_size: if weights.heads.is_some() {
                    kernel_size
                } else {
                    1
                },
            };
            let at = |placement| rotation.filter(|r| options.rope == placement && r.half > 0);
            let (before, after) = (at(RopePlacement::Before), at(RopePlacement::After));
            Prepared::new(
                sizes,
                weights,
                options.expansion,
                before,
                after,
                factor as f32,
                set.lanes(),
                tokens,
            )
        };
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
        let rotations = inputs.rotations;
        let plans = [
            plan(
                weights.q,
                heads,
                queries,
                rotations.map(|r| r.0),
                expanded_head_dim,
                options.attention.scale,
            ),
            plan(
                weights.k,
                kv_heads,
                keys,
                rotations.map(|r| r.1),
                expanded_head_dim,
                1.0,
            ),
            plan(weights.v, kv_heads, keys, None, head_dim, 1.0),
        ];
        assert_eq!(
            plans[0].sizes.expanded_heads, expanded_heads,
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
            inputs,
            plans,
            kv_heads: kv_expanded,
            groups,
        }
    }

    /// Batch elements worked on together: by shape alone.
    pub(super) fn in_work(&self) -> usize {
        (TOKENS_IN_WORK / self.shape.queries.max(self.shape.keys).max(1)).max(1)
    }

    /// Input values and tokens of q (0), k (1) or v (2).
    pub(super) fn source(&self, which: usize) -> (&'a [f32], usize) {
        match which {
            0 => (self.inputs.q, self.shape.queries),
            1 => (self.inputs.k, self.shape.keys),
            _ => (self.inputs.v, self.shape.keys),
        }
    }

    /// Expanded values of one batch element.
    pub(super) fn size(&self, which: usize) -> usize {
        let sizes = self.plans[which].sizes;
        sizes.expanded_heads * self.head_size(which)
    }

    /// Expanded values of one head.
    pub(super) fn head_size(&self, which: usize) -> usize {
        self.source(which).1.div_ceil(BLOCK) * self.plans[which].sizes.expanded_width * BLOCK
    }

    /// Values kept between the stages for one batch element.
    pub(super) fn kept_size(&self, which: usize) -> usize {
        let plan = &self.plans[which];
        self.source(which).1.div_ceil(plan.chunk_len) * plan.kept()
    }

    /// Expands q, k and v of `count` batch elements from `first`.
    pub(super) fn expand(
        &self,
        first: usize,
        count: usize,
        lanes: [Shared; 3],
        kept: Option<[Shared; 3]>,
    ) {
        let blocks = [0, 1, 2].map(|which| self.source(which).1.div_ceil(BLOCK));
        let all: usize = blocks.iter().sum();
        (0..count * all)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let (element, mut block) = (task / all, task % all);
                let mut which = 0;
                while block >= blocks[which] {
                    block -= blocks[which];
                    which += 1;
                }
                let plan = &self.plans[which];
                let (source, tokens) = self.source(which);
                let token_size = plan.sizes.heads * plan.sizes.width;
                let (size, head_size) = (self.size(which), self.head_size(which));
                let block_size = plan.sizes.expanded_width * BLOCK;
                with_scratch(plan.room(), |room| {
                    let room = room.map(|r| r.as_mut_ptr());
                    for at in (0..BLOCK).step_by(plan.chunk_len) {
                        let token = block * BLOCK + at;
                        // Chunks behind the last token are expanded as well, so that every lane is written.
                        let chunk = Chunk {
                            token,
                            count: tokens.saturating_sub(token).min(plan.chunk_len),
                        };
                        let from = ((first + element) * tokens + token.min(tokens)) * token_size;
                        let target = lanes[which].at(element * size + block * block_size + at, 1);
                        if chunk.count == 0 {
                            self.set.run(ZeroLanes {
                                heads: plan.sizes.expanded_heads,
                                head_stride: head_size,
                                width: plan.sizes.expanded_width,
                                target,
                            });
                            continue;
                        }
                        let kept = match kept {
                            Some(kept) if plan.kept() > 0 => kept[which].at(
                                element * self.kept_size(which)
                                    + token / plan.chunk_len * plan.kept(),
                                plan.kept(),
                            ),
                            _ => std::ptr::null_mut(),
                        };
                        self.set.run(ExpandChunk {
                            plan,
                            chunk,
                            source: read_at(source, from, chunk.count * token_size),
                            room,
                            target,
                            head_stride: head_size,
                            kept,
                        });
                    }
                });
            });
    }
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
