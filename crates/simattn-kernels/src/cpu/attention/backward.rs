use rayon::prelude::*;

use super::backward_block::{BackwardBlock, SumBlocks};
use super::lanes::pack;
use super::tasks::{BackwardTasks, Scratch};
use super::{AttentionGradients, HeadLayout, Heads};
use crate::call::{AttentionOptions, AttentionShape, Qkv};
use crate::cpu::blocked::{BLOCK, Geometry, HeadBackward};
use crate::cpu::memory::{Room, Shared, read_at};
use crate::cpu::output::filled;
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::dot;

/// What backward reads: what went into forward, what came out of it, and the gradient of the
/// output.
#[derive(Clone, Copy, Debug)]
pub struct BackwardInputs<'a> {
    /// [B, H, T, D']
    pub q: Heads<'a>,
    /// [B, G, S, D']
    pub k: Heads<'a>,
    /// [B, G, S, D]
    pub v: Heads<'a>,
    /// The output, [B, H, T, D].
    pub out: Heads<'a>,
    /// The log-sum-exp of every query, [B, H, T].
    pub log_sum_exp: &'a [f32],
    /// Gradient of the output.
    pub out_gradient: Heads<'a>,
}

/// Gradients of q, k and v of [`attention_forward`](super::attention_forward).
///
/// They are laid out as `layouts` say, densely. A query that sees no key gives and gets zeros.
///
/// # Panics
/// If the slices are shorter than the shape asks, or G does not divide H.
pub fn attention_backward(
    shape: &AttentionShape,
    inputs: &BackwardInputs<'_>,
    options: &AttentionOptions,
    layouts: Qkv<HeadLayout>,
) -> AttentionGradients {
    attention_backward_on(InstructionSet::current(), shape, inputs, options, layouts)
}

/// [`attention_backward`] on a chosen instruction set.
pub fn attention_backward_on(
    set: InstructionSet,
    shape: &AttentionShape,
    inputs: &BackwardInputs<'_>,
    options: &AttentionOptions,
    layouts: Qkv<HeadLayout>,
) -> AttentionGradients {
    inputs.check(shape);
    let AttentionShape {
        batch,
        heads,
        kv_heads,
        queries,
        width,
        value_width,
        ..
    } = *shape;
    let geometry = shape.geometry(options);
    let tasks = BackwardTasks::new(batch * kv_heads, heads / kv_heads, geometry.query_blocks());
    let (k_size, v_size) = (
        geometry.key_blocks() * width * BLOCK,
        geometry.key_blocks() * value_width * BLOCK,
    );
    let mut rooms = Rooms::default();
    let lanes = Lanes::pack(set, &mut rooms, shape, inputs, options.scale as f32);
    let delta = Shared::room(&mut rooms.delta, batch * heads * queries);
    find_deltas(shape, &geometry, inputs, delta);
    let backward = Backward {
        set,
        shape: *shape,
        scale: options.scale as f32,
        geometry,
        tasks,
        log_sum_exp: inputs.log_sum_exp,
        lanes,
        delta,
        k_size,
        v_size,
        dk: Shared::room(&mut rooms.dk, tasks.count() * k_size),
        dv: Shared::room(&mut rooms.dv, tasks.count() * v_size),
    };
    // In this order: the gradients of keys and values are complete when those of the queries are.
    let q = backward.attend(layouts.q);
    AttentionGradients {
        q,
        k: backward.unpack(backward.dk, layouts.k, width),
        v: backward.unpack(backward.dv, layouts.v, value_width),
    }
}

impl BackwardInputs<'_> {
    fn check(&self, shape: &AttentionShape) {
        shape.check(self.q, self.k, self.v);
        let AttentionShape {
            batch,
            heads,
            queries,
            value_width,
            ..
        } = *shape;
        for x in [self.out, self.out_gradient] {
            assert!(
                x.layout.end(batch, heads, queries, value_width) <= x.values.len(),
                "output shorter than its layout"
            );
        }
        assert_eq!(
            self.log_sum_exp.len(),
            batch * heads * queries,
            "log-sum-exp"
        );
    }
}

/// The memory of one call.
#[derive(Default)]
struct Rooms {
    q: Room,
    k: Room,
    v: Room,
    out_gradient: Room,
    delta: Room,
    dk: Room,
    dv: Room,
}

/// What backward reads, in lane order.
struct Lanes {
    /// Multiplied by the scale; each block becomes its gradient.
    q: Shared,
    k: Shared,
    v: Shared,
    out_gradient: Shared,
}

impl Lanes {
    fn pack(
        set: InstructionSet,
        rooms: &mut Rooms,
        shape: &AttentionShape,
        inputs: &BackwardInputs<'_>,
        scale: f32,
    ) -> Self {
        let n = *shape;
        let of_queries = |width| [n.batch, n.heads, n.queries, width];
        let of_keys = |width| [n.batch, n.kv_heads, n.keys, width];
        Self {
            q: pack(set, &mut rooms.q, inputs.q, of_queries(n.width), scale),
            k: pack(set, &mut rooms.k, inputs.k, of_keys(n.width), 1.0),
            v: pack(set, &mut rooms.v, inputs.v, of_keys(n.value_width), 1.0),
            out_gradient: pack(
                set,
                &mut rooms.out_gradient,
                inputs.out_gradient,
                of_queries(n.value_width),
                1.0,
            ),
        }
    }
}

/// Writes output · its gradient of every query.
fn find_deltas(
    shape: &AttentionShape,
    geometry: &Geometry,
    inputs: &BackwardInputs<'_>,
    delta: Shared,
) {
    let AttentionShape {
        batch,
        heads,
        queries,
        value_width,
        ..
    } = *shape;
    let blocks = geometry.query_blocks();
    (0..batch * heads * blocks)
        .into_par_iter()
        .for_each(|task| {
            let (head, block) = (task / blocks, task % blocks);
            let (b, h) = (head / heads, head % heads);
            for token in block * BLOCK..block * BLOCK + geometry.queries_in(block) {
                let row = |x: Heads<'_>| x.layout.at(b, h, token);
                let (o, g) = (
                    &inputs.out.values[row(inputs.out)..][..value_width],
                    &inputs.out_gradient.values[row(inputs.out_gradient)..][..value_width],
                );
                // SAFETY: one value for each query, written by the one task that has it.
                unsafe { *delta.at(head * queries + token, 1) = dot(o, g) };
            }
        });
}

/// One call after its inputs are packed.
struct Backward<'a> {
    set: InstructionSet,
    shape: AttentionShape,
    scale: f32,
    geometry: Geometry,
    tasks: BackwardTasks,
    log_sum_exp: &'a [f32],
    lanes: Lanes,
    delta: Shared,
    /// Values of one head of k and of v.
    k_size: usize,
    v_size: usize,
    /// Gradients of k and v, one head for every task.
    dk: Shared,
    dv: Shared,
}

impl Backward<'_> {
    /// Values of a gradient laid out densely.
    fn dense(&self, layout: HeadLayout, heads: usize, tokens: usize, width: usize) -> usize {
        let batch = self.shape.batch;
        let len = batch * heads * tokens * width;
        assert!(
            layout.end(batch, heads, tokens, width) <= len,
            "a gradient's layout is not dense"
        );
        len
    }

    /// The gradient of q; leaves every task's part of those of k and v.
    fn attend(&self, layout: HeadLayout) -> Vec<f32> {
        let AttentionShape {
            heads,
            queries,
            width,
            ..
        } = self.shape;
        let len = self.dense(layout, heads, queries, width);
        // SAFETY: the tasks cover every query block of every head once; each writes its own rows;
        // the layout is dense.
        unsafe {
            filled(len, |gradient| {
                let gradient = Shared::from_output(gradient);
                (0..self.tasks.count())
                    .into_par_iter()
                    .with_max_len(1)
                    .for_each(|task| self.attend_task(task, layout, gradient));
            })
        }
    }

    /// The query blocks of one task, which read one head of k and v.
    fn attend_task(&self, task: usize, layout: HeadLayout, gradient: Shared) {
        let AttentionShape {
            heads,
            kv_heads,
            queries,
            width,
            value_width,
            ..
        } = self.shape;
        let blocks = self.geometry.query_blocks();
        let (k_size, v_size) = (self.k_size, self.v_size);
        let kv = task / self.tasks.parts;
        let (b, g) = (kv / kv_heads, kv % kv_heads);
        let dk = self.dk.at(task * k_size, k_size);
        let dv = self.dv.at(task * v_size, v_size);
        // SAFETY: this task's own part of each room.
        unsafe {
            dk.write_bytes(0, k_size);
            dv.write_bytes(0, v_size);
        }
        let mut scratch = Scratch::take();
        for (member, block) in self.tasks.items(task) {
            let h = g * (heads / kv_heads) + member;
            let head = b * heads + h;
            let q_at = (head * blocks + block) * width * BLOCK;
            let g_at = (head * blocks + block) * value_width * BLOCK;
            let count = self.geometry.queries_in(block);
            let row = head * queries + block * BLOCK;
            let to = layout.at(b, h, block * BLOCK);
            let query = self.lanes.q.at(q_at, width * BLOCK);
            let out_gradient = self.lanes.out_gradient.at(g_at, value_width * BLOCK);
            self.set.run(BackwardBlock {
                geometry: &self.geometry,
                block,
                head: HeadBackward {
                    query,
                    keys: self.lanes.k.at(kv * k_size, k_size),
                    values: self.lanes.v.at(kv * v_size, v_size),
                    out_gradient,
                    log_sum_exp: read_at(self.log_sum_exp, row, count),
                    delta: self.delta.at(row, count),
                    query_gradient: query,
                    key_gradient: dk,
                    value_gradient: dv,
                },
                scale: self.scale,
                target: gradient.at(to, (count - 1) * layout.token_stride + width),
                target_stride: layout.token_stride,
                scratch: &mut scratch,
            });
        }
        scratch.give_back();
    }

    /// The gradient of k or v from the tasks' parts.
    fn unpack(&self, from: Shared, layout: HeadLayout, width: usize) -> Vec<f32> {
        let AttentionShape {
            batch,
            kv_heads,
            keys,
            ..
        } = self.shape;
        let parts = self.tasks.parts;
        let blocks = self.geometry.key_blocks();
        let len = self.dense(layout, kv_heads, keys, width);
        // SAFETY: the tasks cover every block of every head; each writes its own rows; the layout
        // is dense.
        unsafe {
            filled(len, |gradient| {
                let gradient = Shared::from_output(gradient);
                (0..batch * kv_heads * blocks)
                    .into_par_iter()
                    .for_each(|task| {
                        let (kv, block) = (task / blocks, task % blocks);
                        let (size, count) = (width * BLOCK, (keys - block * BLOCK).min(BLOCK));
                        let at = (kv * parts * blocks + block) * size;
                        let to = layout.at(kv / kv_heads, kv % kv_heads, block * BLOCK);
                        self.set.run(SumBlocks {
                            parts,
                            part_stride: blocks * size,
                            from: from.at(at, (parts - 1) * blocks * size + size),
                            width,
                            count,
                            target: gradient.at(to, (count - 1) * layout.token_stride + width),
                            target_stride: layout.token_stride,
                        });
                    });
            })
        }
    }
}
