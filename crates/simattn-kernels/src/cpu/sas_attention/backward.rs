use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::call::Call;
use super::{SasGradients, SasInputs, SasWeights};
use crate::call::{SasOptions, SasShape};
use crate::cpu::attention::{PackBlock, Plan, Scratch};
use crate::cpu::blocked::{BLOCK, Geometry};
use crate::cpu::blocked_backward::{self, Head};
use crate::cpu::expansion::{Chunk, ContractChunk};
use crate::cpu::memory::{Room, Shared, read_at, with_scratch};
use crate::cpu::output::{Output, filled};
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::{load, store};

/// Tokens whose gradients of the weights are added up in one buffer.
const PART: usize = 2 * BLOCK;

/// Gradients of [`sas_attention_forward`](super::sas_attention_forward), from its inputs, its log-sum-exp and the gradient of its output.
///
/// # Panics
/// If a slice's length does not fit `shape`, or heads do not divide.
pub fn sas_attention_backward(
    shape: &SasShape,
    inputs: SasInputs<'_>,
    weights: &SasWeights<'_>,
    log_sum_exp: &[f32],
    out_gradient: &[f32],
    options: &SasOptions,
) -> SasGradients {
    sas_attention_backward_on(
        InstructionSet::current(),
        shape,
        inputs,
        weights,
        log_sum_exp,
        out_gradient,
        options,
    )
}

/// [`sas_attention_backward`] on a chosen instruction set.
pub fn sas_attention_backward_on(
    set: InstructionSet,
    shape: &SasShape,
    inputs: SasInputs<'_>,
    weights: &SasWeights<'_>,
    log_sum_exp: &[f32],
    out_gradient: &[f32],
    options: &SasOptions,
) -> SasGradients {
    let call = Call::new(set, shape, inputs, weights, options);
    let SasShape {
        batch,
        queries,
        expanded_heads,
        head_dim,
        ..
    } = *shape;
    assert_eq!(
        log_sum_exp.len(),
        batch * expanded_heads * queries,
        "log-sum-exp is not [B, H', T]"
    );
    let out_len = batch * queries * expanded_heads / call.groups * head_dim;
    assert_eq!(
        out_gradient.len(),
        out_len,
        "the output's gradient does not fit the output"
    );
    let mut sums = [0, 1, 2].map(|which| vec![0.0; call.plans[which].gradient_len()]);
    let (mut k, mut v) = (Vec::new(), Vec::new());
    let fill = |q: Output<'_>| {
        let q = Shared::from_output(q);
        let fill = |k: Output<'_>| {
            let k = Shared::from_output(k);
            let fill = |v: Output<'_>| {
                let targets = [q, k, Shared::from_output(v)];
                backward_into(&call, log_sum_exp, out_gradient, targets, &mut sums);
            };
            // SAFETY: the tasks of the contraction cover every token of v.
            v = unsafe { filled(inputs.v.len(), fill) };
        };
        // SAFETY: as for v.
        k = unsafe { filled(inputs.k.len(), fill) };
    };
    // SAFETY: as for v.
    let q = unsafe { filled(inputs.q.len(), fill) };
    let [q_weights, k_weights, v_weights] =
        [0, 1, 2].map(|which| call.plans[which].gradients(&sums[which]));
    SasGradients {
        q,
        k,
        v,
        q_weights,
        k_weights,
        v_weights,
    }
}

fn backward_into(
    call: &Call<'_>,
    log_sum_exp: &[f32],
    out_gradient: &[f32],
    targets: [Shared; 3],
    sums: &mut [Vec<f32>; 3],
) {
    let SasShape {
        batch,
        queries,
        expanded_heads,
        head_dim,
        ..
    } = call.shape;
    let geometry = &call.geometry;
    let (out_heads, blocks) = (expanded_heads / call.groups, geometry.query_blocks());
    let in_work = call.in_work().min(batch.max(1));
    let mut rooms: [Room; 12] = Default::default();
    let [
        q,
        k,
        v,
        kept_q,
        kept_k,
        kept_v,
        out_lanes,
        dk,
        dv,
        part_q,
        part_k,
        part_v,
    ] = &mut rooms;
    let lanes = [
        Shared::room(q, in_work * call.size(0)),
        Shared::room(k, in_work * call.size(1)),
        Shared::room(v, in_work * call.size(2)),
    ];
    let kept = [
        Shared::room(kept_q, in_work * call.kept_size(0)),
        Shared::room(kept_k, in_work * call.kept_size(1)),
        Shared::room(kept_v, in_work * call.kept_size(2)),
    ];
    let out_size = blocks * head_dim * BLOCK;
    let out_lanes = Shared::room(out_lanes, in_work * out_heads * out_size);
    let plan = Plan::new(
        in_work * call.kv_heads,
        expanded_heads / call.kv_heads,
        blocks,
    );
    let (k_size, v_size) = (call.head_size(1), call.head_size(2));
    let dk = Shared::room(dk, in_work * call.kv_heads * plan.parts * k_size);
    let dv = Shared::room(dv, in_work * call.kv_heads * plan.parts * v_size);
    let parts = [0, 1, 2].map(|which| call.source(which).1.div_ceil(PART));
    let part_rooms = [
        Shared::room(part_q, in_work * parts[0] * call.plans[0].gradient_len()),
        Shared::room(part_k, in_work * parts[1] * call.plans[1].gradient_len()),
        Shared::room(part_v, in_work * parts[2] * call.plans[2].gradient_len()),
    ];
    for first in (0..batch).step_by(in_work) {
        let count = (batch - first).min(in_work);
        call.expand(first, count, lanes, Some(kept));
        // The output's gradient into lanes, shared by the groups.
        (0..count * out_heads * blocks)
            .into_par_iter()
            .for_each(|task| {
                let (head, block) = (task / blocks, task % blocks);
                let (b, h) = (first + head / out_heads, head % out_heads);
                let row = out_heads * head_dim;
                let tokens = geometry.queries_in(block);
                let from = (b * queries + block * BLOCK) * row + h * head_dim;
                call.set.run(PackBlock {
                    source: read_at(out_gradient, from, (tokens - 1) * row + head_dim),
                    source_stride: row,
                    count: tokens,
                    width: head_dim,
                    factor: 1.0 / call.groups as f32,
                    target: out_lanes.at(task * head_dim * BLOCK, head_dim * BLOCK),
                });
            });
        let kv_heads = call.kv_heads;
        (0..count * kv_heads * plan.parts)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let kv = task / plan.parts;
                let (element, g) = (kv / kv_heads, kv % kv_heads);
                let (dk, dv) = (dk.at(task * k_size, k_size), dv.at(task * v_size, v_size));
                // SAFETY: this task's own part of each room.
                unsafe {
                    dk.write_bytes(0, k_size);
                    dv.write_bytes(0, v_size);
                }
                let share = expanded_heads / kv_heads;
                let mut scratch = Scratch::take();
                for (member, block) in plan.items(task) {
                    let expanded = g * share + member;
                    let row =
                        ((first + element) * expanded_heads + expanded) * queries + block * BLOCK;
                    let head_at = |which: usize, head: usize| {
                        element * call.size(which) + head * call.head_size(which)
                    };
                    let block_size = geometry.width * BLOCK;
                    let query = lanes[0].at(head_at(0, expanded) + block * block_size, block_size);
                    let out_at = (element * out_heads + expanded % out_heads) * out_size
                        + block * head_dim * BLOCK;
                    let head = Head {
                        query,
                        keys: lanes[1].at(head_at(1, g), k_size),
                        values: lanes[2].at(head_at(2, g), v_size),
                        out_gradient: out_lanes.at(out_at, head_dim * BLOCK),
                        log_sum_exp: read_at(log_sum_exp, row, geometry.queries_in(block)),
                        delta: std::ptr::null(),
                        query_gradient: query,
                        key_gradient: dk,
                        value_gradient: dv,
                    };
                    call.set.run(BackwardOfBlock {
                        geometry,
                        block,
                        head,
                        scratch: &mut scratch,
                    });
                }
                scratch.give_back();
            });
        if plan.parts > 1 {
            for (room, size) in [(dk, k_size), (dv, v_size)] {
                (0..count * kv_heads).into_par_iter().for_each(|kv| {
                    call.set.run(SumParts {
                        parts: plan.parts,
                        len: size,
                        values: room.at(kv * plan.parts * size, plan.parts * size),
                    });
                });
            }
        }
        let all: usize = parts.iter().sum();
        (0..count * all)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let (element, mut part) = (task / all, task % all);
                let mut which = 0;
                while part >= parts[which] {
                    part -= parts[which];
                    which += 1;
                }
                let prepared = &call.plans[which];
                let (source, tokens) = call.source(which);
                let (heads, width) = (prepared.sizes.heads, prepared.sizes.width);
                let len = prepared.gradient_len();
                let weight_gradient =
                    part_rooms[which].at((element * parts[which] + part) * len, len);
                // SAFETY: this part's own buffer.
                unsafe { weight_gradient.write_bytes(0, len) };
                let room = prepared.room();
                let gradient_room = [room[0], room[1], room[2], room[3], room[4]];
                let (gradient, head_stride) = match which {
                    0 => (
                        lanes[0].at(element * call.size(0), call.size(0)),
                        call.head_size(0),
                    ),
                    1 => (
                        dk.at(element * kv_heads * plan.parts * k_size, 1),
                        plan.parts * k_size,
                    ),
                    _ => (
                        dv.at(element * kv_heads * plan.parts * v_size, 1),
                        plan.parts * v_size,
                    ),
                };
                with_scratch(room, |values| {
                    with_scratch(gradient_room, |gradients| {
                        let (values, gradients) = (
                            values.map(|r| r.as_mut_ptr()),
                            gradients.map(|r| r.as_mut_ptr()),
                        );
                        for token in (part * PART..((part + 1) * PART).min(tokens))
                            .step_by(prepared.chunk_len)
                        {
                            let chunk = Chunk {
                                token,
                                count: (tokens - token).min(prepared.chunk_len),
                            };
                            let at = ((first + element) * tokens + token) * heads * width;
                            let kept_at = element * call.kept_size(which)
                                + token / prepared.chunk_len * prepared.kept();
                            let block_at = token / BLOCK * prepared.sizes.expanded_width * BLOCK
                                + token % BLOCK;
                            call.set.run(ContractChunk {
                                plan: prepared,
                                chunk,
                                source: read_at(source, at, chunk.count * heads * width),
                                kept: kept[which].at(kept_at, prepared.kept()),
                                gradient: gradient.wrapping_add(block_at),
                                head_stride,
                                room: values,
                                gradient_room: gradients,
                                weight_gradient,
                                target: targets[which].at(at, chunk.count * heads * width),
                            });
                        }
                    });
                });
            });
        for which in 0..3 {
            let len = sums[which].len();
            for part in 0..count * parts[which] {
                for (i, sum) in sums[which].iter_mut().enumerate() {
                    // SAFETY: the tasks above, all ended, wrote this part.
                    *sum += unsafe { *part_rooms[which].at(part * len + i, 1) };
                }
            }
        }
    }
}

struct BackwardOfBlock<'a> {
    geometry: &'a Geometry,
    block: usize,
    head: Head,
    scratch: &'a mut Scratch,
}

impl WithSimd for BackwardOfBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scratch { gradient, backward } = self.scratch;
        // SAFETY: ranges checked where this was built.
        unsafe {
            blocked_backward::backward(
                simd,
                self.geometry,
                self.block,
                self.head,
                gradient,
                backward,
            )
        }
    }
}

/// Adds parts to the first of them, in order.
struct SumParts {
    parts: usize,
    len: usize,
    values: *mut f32,
}

impl WithSimd for SumParts {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for part in 1..self.parts {
            for at in (0..self.len).step_by(S::F32_LANES) {
                // SAFETY: `parts` times `len`, a multiple of 64, values.
                unsafe {
                    let sum = simd.add_f32s(
                        load(simd, self.values.add(at)),
                        load(simd, self.values.add(part * self.len + at)),
                    );
                    store(simd, self.values.add(at), sum);
                }
            }
        }
    }
}
