use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::few::{FEW, FewQueries};
use super::lanes::{PackBlock, pack};
use super::{HeadLayout, Heads};
use crate::call::{AttentionOptions, AttentionShape};
use crate::cpu::blocked::{self, BLOCK, ForwardScratch, Geometry, HeadForward};
use crate::cpu::memory::{Room, Shared, read_at, with_scratch};
use crate::cpu::output::{Output, filled};
use crate::cpu::simd::InstructionSet;
use crate::cpu::transpose::transpose;

/// Attention: output (in `out_layout`, B·H·T·D values) and the log-sum-exp of every query's scaled
/// scores [B, H, T], −∞ for a query that sees no key; its output is 0.
///
/// # Panics
/// If the slices are shorter than the shape asks, or G does not divide H.
pub fn attention_forward(
    shape: &AttentionShape,
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    options: &AttentionOptions,
    out_layout: HeadLayout,
) -> (Vec<f32>, Vec<f32>) {
    attention_forward_on(
        InstructionSet::current(),
        shape,
        q,
        k,
        v,
        options,
        out_layout,
    )
}

/// [`attention_forward`] on a chosen instruction set.
pub fn attention_forward_on(
    set: InstructionSet,
    shape: &AttentionShape,
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    options: &AttentionOptions,
    out_layout: HeadLayout,
) -> (Vec<f32>, Vec<f32>) {
    shape.check(q, k, v);
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        width,
        value_width,
    } = *shape;
    let geometry = shape.geometry(options);
    let len = batch * heads * queries * value_width;
    assert!(
        out_layout.end(batch, heads, queries, value_width) <= len,
        "the output's layout is not dense"
    );
    if queries <= FEW {
        return few_queries(set, shape, q, k, v, options, out_layout);
    }
    let (mut key_room, mut value_room) = (Room::default(), Room::default());
    let key_lanes = pack(set, &mut key_room, k, [batch, kv_heads, keys, width], 1.0);
    let value_lanes = pack(
        set,
        &mut value_room,
        v,
        [batch, kv_heads, keys, value_width],
        1.0,
    );
    let (key_size, value_size) = (
        geometry.key_blocks() * width * BLOCK,
        geometry.key_blocks() * value_width * BLOCK,
    );
    let blocks = geometry.query_blocks();
    let mut log_sum_exp = Vec::new();
    let fill = |out: Output<'_>| {
        let out = Shared::from_output(out);
        let fill = |sums: Output<'_>| {
            let sums = Shared::from_output(sums);
            (0..batch * heads * blocks)
                .into_par_iter()
                .with_max_len(1)
                .for_each(|task| {
                    // The longest blocks first: the last tasks then are short.
                    let (block, head) =
                        (blocks - 1 - task / (batch * heads), task % (batch * heads));
                    let (b, h) = (head / heads, head % heads);
                    let kv = b * kv_heads + h / (heads / kv_heads);
                    let from = q.layout.at(b, h, block * BLOCK);
                    let count = geometry.queries_in(block);
                    with_scratch(
                        [width * BLOCK, value_width * BLOCK],
                        |[query_lanes, out_lanes]| {
                            let query_lanes = query_lanes.as_mut_ptr();
                            set.run(ForwardBlock {
                                geometry: &geometry,
                                block,
                                query: read_at(
                                    q.values,
                                    from,
                                    (count - 1) * q.layout.token_stride + width,
                                ),
                                query_stride: q.layout.token_stride,
                                query_lanes,
                                head: HeadForward {
                                    query: query_lanes,
                                    keys: key_lanes.at(kv * key_size, key_size),
                                    values: value_lanes.at(kv * value_size, value_size),
                                    out: out_lanes.as_mut_ptr(),
                                    log_sum_exp: sums.at(head * queries + block * BLOCK, count),
                                },
                                out: out.at(
                                    out_layout.at(b, h, block * BLOCK),
                                    (count - 1) * out_layout.token_stride + value_width,
                                ),
                                out_stride: out_layout.token_stride,
                            });
                        },
                    );
                });
        };
        // SAFETY: the tasks cover every head and block, and each writes the log-sum-exp of its
        // queries.
        log_sum_exp = unsafe { filled(batch * heads * queries, fill) };
    };
    // SAFETY: the tasks cover every head and block, each writes the outputs of its queries, and the
    // layout is dense.
    let out = unsafe { filled(len, fill) };
    (out, log_sum_exp)
}

/// [`attention_forward_on`] for at most [`FEW`] queries: every query of every head is a task.
fn few_queries(
    set: InstructionSet,
    shape: &AttentionShape,
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    options: &AttentionOptions,
    out_layout: HeadLayout,
) -> (Vec<f32>, Vec<f32>) {
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        queries,
        keys,
        width,
        value_width,
    } = *shape;
    let mut log_sum_exp = Vec::new();
    let fill = |out: Output<'_>| {
        let out = Shared::from_output(out);
        let one = |row: usize| {
            let (head, i) = (row / queries, row % queries);
            let (b, h) = (head / heads, head % heads);
            let group = h / (heads / kv_heads);
            let position = i + options.offset;
            let end = if options.causal {
                keys.min(position + 1)
            } else {
                keys
            };
            let start = options
                .window
                .map_or(0, |w| (position + 1).saturating_sub(w))
                .min(end);
            // No key seen: nothing is read.
            let from = |x: Heads<'_>| {
                if start < end {
                    x.layout.at(b, group, start)
                } else {
                    0
                }
            };
            let to = out.at(out_layout.at(b, h, i), value_width);
            with_scratch([keys], |[weights]| {
                set.run(FewQueries {
                    query: &q.values[q.layout.at(b, h, i)..][..width],
                    keys: &k.values[from(k)..],
                    key_stride: k.layout.token_stride,
                    values: &v.values[from(v)..],
                    value_stride: v.layout.token_stride,
                    count: end - start,
                    scale: options.scale as f32,
                    weights,
                    // SAFETY: this task's own row, initialised before it is read as values.
                    out: unsafe {
                        to.write_bytes(0, value_width);
                        std::slice::from_raw_parts_mut(to, value_width)
                    },
                })
            })
        };
        log_sum_exp = (0..batch * heads * queries)
            .into_par_iter()
            .map(one)
            .collect();
    };
    // SAFETY: a task for every row, and the layout is dense.
    let out = unsafe { filled(batch * heads * queries * value_width, fill) };
    (out, log_sum_exp)
}

struct ForwardBlock<'a> {
    geometry: &'a Geometry,
    block: usize,
    query: *const f32,
    query_stride: usize,
    query_lanes: *mut f32,
    /// Reads the packed query; writes its output in lane order.
    head: HeadForward,
    out: *mut f32,
    out_stride: usize,
}

impl WithSimd for ForwardBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            geometry, block, ..
        } = self;
        let count = geometry.queries_in(block);
        let (width, value_width) = (geometry.width, geometry.value_width);
        let mut scratch = ForwardScratch::default();
        PackBlock {
            source: self.query,
            source_stride: self.query_stride,
            count,
            width,
            factor: geometry.options.scale as f32,
            target: self.query_lanes,
        }
        .with_simd(simd);
        // SAFETY: ranges checked where this was built.
        unsafe {
            blocked::forward(simd, geometry, block, self.head, &mut scratch);
            transpose(
                simd,
                value_width,
                count,
                self.head.out,
                BLOCK,
                self.out,
                self.out_stride,
            );
        }
    }
}
