use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::call::Call;
use super::contraction::{Contraction, parts};
use super::operand::{Expanded, Operand, share_of};
use super::{SasGradients, SasInputs, SasWeights};
use crate::call::{SasOptions, SasShape};
use crate::cpu::attention::{BackwardTasks, PackBlock, Scratch};
use crate::cpu::blocked::{self, BLOCK, Geometry, HeadBackward};
use crate::cpu::memory::{Room, Shared, read_at};
use crate::cpu::output::{Output, filled};
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::{load, store};

/// Gradients of [`sas_attention_forward`](super::sas_attention_forward), from its inputs, its
/// log-sum-exp and the gradient of its output.
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
    let mut sums = call
        .operands
        .each_ref()
        .map(|operand| vec![0.0; operand.expansion.gradient_len()]);
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
    let [of_q, of_k, of_v] = &call.operands;
    let [q_sums, k_sums, v_sums] = &sums;
    SasGradients {
        q,
        k,
        v,
        q_weights: of_q.expansion.gradients(q_sums),
        k_weights: of_k.expansion.gradients(k_sums),
        v_weights: of_v.expansion.gradients(v_sums),
    }
}

/// The four phases, for some elements of the batch at a time.
fn backward_into(
    call: &Call<'_>,
    log_sum_exp: &[f32],
    out_gradient: &[f32],
    targets: [Shared; 3],
    sums: &mut [Vec<f32>; 3],
) {
    let batch = call.shape.batch;
    let in_work = call.in_work().min(batch.max(1));
    let mut rooms = Rooms::default();
    let backward = Backward::new(call, &mut rooms, in_work, targets);
    for first in (0..batch).step_by(in_work) {
        let work = Work {
            first,
            count: (batch - first).min(in_work),
        };
        backward.pack(work, out_gradient);
        backward.attend(work, log_sum_exp);
        backward.sum(work);
        backward.contract(work);
        backward.add_weight_gradients(work, sums);
    }
}

/// Batch elements `first .. first + count`, which are worked on together.
#[derive(Clone, Copy)]
struct Work {
    first: usize,
    count: usize,
}

/// The memory of one call; that of operands is of q, k and v.
#[derive(Default)]
struct Rooms {
    lanes: [Room; 3],
    kept: [Room; 3],
    out_gradient: Room,
    key_gradient: Room,
    value_gradient: Room,
    weight_gradients: [Room; 3],
}

/// Memory of `len` values for each operand.
fn rooms_for(
    rooms: &mut [Room; 3],
    call: &Call<'_>,
    len: impl Fn(&Operand<'_>) -> usize,
) -> [Shared; 3] {
    let [q, k, v] = rooms;
    let [of_q, of_k, of_v] = &call.operands;
    [(q, of_q), (k, of_k), (v, of_v)].map(|(room, operand)| Shared::room(room, len(operand)))
}

/// One call, and where its values are between the phases.
struct Backward<'a> {
    call: &'a Call<'a>,
    /// How the queries are dealt to tasks.
    tasks: BackwardTasks,
    /// q, k and v, expanded.
    expanded: [Expanded<'a>; 3],
    /// Gradient of the output, shared by the groups: for each batch element in work its heads, in
    /// lane order.
    out_gradient: Shared,
    contractions: [Contraction<'a>; 3],
}

impl<'a> Backward<'a> {
    fn new(call: &'a Call<'a>, rooms: &mut Rooms, in_work: usize, targets: [Shared; 3]) -> Self {
        let blocks = call.geometry.query_blocks();
        let [q, k, v] = &call.operands;
        let lanes = rooms_for(&mut rooms.lanes, call, |operand| in_work * operand.size());
        let kept = rooms_for(&mut rooms.kept, call, |operand| {
            in_work * operand.kept_size()
        });
        let out_size = blocks * call.shape.head_dim * BLOCK;
        let out_gradient = Shared::room(
            &mut rooms.out_gradient,
            in_work * call.out_heads() * out_size,
        );
        let share = call.shape.expanded_heads / call.kv_heads;
        let tasks = BackwardTasks::new(in_work * call.kv_heads, share, blocks);
        let heads = in_work * call.kv_heads * tasks.parts;
        let key_gradient = Shared::room(&mut rooms.key_gradient, heads * k.head_size());
        let value_gradient = Shared::room(&mut rooms.value_gradient, heads * v.head_size());
        let weight_gradients = rooms_for(&mut rooms.weight_gradients, call, |operand| {
            in_work * parts(operand) * operand.expansion.gradient_len()
        });
        // The gradient of a block of queries goes where the block was.
        let gradients = [
            (lanes[0], q.head_size()),
            (key_gradient, tasks.parts * k.head_size()),
            (value_gradient, tasks.parts * v.head_size()),
        ];
        let expanded = [0, 1, 2].map(|i| Expanded {
            operand: &call.operands[i],
            lanes: lanes[i],
            kept: Some(kept[i]),
        });
        let contractions = [0, 1, 2].map(|i| {
            let (gradient, head_stride) = gradients[i];
            Contraction {
                operand: &call.operands[i],
                kept: kept[i],
                gradient,
                head_stride,
                weight_gradients: weight_gradients[i],
                target: targets[i],
            }
        });
        Self {
            call,
            tasks,
            expanded,
            out_gradient,
            contractions,
        }
    }

    /// Expands q, k and v, and brings the output's gradient into lanes, shared by the groups.
    fn pack(&self, work: Work, out_gradient: &[f32]) {
        let call = self.call;
        call.expand(work.first, work.count, &self.expanded);
        let SasShape {
            queries, head_dim, ..
        } = call.shape;
        let (out_heads, blocks) = (call.out_heads(), call.geometry.query_blocks());
        (0..work.count * out_heads * blocks)
            .into_par_iter()
            .for_each(|task| {
                let (head, block) = (task / blocks, task % blocks);
                let (b, h) = (work.first + head / out_heads, head % out_heads);
                let row = out_heads * head_dim;
                let tokens = call.geometry.queries_in(block);
                let from = (b * queries + block * BLOCK) * row + h * head_dim;
                call.set.run(PackBlock {
                    source: read_at(out_gradient, from, (tokens - 1) * row + head_dim),
                    source_stride: row,
                    count: tokens,
                    width: head_dim,
                    factor: 1.0 / call.groups as f32,
                    target: self
                        .out_gradient
                        .at(task * head_dim * BLOCK, head_dim * BLOCK),
                });
            });
    }

    /// Gradients of the expanded q, in its place, and every task's part of those of the expanded k
    /// and v.
    fn attend(&self, work: Work, log_sum_exp: &[f32]) {
        (0..work.count * self.call.kv_heads * self.tasks.parts)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| self.attend_task(work, task, log_sum_exp));
    }

    /// The query blocks of one task, which read one head of k and v.
    fn attend_task(&self, work: Work, task: usize, log_sum_exp: &[f32]) {
        let (call, geometry) = (self.call, &self.call.geometry);
        let SasShape {
            queries,
            expanded_heads,
            head_dim,
            ..
        } = call.shape;
        let [q, k, v] = &self.expanded;
        let [_, of_k, of_v] = &self.contractions;
        let (out_heads, blocks) = (call.out_heads(), geometry.query_blocks());
        let kv = task / self.tasks.parts;
        let (element, g) = (kv / call.kv_heads, kv % call.kv_heads);
        let (k_size, v_size) = (k.operand.head_size(), v.operand.head_size());
        let key_gradient = of_k.gradient.at(task * k_size, k_size);
        let value_gradient = of_v.gradient.at(task * v_size, v_size);
        // SAFETY: this task's own part of each room.
        unsafe {
            key_gradient.write_bytes(0, k_size);
            value_gradient.write_bytes(0, v_size);
        }
        let share = expanded_heads / call.kv_heads;
        let (block_size, out_block) = (geometry.width * BLOCK, head_dim * BLOCK);
        let mut scratch = Scratch::take();
        for (member, block) in self.tasks.items(task) {
            let expanded = g * share + member;
            let row =
                ((work.first + element) * expanded_heads + expanded) * queries + block * BLOCK;
            let query = q.lanes.at(
                q.head_at(element, expanded) + block * block_size,
                block_size,
            );
            let out_at = (element * out_heads + expanded % out_heads) * blocks + block;
            call.set.run(BackwardOfBlock {
                geometry,
                block,
                head: HeadBackward {
                    query,
                    keys: k.head(element, g),
                    values: v.head(element, g),
                    out_gradient: self.out_gradient.at(out_at * out_block, out_block),
                    log_sum_exp: read_at(log_sum_exp, row, geometry.queries_in(block)),
                    delta: std::ptr::null(),
                    query_gradient: query,
                    key_gradient,
                    value_gradient,
                },
                scratch: &mut scratch,
            });
        }
        scratch.give_back();
    }

    /// Adds the tasks' parts of the gradients of the expanded k and v, in order.
    fn sum(&self, work: Work) {
        let parts = self.tasks.parts;
        if parts == 1 {
            return;
        }
        let [_, k, v] = &self.contractions;
        for of in [k, v] {
            let len = of.operand.head_size();
            (0..work.count * self.call.kv_heads)
                .into_par_iter()
                .for_each(|kv| {
                    self.call.set.run(SumParts {
                        parts,
                        len,
                        values: of.gradient.at(kv * parts * len, parts * len),
                    });
                });
        }
    }

    /// Gradients of the compact q, k and v, and of the weights by parts of the tokens.
    fn contract(&self, work: Work) {
        let all: usize = self.contractions.iter().map(|of| parts(of.operand)).sum();
        (0..work.count * all)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                let (element, at) = (task / all, task % all);
                let (of, part) = share_of(&self.contractions, |of| parts(of.operand), at);
                of.contract_part(self.call.set, work.first, element, part);
            });
    }

    /// Adds the parts' gradients of the weights, in order.
    fn add_weight_gradients(&self, work: Work, sums: &mut [Vec<f32>; 3]) {
        for (of, sums) in self.contractions.iter().zip(sums) {
            let len = sums.len();
            for part in 0..work.count * parts(of.operand) {
                for (i, sum) in sums.iter_mut().enumerate() {
                    // SAFETY: the tasks of the contraction, all ended, wrote this part.
                    *sum += unsafe { *of.weight_gradients.at(part * len + i, 1) };
                }
            }
        }
    }
}

struct BackwardOfBlock<'a> {
    geometry: &'a Geometry,
    block: usize,
    head: HeadBackward,
    scratch: &'a mut Scratch,
}

impl WithSimd for BackwardOfBlock<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Scratch { gradient, backward } = self.scratch;
        // SAFETY: ranges checked where this was built.
        unsafe {
            blocked::backward(
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
