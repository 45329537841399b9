//! MLA with its up-projections absorbed: queries are mapped into the latent's space, and attention
//! gives latents, which are mapped to values.

use simattn_kernels::call::NumberType;
use simattn_kernels::cpu::decoding::{AttendShape, KeyPage, Panels, Rows, attend, product};

use super::columns::columns;
use crate::attention::{LATENT_EPSILON, LatentAttention};
use crate::config::LatentConfig;
use crate::decoding::{
    batch::Batch,
    cache::{CachePage, LayerCache, rows_of, views, write},
    dense::{Dense, Norm, values},
    options::RunningOptions,
};

/// The maps of a layer.
#[derive(Clone, Debug)]
pub(in crate::decoding) struct LatentMixer {
    /// The queries' latent, then the latent of keys and values with the rotated key.
    down: Dense,
    q_norm: Norm,
    q_up: Dense,
    kv_norm: Norm,
    /// Of each head: its queries' part without positions → latent.
    into_latent: Vec<Panels>,
    /// Of each head: latent → value.
    out_of_latent: Vec<Panels>,
    out: Dense,
    config: LatentConfig,
    cache: NumberType,
}

impl LatentMixer {
    pub(super) fn new(
        layer: &LatentAttention,
        config: &LatentConfig,
        options: &RunningOptions,
    ) -> Self {
        let (nope, value, rank) = (config.nope_head_dim, config.value_head_dim, config.kv_rank);
        let up = values(layer.kv_up.values().0);
        let heads = up.chunks_exact((nope + value) * rank);
        let (mut into_latent, mut out_of_latent) = (Vec::new(), Vec::new());
        for head in heads {
            let (of_keys, of_values) = head.split_at(nope * rank);
            let turned: Vec<f32> = (0..rank)
                .flat_map(|r| (0..nope).map(move |n| of_keys[n * rank + r]))
                .collect();
            into_latent.push(Panels::new(options.weights, rank, nope, &turned));
            out_of_latent.push(Panels::new(options.weights, value, rank, of_values));
        }
        Self {
            down: Dense::stacked(options.weights, &[&layer.q_down, &layer.kv_down]),
            q_norm: Norm::rms(&layer.q_norm, LATENT_EPSILON),
            q_up: Dense::new(options.weights, &layer.q_up),
            kv_norm: Norm::rms(&layer.kv_norm, LATENT_EPSILON),
            into_latent,
            out_of_latent,
            out: Dense::new(options.weights, &layer.out),
            config: config.clone(),
            cache: options.cache,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        let maps = [&self.down, &self.q_up, &self.out];
        let absorbed = self.into_latent.iter().chain(&self.out_of_latent);
        maps.iter().map(|map| map.bytes()).sum::<usize>()
            + absorbed.map(Panels::bytes).sum::<usize>()
            + self.q_norm.bytes()
            + self.kv_norm.bytes()
    }

    pub(super) fn empty(&self) -> CachePage {
        CachePage::Latent {
            latent: KeyPage::new(self.cache, 1, self.config.kv_rank),
            rope: KeyPage::new(self.cache, 1, self.config.rope_head_dim),
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
        let (rank, rope) = (c.kv_rank, c.rope_head_dim);
        let (down, stride) = (self.down.of(rows, x), self.down.outputs());
        let latent = self.kv_norm.of(&columns(&down, stride, c.query_rank, rank));
        let mut key = columns(&down, stride, c.query_rank + rank, rope);
        batch.rotate(1, rope, 0, &mut key);
        write(
            batch,
            caches,
            || self.empty(),
            |page, slot, run| {
                if let CachePage::Latent {
                    latent: page,
                    rope: of_rope,
                } = page
                {
                    page.write(slot, run.tokens, rows_of(run, rank, &latent));
                    of_rope.write(slot, run.tokens, rows_of(run, rope, &key));
                }
            },
        );
        let q = self.queries(batch, &columns(&down, stride, 0, c.query_rank));
        let shape = AttendShape {
            heads: c.heads,
            kv_heads: 1,
            query_width: rank + rope,
            value_width: rank,
            scale: 1.0 / ((c.nope_head_dim + rope) as f32).sqrt(),
        };
        let mut latents = vec![0.0; rows * c.heads * rank];
        attend(&shape, &views(batch, caches), &q, &mut latents);
        let width = c.heads * c.value_head_dim;
        let mut mixed = vec![0.0; rows * width];
        for (head, map) in self.out_of_latent.iter().enumerate() {
            let from = Rows {
                values: &latents[head * rank..],
                stride: c.heads * rank,
            };
            let to = &mut mixed[head * c.value_head_dim..];
            product(map, rows, from, None, to, width, false);
        }
        self.out.add(rows, &mixed, y);
    }

    /// Queries in the latent's space beside their rotated parts: [rows][heads][rank + rope].
    fn queries(&self, batch: &Batch<'_>, latent: &[f32]) -> Vec<f32> {
        let rows = batch.rows();
        let c = &self.config;
        let (nope, rope, rank) = (c.nope_head_dim, c.rope_head_dim, c.kv_rank);
        let mut plain = self.q_up.of(rows, &self.q_norm.of(latent));
        batch.rotate(c.heads, nope + rope, nope, &mut plain);
        let (from_stride, to_stride) = (c.heads * (nope + rope), c.heads * (rank + rope));
        let mut q = vec![0.0; rows * to_stride];
        for (head, map) in self.into_latent.iter().enumerate() {
            let from = Rows {
                values: &plain[head * (nope + rope)..],
                stride: from_stride,
            };
            let to = &mut q[head * (rank + rope)..];
            product(map, rows, from, None, to, to_stride, false);
        }
        let heads = plain
            .chunks_exact(nope + rope)
            .zip(q.chunks_exact_mut(rank + rope));
        for (plain, q) in heads {
            q[rank..].copy_from_slice(&plain[nope..]);
        }
        q
    }
}
