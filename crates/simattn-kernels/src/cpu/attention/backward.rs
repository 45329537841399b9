use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::lanes::pack;
use super::plan::{Plan, Scratch};
use super::{AttentionGradients, HeadLayout, Heads};
use crate::call::{AttentionOptions, AttentionShape};
use crate::cpu::blocked::{BLOCK, Geometry};
use crate::cpu::blocked_backward::{self, Head};
use crate::cpu::memory::{Room, Shared, read_at};
use crate::cpu::output::filled;
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::{dot, load, store};
use crate::cpu::transpose::transpose;

/// Gradients of q, k and v, from the output, its gradient and the log-sum-exp of [`attention_forward`](super::attention_forward).
///
/// The gradients of q, k and v are laid out as `gradient_layouts` say, densely. A query that sees no key gives and gets zeros.
///
/// # Panics
/// If the slices are shorter than the shape asks, or G does not divide H.
#[allow(clippy::too_many_arguments)]
pub fn attention_backward(
    shape: &AttentionShape,
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    out: Heads<'_>,
    log_sum_exp: &[f32],
    out_gradient: Heads<'_>,
    options: &AttentionOptions,
    gradient_layouts: [HeadLayout; 3],
) -> AttentionGradients {
    attention_backward_on(
        InstructionSet::current(),
        shape,
        q,
        k,
        v,
        out,
        log_sum_exp,
        out_gradient,
        options,
        gradient_layouts,
    )
}

/// [`attention_backward`] on a chosen instruction set.
#[allow(clippy::too_many_arguments)]
pub fn attention_backward_on(
    set: InstructionSet,
    shape: &AttentionShape,
    q: Heads<'_>,
    k: Heads<'_>,
    v: Heads<'_>,
    out: Heads<'_>,
    log_sum_exp: &[f32],
    out_gradient: Heads<'_>,
    options: &AttentionOptions,
    gradient_layouts: [HeadLayout; 3],
) -> AttentionGradients {
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
    for heads_of in [out, out_gradient] {
        assert!(
            heads_of.layout.end(batch, heads, queries, value_width) <= heads_of.values.len(),
            "output shorter than its layout"
        );
    }
    assert_eq!(log_sum_exp.len(), batch * heads * queries, "log-sum-exp");
    let geometry = shape.geometry(options);
    let blocks = geometry.query_blocks();
    let scale = options.scale as f32;
    let mut rooms: [Room; 7] = Default::default();
    let [q_room, k_room, v_room, g_room, delta_room, dk_room, dv_room] = &mut rooms;
    let q_lanes = pack(set, q_room, q, [batch, heads, queries, width], scale);
    let k_lanes = pack(set, k_room, k, [batch, kv_heads, keys, width], 1.0);
    let v_lanes = pack(set, v_room, v, [batch, kv_heads, keys, value_width], 1.0);
    let g_lanes = pack(
        set,
        g_room,
        out_gradient,
        [batch, heads, queries, value_width],
        1.0,
    );
    let delta = Shared::room(delta_room, batch * heads * queries);
    (0..batch * heads * blocks)
        .into_par_iter()
        .for_each(|task| {
            let (head, block) = (task / blocks, task % blocks);
            let (b, h) = (head / heads, head % heads);
            for token in block * BLOCK..block * BLOCK + geometry.queries_in(block) {
                let row = |x: Heads<'_>| x.layout.at(b, h, token);
                let (o, g) = (
                    &out.values[row(out)..][..value_width],
                    &out_gradient.values[row(out_gradient)..][..value_width],
                );
                // SAFETY: one value for each query, written by the one task that has it.
                unsafe { *delta.at(head * queries + token, 1) = dot(o, g) };
            }
        });
    let share = heads / kv_heads;
    let plan = Plan::new(batch * kv_heads, share, blocks);
    let (k_size, v_size) = (
        geometry.key_blocks() * width * BLOCK,
        geometry.key_blocks() * value_width * BLOCK,
    );
    let dk = Shared::room(dk_room, plan.tasks() * k_size);
    let dv = Shared::room(dv_room, plan.tasks() * v_size);
    let dense = |layout: HeadLayout, heads, tokens, width| {
        let len = batch * heads * tokens * width;
        assert!(
            layout.end(batch, heads, tokens, width) <= len,
            "a gradient's layout is not dense"
        );
        len
    };
    let len = dense(gradient_layouts[0], heads, queries, width);
    // SAFETY: the plan covers every query block of every head once; each writes its own rows; the layout is dense.
    let q_gradient = unsafe {
        filled(len, |gradient| {
            let gradient = Shared::from_output(gradient);
            (0..plan.tasks())
                .into_par_iter()
                .with_max_len(1)
                .for_each(|task| {
                    let kv = task / plan.parts;
                    let (b, g) = (kv / kv_heads, kv % kv_heads);
                    let (dk, dv) = (dk.at(task * k_size, k_size), dv.at(task * v_size, v_size));
                    // This task's own part of each room.
                    dk.write_bytes(0, k_size);
                    dv.write_bytes(0, v_size);
                    let mut scratch = Scratch::take();
                    for (member, block) in plan.items(task) {
                        let h = g * share + member;
                        let head = b * heads + h;
                        let q_at = (head * blocks + block) * width * BLOCK;
                        let g_at = (head * blocks + block) * value_width * BLOCK;
                        let count = geometry.queries_in(block);
                        let row = head * queries + block * BLOCK;
                        let to = gradient_layouts[0].at(b, h, block * BLOCK);
                        set.run(BackwardBlock {
                            geometry: &geometry,
                            block,
                            head: Head {
                                query: q_lanes.at(q_at, width * BLOCK),
                                keys: k_lanes.at(kv * k_size, k_size),
                                values: v_lanes.at(kv * v_size, v_size),
                                out_gradient: g_lanes.at(g_at, value_width * BLOCK),
                                log_sum_exp: read_at(log_sum_exp, row, count),
                                delta: delta.at(row, count),
                                query_gradient: q_lanes.at(q_at, width * BLOCK),
                                key_gradient: dk,
                                value_gradient: dv,
                            },
                            scale,
                            target: gradient
                                .at(to, (count - 1) * gradient_layouts[0].token_stride + width),
                            target_stride: gradient_layouts[0].token_stride,
                            scratch: &mut scratch,
                        });
                    }
                    scratch.give_back();
                });
        })
    };
    let unpack = |from: Shared, layout: HeadLayout, width: usize| {
        let len = dense(layout, kv_heads, keys, width);
        // SAFETY: the tasks cover every block of every head; each writes its own rows; the layout is dense.
        unsafe {
            filled(len, |gradient| {
                let gradient = Shared::from_output(gradient);
                let blocks = geometry.key_blocks();
                (0..batch * kv_heads * blocks)
                    .into_par_iter()
                    .for_each(|task| {
                        let (kv, block) = (task / blocks, task % blocks);
                        let (size, count) = (width * BLOCK, (keys - block * BLOCK).min(BLOCK));
                        let at = (kv * plan.parts * blocks + block) * size;
                        let to = layout.at(kv / kv_heads, kv % kv_heads, block * BLOCK);
                        set.run(SumBlocks {
                            parts: plan.parts,
                            part_stride: blocks * size,
                            from: from.at(at, (plan.parts - 1) * blocks * size + size),
                            width,
                            count,
                            target: gradient.at(to, (count - 1) * layout.token_stride + width),
                            target_stride: layout.token_stride,
                        });
                    });
            })
        }
    };
    AttentionGradients {
        q: q_gradient,
        k: unpack(dk, gradient_layouts[1], width),
        v: unpack(dv, gradient_layouts[2], value_width),
    }
}

struct BackwardBlock<'a> {
    geometry: &'a Geometry,
    block: usize,
    head: Head,
    scale: f32,
    target: *mut f32,
    target_stride: usize,
    scratch: &'a mut Scratch,
}

impl WithSimd for BackwardBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scratch { gradient, backward } = self.scratch;
        let width = self.geometry.width;
        let count = self.geometry.queries_in(self.block);
        // SAFETY: ranges checked where this was built.
        unsafe {
            blocked_backward::backward(
                simd,
                self.geometry,
                self.block,
                self.head,
                gradient,
                backward,
            );
            let scale = simd.splat_f32s(self.scale);
            for i in 0..width * BLOCK / S::F32_LANES {
                let place = self.head.query_gradient.add(i * S::F32_LANES);
                store(simd, place, simd.mul_f32s(load(simd, place), scale));
            }
            transpose(
                simd,
                width,
                count,
                self.head.query_gradient,
                BLOCK,
                self.target,
                self.target_stride,
            );
        }
    }
}

/// Adds the parts of one block in order and brings it into token order.
struct SumBlocks {
    parts: usize,
    part_stride: usize,
    from: *mut f32,
    width: usize,
    count: usize,
    target: *mut f32,
    target_stride: usize,
}

impl WithSimd for SumBlocks {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // SAFETY: ranges checked where this was built; each block belongs to one task.
        unsafe {
            for part in 1..self.parts {
                for i in 0..self.width * BLOCK / S::F32_LANES {
                    let at = i * S::F32_LANES;
                    let sum = simd.add_f32s(
                        load(simd, self.from.add(at)),
                        load(simd, self.from.add(part * self.part_stride + at)),
                    );
                    store(simd, self.from.add(at), sum);
                }
            }
            transpose(
                simd,
                self.width,
                self.count,
                self.from,
                BLOCK,
                self.target,
                self.target_stride,
            );
        }
    }
}
