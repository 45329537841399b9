use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::call::Call;
use super::operand::Expanded;
use super::{SasInputs, SasWeights};
use crate::call::{SasOptions, SasShape};
use crate::cpu::blocked::{self, BLOCK, ForwardScratch, HeadForward};
use crate::cpu::memory::{Room, Shared, with_scratch};
use crate::cpu::output::{Output, filled};
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::{load, store};
use crate::cpu::transpose::transpose;

/// Output and log-sum-exp of simulated attention.
///
/// The output is [B, T, H·D] with [`Aggregation::Peaa`](crate::call::Aggregation::Peaa), where
/// feature (i, d) is the mean over g of expanded head g·H + i, else [B, T, H'·D]. The log-sum-exp
/// is [B, H', T], −∞ for a query that sees no key.
///
/// # Panics
/// If a slice's length does not fit `shape`, or heads do not divide.
pub fn sas_attention_forward(
    shape: &SasShape,
    inputs: SasInputs<'_>,
    weights: &SasWeights<'_>,
    options: &SasOptions,
) -> (Vec<f32>, Vec<f32>) {
    sas_attention_forward_on(InstructionSet::current(), shape, inputs, weights, options)
}

/// [`sas_attention_forward`] on a chosen instruction set.
pub fn sas_attention_forward_on(
    set: InstructionSet,
    shape: &SasShape,
    inputs: SasInputs<'_>,
    weights: &SasWeights<'_>,
    options: &SasOptions,
) -> (Vec<f32>, Vec<f32>) {
    let call = Call::new(set, shape, inputs, weights, options);
    let SasShape {
        batch,
        queries,
        expanded_heads,
        head_dim,
        ..
    } = *shape;
    let out_heads = call.out_heads();
    let mut log_sum_exp = Vec::new();
    let fill = |out: Output<'_>| {
        let out = Shared::from_output(out);
        let fill = |sums: Output<'_>| forward_into(&call, out, Shared::from_output(sums));
        // SAFETY: the tasks cover every expanded head and query.
        log_sum_exp = unsafe { filled(batch * expanded_heads * queries, fill) };
    };
    // SAFETY: the tasks cover every query and output head.
    let out = unsafe { filled(batch * queries * out_heads * head_dim, fill) };
    (out, log_sum_exp)
}

fn forward_into(call: &Call<'_>, out: Shared, sums: Shared) {
    let SasShape {
        batch,
        queries,
        expanded_heads,
        head_dim,
        ..
    } = call.shape;
    let geometry = &call.geometry;
    let (out_heads, blocks) = (call.out_heads(), geometry.query_blocks());
    let in_work = call.in_work().min(batch);
    let mut rooms: [Room; 3] = Default::default();
    let [q, k, v] = &mut rooms;
    let [of_q, of_k, of_v] = &call.operands;
    let expanded = [(of_q, q), (of_k, k), (of_v, v)].map(|(operand, room)| Expanded {
        operand,
        lanes: Shared::room(room, in_work * operand.size()),
        kept: None,
    });
    for first in (0..batch).step_by(in_work) {
        let count = (batch - first).min(in_work);
        call.expand(first, count, &expanded);
        (0..count * out_heads * blocks)
            .into_par_iter()
            .with_max_len(1)
            .for_each(|task| {
                // The longest blocks first: the last tasks then are short.
                let (block, rest) = (
                    blocks - 1 - task / (count * out_heads),
                    task % (count * out_heads),
                );
                let (element, head) = (rest / out_heads, rest % out_heads);
                let b = first + element;
                let tokens = geometry.queries_in(block);
                let row = out_heads * head_dim;
                let mut scratch = ForwardScratch::default();
                with_scratch([head_dim * BLOCK, head_dim * BLOCK], |[one, sum]| {
                    call.set.run(AttendGroups {
                        call,
                        expanded: &expanded,
                        element,
                        head,
                        block,
                        one: one.as_mut_ptr(),
                        sum: sum.as_mut_ptr(),
                        out: out.at(
                            (b * queries + block * BLOCK) * row + head * head_dim,
                            (tokens - 1) * row + head_dim,
                        ),
                        log_sum_exp: sums
                            .at(b * expanded_heads * queries, expanded_heads * queries),
                        scratch: &mut scratch,
                    });
                });
            });
    }
}

/// One block of queries of one head of the output: attention of the r expanded heads behind it,
/// averaged.
struct AttendGroups<'a> {
    call: &'a Call<'a>,
    expanded: &'a [Expanded<'a>; 3],
    element: usize,
    head: usize,
    block: usize,
    /// Output of one group, `[D][64]`.
    one: *mut f32,
    /// Sum of the groups, `[D][64]`.
    sum: *mut f32,
    out: *mut f32,
    /// Of all heads of the batch element.
    log_sum_exp: *mut f32,
    scratch: &'a mut ForwardScratch,
}

impl WithSimd for AttendGroups<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (groups, head_dim) = (self.call.groups, self.call.shape.head_dim);
        let (one, sum) = (self.one, self.sum);
        // SAFETY: rooms hold whole heads; outputs were checked where this was built.
        unsafe {
            for group in 0..groups {
                self.attend(simd, group);
                if group > 0 {
                    for at in (0..head_dim * BLOCK).step_by(S::F32_LANES) {
                        store(
                            simd,
                            sum.add(at),
                            simd.add_f32s(load(simd, sum.add(at)), load(simd, one.add(at))),
                        );
                    }
                }
            }
            if groups > 1 {
                let share = simd.splat_f32s(1.0 / groups as f32);
                for at in (0..head_dim * BLOCK).step_by(S::F32_LANES) {
                    store(
                        simd,
                        sum.add(at),
                        simd.mul_f32s(load(simd, sum.add(at)), share),
                    );
                }
            }
            transpose(
                simd,
                head_dim,
                self.call.geometry.queries_in(self.block),
                sum,
                BLOCK,
                self.out,
                self.call.out_heads() * head_dim,
            );
        }
    }
}

impl AttendGroups<'_> {
    /// Attention of one group's head: the first group's goes to the sum, the others' beside it.
    #[inline(always)]
    unsafe fn attend<S: Simd>(&mut self, simd: S, group: usize) {
        let Self {
            call,
            element,
            head,
            block,
            ..
        } = *self;
        let [q, k, v] = self.expanded;
        let geometry = &call.geometry;
        let SasShape {
            queries,
            expanded_heads,
            ..
        } = call.shape;
        let expanded = group * call.out_heads() + head;
        let kv = expanded / (expanded_heads / call.kv_heads);
        // SAFETY: as `with_simd`.
        unsafe {
            let head = HeadForward {
                query: q
                    .head(element, expanded)
                    .add(block * geometry.width * BLOCK),
                keys: k.head(element, kv),
                values: v.head(element, kv),
                out: if group == 0 { self.sum } else { self.one },
                log_sum_exp: self.log_sum_exp.add(expanded * queries + block * BLOCK),
            };
            blocked::forward(simd, geometry, block, head, self.scratch);
        }
    }
}
