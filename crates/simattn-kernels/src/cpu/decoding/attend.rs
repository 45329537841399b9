//! Attention over the pages of caches.
//!
//! Keys are dealt out in splits of 256, which begin at multiples of 256 of a sequence. Each split
//! has a softmax of its own, and the splits of a query are joined in order. A task is one split of
//! one key/value head: it reads its keys and values once, for all query heads that belong to them.

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::pages::PAGE;
use super::split::{Split, SplitRoom};
use super::tile::PANEL;
use super::view::{AttendShape, Page, SPLIT};
use crate::cpu::memory::{Room, Shared, with_scratch};
use crate::cpu::output::overwriting;
use crate::cpu::simd::InstructionSet;
use crate::cpu::tile::{load, store};

/// Rows of queries that a task takes, about.
const ROWS: usize = 48;

/// Tokens of one sequence, one behind the other and all on one page.
#[derive(Clone, Debug)]
pub struct Run<'a> {
    /// The sequence's pages, these tokens' included.
    pub pages: Vec<Page<'a>>,
    /// Position of the first token.
    pub first: usize,
    /// Tokens.
    pub tokens: usize,
}

impl Run<'_> {
    fn splits(&self) -> usize {
        (self.first + self.tokens).div_ceil(SPLIT * PAGE)
    }
}

/// A part of the work.
struct Task {
    run: usize,
    /// The first query's row in the batch.
    row: usize,
    /// Its position.
    position: usize,
    tokens: usize,
    kv_head: usize,
    split: usize,
    /// Where the first query's results go.
    record: usize,
}

/// Attention of queries `q` [rows][heads · query width] to the caches of their sequences; `out` is
/// [rows][heads · value width]. Rows belong to the runs in order; a token sees its sequence up to
/// itself.
///
/// # Panics
/// If lengths do not fit, heads do not divide, or a run leaves its page.
pub fn attend(shape: &AttendShape, runs: &[Run<'_>], q: &[f32], out: &mut [f32]) {
    let rows: usize = runs.iter().map(|run| run.tokens).sum();
    assert_eq!(q.len(), rows * shape.heads * shape.query_width, "queries");
    assert_eq!(out.len(), rows * shape.heads * shape.value_width, "outputs");
    assert!(
        shape.kv_heads > 0 && shape.heads.is_multiple_of(shape.kv_heads),
        "{} key/value heads do not divide {} heads",
        shape.kv_heads,
        shape.heads
    );
    let (tasks, places) = plan(shape, runs);
    let record = record_len(shape);
    let records = places
        .last()
        .map_or(0, |last| last.start + last.splits * shape.heads);
    let mut room = Room::default();
    let partial = Shared::room(&mut room, records * record);
    tasks
        .par_iter()
        .with_max_len(1)
        .for_each(|task| run_task(shape, runs, q, task, partial));
    // SAFETY: only values are stored.
    let out = Shared::from_output(unsafe { overwriting(out) });
    let heads = shape.heads;
    (0..rows * heads)
        .into_par_iter()
        .with_min_len(64)
        .for_each(|index| {
            let place = places[index / heads];
            InstructionSet::current().run(Join {
                width: shape.value_width,
                record,
                splits: place.splits,
                from: partial.at(
                    (place.start + index % heads * place.splits) * record,
                    place.splits * record,
                ),
                to: out.at(index * shape.value_width, shape.value_width),
            });
        });
}

/// Where the results of a row's splits lie: those of head h from `start + h · splits` on.
#[derive(Clone, Copy)]
struct Place {
    start: usize,
    splits: usize,
}

/// Values of one result: greatest score, sum of weights, and the weighted values.
fn record_len(shape: &AttendShape) -> usize {
    2 + shape.value_width.div_ceil(PANEL) * PANEL
}

fn plan(shape: &AttendShape, runs: &[Run<'_>]) -> (Vec<Task>, Vec<Place>) {
    let (mut tasks, mut places) = (Vec::new(), Vec::new());
    let together = (ROWS / (shape.heads / shape.kv_heads)).max(1);
    let mut start = 0;
    for (number, run) in runs.iter().enumerate() {
        let end = run.first + run.tokens;
        assert!(
            run.tokens > 0 && run.first / PAGE == (end - 1) / PAGE,
            "the tokens of a run are on one page"
        );
        assert!(run.pages.len() * PAGE >= end, "pages of a run");
        let (row, splits) = (places.len(), run.splits());
        let stride = shape.heads * splits;
        for first in (0..run.tokens).step_by(together) {
            for split in 0..splits {
                tasks.extend((0..shape.kv_heads).map(|kv_head| Task {
                    run: number,
                    row: row + first,
                    position: run.first + first,
                    tokens: together.min(run.tokens - first),
                    kv_head,
                    split,
                    record: start + first * stride,
                }));
            }
        }
        places.extend((0..run.tokens).map(|token| Place {
            start: start + token * stride,
            splits,
        }));
        start += run.tokens * stride;
    }
    (tasks, places)
}

fn run_task(shape: &AttendShape, runs: &[Run<'_>], q: &[f32], task: &Task, partial: Shared) {
    let run = &runs[task.run];
    let (heads, width) = (shape.heads, shape.query_width);
    let share = heads / shape.kv_heads;
    let (splits, record) = (run.splits(), record_len(shape));
    let rows = task.tokens * share;
    let from = task.split * SPLIT;
    let keys = task.position + task.tokens - from * PAGE;
    let pages = &run.pages[from..][..keys.div_ceil(PAGE).min(SPLIT)];
    let padded = record - 2;
    let sizes = [
        rows * width,
        rows * SPLIT * PAGE,
        rows * padded,
        rows * PAGE,
        PAGE * padded,
        2 * rows,
    ];
    with_scratch(sizes, |[queries, scores, sums, beside, turned, ends]| {
        for token in 0..task.tokens {
            let from = ((task.row + token) * heads + task.kv_head * share) * width;
            let to = &mut queries[token * share * width..][..share * width];
            for (to, q) in to.iter_mut().zip(&q[from..]) {
                *to = q * shape.scale;
            }
        }
        InstructionSet::current().run(Split {
            shape,
            pages,
            kv_head: task.kv_head,
            rows,
            share,
            // Of the first token; each one behind it sees one key more.
            visible: task.position + 1 - from * PAGE,
            keys: keys.min(SPLIT * PAGE),
            room: SplitRoom {
                queries,
                scores,
                sums: &mut *sums,
                beside,
                turned,
                ends: &mut *ends,
            },
        });
        for row in 0..rows {
            let head = task.kv_head * share + row % share;
            let number = task.record + (row / share * heads + head) * splits + task.split;
            let to = partial.at(number * record, record);
            // SAFETY: this record belongs to this task alone.
            let to = unsafe {
                to.write_bytes(0, record);
                std::slice::from_raw_parts_mut(to, record)
            };
            to[..2].copy_from_slice(&ends[2 * row..][..2]);
            to[2..].copy_from_slice(&sums[row * padded..][..padded]);
        }
    });
}

/// Joins the results of a query's splits, in order.
struct Join {
    width: usize,
    record: usize,
    splits: usize,
    from: *const f32,
    to: *mut f32,
}

impl WithSimd for Join {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        const MOST_VECTORS: usize = 4;
        let (lanes, padded) = (S::F32_LANES, self.record - 2);
        // SAFETY: `splits` records that tasks have written, and `width` values of the output that
        // belong to this call alone.
        unsafe {
            let end = |split: usize, i: usize| *self.from.add(split * self.record + i);
            let mut done = 0;
            while done < padded {
                let vectors = ((padded - done) / lanes).min(MOST_VECTORS);
                let mut sums = [simd.splat_f32s(0.0); MOST_VECTORS];
                let (mut greatest, mut total) = (f32::NEG_INFINITY, 0.0);
                for split in 0..self.splits {
                    let (its_greatest, its_total) = (end(split, 0), end(split, 1));
                    let most = if its_greatest > greatest {
                        its_greatest
                    } else {
                        greatest
                    };
                    let (shrink, share) = ((greatest - most).exp(), (its_greatest - most).exp());
                    greatest = most;
                    total = total * shrink + its_total * share;
                    let (shrink, share) = (simd.splat_f32s(shrink), simd.splat_f32s(share));
                    let values = self.from.add(split * self.record + 2 + done);
                    for (v, sum) in sums.iter_mut().enumerate().take(vectors) {
                        let value = simd.mul_f32s(load(simd, values.add(v * lanes)), share);
                        *sum = simd.mul_add_e_f32s(*sum, shrink, value);
                    }
                }
                let share = simd.splat_f32s(1.0 / total);
                for (v, sum) in sums.iter().enumerate().take(vectors) {
                    let value = simd.mul_f32s(*sum, share);
                    let at = done + v * lanes;
                    if at + lanes <= self.width {
                        store(simd, self.to.add(at), value);
                    } else if at < self.width {
                        let rest = self.width - at;
                        let to = std::slice::from_raw_parts_mut(self.to.add(at), rest);
                        simd.partial_store_f32s(to, value);
                    }
                }
                done += vectors * lanes;
            }
        }
    }
}
