//! TPA: the factors of keys and values.

use simattn_kernels::call::NumberType;
use simattn_kernels::cpu::decoding::{AttendShape, KeyPage, ValuePage, attend};

use super::columns::columns;
use crate::attention::TensorProductAttention;
use crate::config::TensorProductConfig;
use crate::decoding::{
    batch::Batch,
    cache::{CachePage, LayerCache, rows_of, views, write},
    dense::Dense,
    options::RunningOptions,
};

/// The maps of a layer.
#[derive(Clone, Debug)]
pub(in crate::decoding) struct FactorsMixer {
    /// A and B of k and of v, then q or its A and B.
    projections: Dense,
    out: Dense,
    config: TensorProductConfig,
    cache: NumberType,
}

impl FactorsMixer {
    pub(super) fn new(
        layer: &TensorProductAttention,
        config: &TensorProductConfig,
        options: &RunningOptions,
    ) -> Self {
        let (k, v) = (&layer.k_factors, &layer.v_factors);
        let mut maps = vec![&k.a, &k.b, &v.a, &v.b];
        maps.extend(&layer.q);
        if let Some(q) = &layer.q_factors {
            maps.extend([&q.a, &q.b]);
        }
        Self {
            projections: Dense::stacked(options.weights, &maps),
            out: Dense::new(options.weights, &layer.out),
            config: config.clone(),
            cache: options.cache,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.projections.bytes() + self.out.bytes()
    }

    pub(super) fn empty(&self) -> CachePage {
        let (rank, width) = (self.config.kv_rank, self.config.head_dim);
        let factors = self.config.heads * rank;
        CachePage::Factors {
            key_a: KeyPage::new(self.cache, 1, factors),
            key_b: KeyPage::new(self.cache, rank, width),
            value_a: KeyPage::new(self.cache, 1, factors),
            value_b: ValuePage::new(self.cache, rank, width),
        }
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
        let (a_len, b_len) = (c.heads * c.kv_rank, c.kv_rank * c.head_dim);
        let (all, stride) = (self.projections.of(rows, x), self.projections.outputs());
        let part = |start, width| columns(&all, stride, start, width);
        let (key_a, mut key_b) = (part(0, a_len), part(a_len, b_len));
        let of_values = a_len + b_len;
        let (value_a, value_b) = (part(of_values, a_len), part(of_values + a_len, b_len));
        batch.rotate(c.kv_rank, c.head_dim, 0, &mut key_b);
        write(
            batch,
            caches,
            || self.empty(),
            |page, slot, run| {
                if let CachePage::Factors {
                    key_a: to_key_a,
                    key_b: to_key_b,
                    value_a: to_value_a,
                    value_b: to_value_b,
                } = page
                {
                    to_key_a.write(slot, run.tokens, rows_of(run, a_len, &key_a));
                    to_key_b.write(slot, run.tokens, rows_of(run, b_len, &key_b));
                    to_value_a.write(slot, run.tokens, rows_of(run, a_len, &value_a));
                    to_value_b.write(slot, run.tokens, rows_of(run, b_len, &value_b));
                }
            },
        );
        let q = self.queries(
            batch,
            &columns(&all, stride, 2 * of_values, stride - 2 * of_values),
        );
        let shape = AttendShape {
            heads: c.heads,
            kv_heads: 1,
            query_width: c.head_dim,
            value_width: c.head_dim,
            scale: 1.0 / (c.head_dim as f32).sqrt(),
        };
        let mut mixed = vec![0.0; rows * c.heads * c.head_dim];
        attend(&shape, &views(batch, caches), &q, &mut mixed);
        self.out.add(rows, &mixed, y);
    }

    /// Rotated queries [rows][heads][width] of the projected ones or of their factors.
    fn queries(&self, batch: &Batch<'_>, projected: &[f32]) -> Vec<f32> {
        let c = &self.config;
        let (heads, width) = (c.heads, c.head_dim);
        let Some(rank) = c.query_rank else {
            let mut q = projected.to_vec();
            batch.rotate(heads, width, 0, &mut q);
            return q;
        };
        let stride = rank * (heads + width);
        let mut b = columns(projected, stride, heads * rank, rank * width);
        batch.rotate(rank, width, 0, &mut b);
        let mut q = vec![0.0; batch.rows() * heads * width];
        let share = 1.0 / rank as f32;
        let rows = projected
            .chunks_exact(stride)
            .zip(b.chunks_exact(rank * width));
        for ((a, b), q) in rows.zip(q.chunks_exact_mut(heads * width)) {
            for (a, q) in a.chunks_exact(rank).zip(q.chunks_exact_mut(width)) {
                for (a, b) in a.iter().zip(b.chunks_exact(width)) {
                    for (q, b) in q.iter_mut().zip(b) {
                        *q += a * b;
                    }
                }
                q.iter_mut().for_each(|q| *q *= share);
            }
        }
        q
    }
}
