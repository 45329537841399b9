//! SAS: expanded keys and values, and the projected ones that they are made of.

use std::sync::Arc;

use rayon::prelude::*;
use simattn_kernels::call::{Aggregation, ExpansionOptions, NumberType, RopePlacement};
use simattn_kernels::cpu::decoding::{
    AttendShape, Expander, KeyPage, PAGE, Rows, Run, ValuePage, attend, expand,
};

use super::columns::columns;
use crate::attention::{ExpansionLayer, SasAttention};
use crate::config::{ModelConfig, SasConfig};
use crate::decoding::{
    batch::{Batch, Rope, rotate},
    cache::{CachePage, CompactPage, LayerCache, Slot, rows_of, views},
    dense::{Dense, Norm, values},
    options::{CacheForm, RunningOptions},
};

/// The maps and expansions of a layer.
#[derive(Clone, Debug)]
pub(in crate::decoding) struct SimulatedMixer {
    /// q, k and v, one behind the other.
    projections: Dense,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
    expand_q: Expander,
    expand_k: Expander,
    expand_v: Expander,
    out: Dense,
    config: SasConfig,
    cache: NumberType,
    form: CacheForm,
}

/// An expansion as single tokens meet it.
fn expander(layer: &ExpansionLayer, heads: usize, width: usize, c: &SasConfig) -> Expander {
    let tensors = layer.weights();
    let owned = tensors.map(
        |stage| stage.map(values, values),
        |stage| stage.map(values, values),
    );
    let weights = simattn_kernels::call::Expansion {
        heads: owned.heads.as_ref().map(slices),
        features: owned.features.as_ref().map(slices),
    };
    let options = ExpansionOptions {
        residual: c.residual,
        relu: c.relu,
    };
    Expander::new(heads, width, &weights, options)
}

fn slices(stage: &simattn_kernels::call::Stage<Vec<f32>>) -> simattn_kernels::call::Stage<&[f32]> {
    simattn_kernels::call::Stage {
        first_weight: &stage.first_weight,
        first_bias: &stage.first_bias,
        second_weight: &stage.second_weight,
        second_bias: &stage.second_bias,
    }
}

impl SimulatedMixer {
    pub(super) fn new(
        layer: &SasAttention,
        c: &SasConfig,
        config: &ModelConfig,
        options: &RunningOptions,
    ) -> Self {
        let norm = |weight| Norm::rms(weight, config.norm_epsilon);
        let (heads, kv_heads, width) = (c.heads, c.kv_heads(), c.head_dim);
        Self {
            projections: Dense::stacked(options.weights, &[&layer.q, &layer.k, &layer.v]),
            q_norm: layer.q_norm.as_ref().map(norm),
            k_norm: layer.k_norm.as_ref().map(norm),
            expand_q: expander(&layer.expand_q, heads, width, c),
            expand_k: expander(&layer.expand_k, kv_heads, width, c),
            expand_v: expander(&layer.expand_v, kv_heads, width, c),
            out: Dense::new(options.weights, &layer.out),
            config: c.clone(),
            cache: options.cache,
            form: options.form,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let expanders = [&self.expand_q, &self.expand_k, &self.expand_v];
        let norms = [&self.q_norm, &self.k_norm].into_iter().flatten();
        self.projections.bytes()
            + self.out.bytes()
            + norms.map(Norm::bytes).sum::<usize>()
            + expanders.iter().map(|e| e.bytes()).sum::<usize>()
    }

    /// Heads of keys and values after their expansion.
    fn expanded_kv_heads(&self) -> usize {
        if self.config.expand_heads {
            self.config.expanded_heads
        } else {
            self.config.kv_heads()
        }
    }

    fn empty_page(&self) -> CachePage {
        let (heads, c) = (self.expanded_kv_heads(), &self.config);
        CachePage::Heads {
            keys: KeyPage::new(self.cache, heads, c.expanded_head_dim),
            values: ValuePage::new(self.cache, heads, c.head_dim),
        }
    }

    pub(super) fn empty(&self) -> Slot {
        let c = &self.config;
        let compact = CompactPage::new(self.cache, c.kv_heads(), c.head_dim);
        Slot {
            page: (self.form == CacheForm::Expanded).then(|| Arc::new(self.empty_page())),
            compact: Some(Arc::new(compact)),
        }
    }

    /// The pages of `len` tokens, made of what was projected.
    pub(super) fn restore(&self, slots: &[Slot], len: usize, rope: Option<&Rope>) -> Vec<Slot> {
        let restore = |(number, slot): (usize, &Slot)| {
            let first = number * PAGE;
            let compact = slot.compact.as_deref();
            let page = compact
                .filter(|_| self.form == CacheForm::Expanded)
                .map(|compact| self.expanded(compact, first, (len - first).min(PAGE), rope));
            Slot {
                page: page.map(Arc::new),
                compact: slot.compact.clone(),
            }
        };
        slots.par_iter().enumerate().map(restore).collect()
    }

    /// The page of `count` tokens from position `first` on, made of what was projected.
    fn expanded(
        &self,
        compact: &CompactPage,
        first: usize,
        count: usize,
        rope: Option<&Rope>,
    ) -> CachePage {
        let kv = self.config.kv_heads() * self.config.head_dim;
        let [k, v] = compact.read(0, count, kv);
        let positions: Vec<usize> = (first..first + count).collect();
        let [_, k, v] = self.expand(None, k, v, &positions, rope);
        let mut page = self.empty_page();
        self.fill(&mut page, 0, count, &k, &v);
        page
    }

    /// Writes expanded keys and values.
    fn fill(&self, page: &mut CachePage, slot: usize, count: usize, k: &[f32], v: &[f32]) {
        let (heads, c) = (self.expanded_kv_heads(), &self.config);
        if let CachePage::Heads { keys, values } = page {
            keys.write(slot, count, Rows::dense(k, heads * c.expanded_head_dim));
            values.write(slot, count, Rows::dense(v, heads * c.head_dim));
        }
    }

    /// Rotates and expands projected heads of tokens at `positions`; without queries none come
    /// back.
    fn expand(
        &self,
        q: Option<Vec<f32>>,
        mut k: Vec<f32>,
        v: Vec<f32>,
        positions: &[usize],
        rope: Option<&Rope>,
    ) -> [Vec<f32>; 3] {
        let c = &self.config;
        let tokens = positions.len();
        let mut q = q.unwrap_or_default();
        let with_queries = !q.is_empty();
        let turn = |x: &mut [f32], heads, width| rotate(rope, positions, [heads, width, 0], x);
        if c.rope == RopePlacement::Before {
            if with_queries {
                turn(&mut q, c.heads, c.head_dim);
            }
            turn(&mut k, c.kv_heads(), c.head_dim);
        }
        let room = |expander: &Expander, wanted| {
            vec![
                0.0;
                if wanted {
                    tokens * expander.outputs()
                } else {
                    0
                }
            ]
        };
        let mut wide_q = room(&self.expand_q, with_queries);
        let mut wide_k = room(&self.expand_k, true);
        let mut wide_v = room(&self.expand_v, true);
        let kv = self.expand_k.inputs();
        let mut calls = vec![
            (&self.expand_k, Rows::dense(&k, kv), &mut wide_k[..]),
            (&self.expand_v, Rows::dense(&v, kv), &mut wide_v[..]),
        ];
        if with_queries {
            let rows = Rows::dense(&q, self.expand_q.inputs());
            calls.insert(0, (&self.expand_q, rows, &mut wide_q[..]));
        }
        expand(tokens, &mut calls);
        if c.rope == RopePlacement::After {
            if with_queries {
                turn(&mut wide_q, c.expanded_heads, c.expanded_head_dim);
            }
            turn(&mut wide_k, self.expanded_kv_heads(), c.expanded_head_dim);
        }
        [wide_q, wide_k, wide_v]
    }

    pub(super) fn forward(
        &self,
        batch: &Batch<'_>,
        caches: &mut [&mut LayerCache],
        x: &[f32],
        y: &mut [f32],
    ) {
        let rows = batch.rows();
        let c = &self.config;
        let (q_len, kv) = (c.heads * c.head_dim, c.kv_heads() * c.head_dim);
        let (all, stride) = (self.projections.of(rows, x), self.projections.outputs());
        let normed = |x: Vec<f32>, norm: &Option<Norm>| match norm {
            Some(norm) => norm.of(&x),
            None => x,
        };
        let q = normed(columns(&all, stride, 0, q_len), &self.q_norm);
        let k = normed(columns(&all, stride, q_len, kv), &self.k_norm);
        let v = columns(&all, stride, q_len + kv, kv);
        let [k, v] = self.keep(batch, caches, k, v);
        let [q, k, v] = self.expand(Some(q), k, v, &batch.positions, batch.rope);
        let (key_len, value_len) = (self.expand_k.outputs(), self.expand_v.outputs());
        for (run, cache) in batch.runs.iter().zip(caches.iter_mut()) {
            if let Some(page) = &mut cache.slots[run.position / PAGE].page {
                let (k, v) = (rows_of(run, key_len, &k), rows_of(run, value_len, &v));
                let page = Arc::make_mut(page);
                self.fill(page, run.position % PAGE, run.tokens, k.values, v.values);
            }
        }
        let mixed = self.attend(batch, caches, &q);
        self.out.add(rows, &mixed, y);
    }

    /// Keeps projected keys and values; gives them back as they were rounded.
    fn keep(
        &self,
        batch: &Batch<'_>,
        caches: &mut [&mut LayerCache],
        mut k: Vec<f32>,
        mut v: Vec<f32>,
    ) -> [Vec<f32>; 2] {
        let kv = self.config.kv_heads() * self.config.head_dim;
        for (run, cache) in batch.runs.iter().zip(caches) {
            let slot = cache.slot(run, || self.empty());
            let Some(compact) = &mut slot.compact else {
                continue;
            };
            let compact = Arc::make_mut(compact);
            let at = run.position % PAGE;
            compact.keys.write(at, run.tokens, rows_of(run, kv, &k));
            compact.values.write(at, run.tokens, rows_of(run, kv, &v));
            if self.cache != NumberType::F32 {
                let rounded = compact.read(at, run.tokens, kv);
                let place = run.row * kv..(run.row + run.tokens) * kv;
                k[place.clone()].copy_from_slice(&rounded[0]);
                v[place].copy_from_slice(&rounded[1]);
            }
        }
        [k, v]
    }

    /// Attention over the expanded heads and the mean of their groups.
    fn attend(&self, batch: &Batch<'_>, caches: &[&mut LayerCache], q: &[f32]) -> Vec<f32> {
        let c = &self.config;
        let rows = batch.rows();
        let shape = AttendShape {
            heads: c.expanded_heads,
            kv_heads: self.expanded_kv_heads(),
            query_width: c.expanded_head_dim,
            value_width: c.head_dim,
            scale: 1.0 / (c.expanded_head_dim as f32).sqrt(),
        };
        let width = c.expanded_heads * c.head_dim;
        let mut mixed = vec![0.0; rows * width];
        match self.form {
            CacheForm::Expanded => attend(&shape, &views(batch, caches), q, &mut mixed),
            CacheForm::Compact => {
                let mut done = 0;
                for (run, cache) in batch.runs.iter().zip(caches) {
                    let pages = self.all_expanded(cache, run.position + run.tokens, batch.rope);
                    let run = Run {
                        pages: pages.iter().map(CachePage::view).collect(),
                        first: run.position,
                        tokens: run.tokens,
                    };
                    let place = done..done + run.tokens;
                    done = place.end;
                    let q_width = c.expanded_heads * c.expanded_head_dim;
                    let q = &q[place.start * q_width..place.end * q_width];
                    let to = &mut mixed[place.start * width..place.end * width];
                    attend(&shape, &[run], q, to);
                }
            }
        }
        let groups = c.expanded_heads / c.heads;
        if c.aggregation == Aggregation::Full || groups == 1 {
            return mixed;
        }
        let (kept, share) = (c.heads * c.head_dim, 1.0 / groups as f32);
        let mut mean = vec![0.0; rows * kept];
        for (mixed, mean) in mixed.chunks_exact(width).zip(mean.chunks_exact_mut(kept)) {
            for group in mixed.chunks_exact(kept) {
                for (mean, x) in mean.iter_mut().zip(group) {
                    *mean += x;
                }
            }
            mean.iter_mut().for_each(|mean| *mean *= share);
        }
        mean
    }

    /// All pages of a sequence of `len` tokens, made of what was projected.
    fn all_expanded(&self, cache: &LayerCache, len: usize, rope: Option<&Rope>) -> Vec<CachePage> {
        let slots = cache.slots.iter().enumerate();
        slots
            .filter_map(|(number, slot)| {
                let first = number * PAGE;
                let compact = slot.compact.as_deref()?;
                Some(self.expanded(compact, first, (len - first).min(PAGE), rope))
            })
            .collect()
    }
}
