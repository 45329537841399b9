//! MHA, GQA, MQA and MFA: keys and values of heads.

use simattn_kernels::call::NumberType;
use simattn_kernels::cpu::decoding::{AttendShape, KeyPage, ValuePage, attend};

use super::columns::columns;
use crate::attention::{FactorisedAttention, GroupedAttention, LATENT_EPSILON};
use crate::config::{FactorisedConfig, ModelConfig};
use crate::decoding::{
    batch::Batch,
    cache::{CachePage, LayerCache, rows_of, views, write},
    dense::{Dense, Norm},
    options::RunningOptions,
};

/// Projections, norms of heads, and the output's projection.
#[derive(Clone, Debug)]
pub(in crate::decoding) struct HeadsMixer {
    /// q (or its latent), k and v, one behind the other.
    projections: Dense,
    /// The way from a latent of queries to them, in MFA.
    lift: Option<(Norm, Dense)>,
    q_norm: Option<Norm>,
    k_norm: Option<Norm>,
    out: Dense,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    cache: NumberType,
}

impl HeadsMixer {
    pub(super) fn grouped(
        layer: &GroupedAttention,
        [heads, kv_heads, head_dim]: [usize; 3],
        config: &ModelConfig,
        options: &RunningOptions,
    ) -> Self {
        let norm = |weight| Norm::rms(weight, config.norm_epsilon);
        Self {
            projections: Dense::stacked(options.weights, &[&layer.q, &layer.k, &layer.v]),
            lift: None,
            q_norm: layer.q_norm.as_ref().map(norm),
            k_norm: layer.k_norm.as_ref().map(norm),
            out: Dense::new(options.weights, &layer.out),
            heads,
            kv_heads,
            head_dim,
            cache: options.cache,
        }
    }

    pub(super) fn factorised(
        layer: &FactorisedAttention,
        config: &FactorisedConfig,
        options: &RunningOptions,
    ) -> Self {
        let lift = Dense::new(options.weights, &layer.q_up);
        Self {
            projections: Dense::stacked(options.weights, &[&layer.q_down, &layer.k, &layer.v]),
            lift: Some((Norm::rms(&layer.q_norm, LATENT_EPSILON), lift)),
            q_norm: None,
            k_norm: None,
            out: Dense::new(options.weights, &layer.out),
            heads: config.heads,
            kv_heads: 1,
            head_dim: config.head_dim,
            cache: options.cache,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let norms = [&self.q_norm, &self.k_norm].into_iter().flatten();
        let lift = self
            .lift
            .as_ref()
            .map_or(0, |(norm, map)| norm.bytes() + map.bytes());
        let maps = self.projections.bytes() + self.out.bytes();
        maps + lift + norms.map(Norm::bytes).sum::<usize>()
    }

    pub(super) fn empty(&self) -> CachePage {
        CachePage::Heads {
            keys: KeyPage::new(self.cache, self.kv_heads, self.head_dim),
            values: ValuePage::new(self.cache, self.kv_heads, self.head_dim),
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
        let (heads, kv_heads, head_dim) = (self.heads, self.kv_heads, self.head_dim);
        let (all, stride) = (self.projections.of(rows, x), self.projections.outputs());
        let kv = kv_heads * head_dim;
        let mut q = columns(&all, stride, 0, stride - 2 * kv);
        if let Some((norm, map)) = &self.lift {
            q = map.of(rows, &norm.of(&q));
        }
        let mut k = columns(&all, stride, stride - 2 * kv, kv);
        let v = columns(&all, stride, stride - kv, kv);
        if let Some(norm) = &self.q_norm {
            q = norm.of(&q);
        }
        if let Some(norm) = &self.k_norm {
            k = norm.of(&k);
        }
        batch.rotate(heads, head_dim, 0, &mut q);
        batch.rotate(kv_heads, head_dim, 0, &mut k);
        write(
            batch,
            caches,
            || self.empty(),
            |page, slot, run| {
                if let CachePage::Heads { keys, values } = page {
                    keys.write(slot, run.tokens, rows_of(run, kv, &k));
                    values.write(slot, run.tokens, rows_of(run, kv, &v));
                }
            },
        );
        let shape = AttendShape {
            heads,
            kv_heads,
            query_width: head_dim,
            value_width: head_dim,
            scale: 1.0 / (head_dim as f32).sqrt(),
        };
        let mut mixed = vec![0.0; rows * heads * head_dim];
        attend(&shape, &views(batch, caches), &q, &mut mixed);
        self.out.add(rows, &mixed, y);
    }
}
