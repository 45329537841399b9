//! One attention layer on one new token a sequence, against a cache of keys and values.
//!
//! On the CPU that is [`simattn::decoding`], as it runs models. GPUs and the definitions go through
//! tensor operations: SAS caches expanded keys and values, the new token alone is expanded, and the
//! attention over the cache is the kernels'.

use std::hint::black_box;

use burn::tensor::{DType, Device, Tensor, TensorData};
use simattn::Linear;
use simattn::attention::Attention;
use simattn::decoding::{AttentionCache, RunningAttention, RunningOptions};
use simattn::init::Initialiser;
use simattn_kernels::Kernels;
use simattn_kernels::reference::{
    AttentionOptions, Expansion, ExpansionOptions, expand_features, expand_heads,
};

use super::call::Bench;
use super::error::BenchError;
use super::layer::timed;
use super::record::{Measurement, Record, Setting};
use super::workload::{Operations, SEED, Sizes, normals};

/// Times single tokens: each is projected, written into the last place of the cache, and attends to
/// all of it.
///
/// # Errors
/// Sizes that describe no layer.
pub(crate) fn bench(
    bench: &Bench,
    setting: &Setting,
    emit: &mut dyn FnMut(&Record),
) -> Result<(), BenchError> {
    let sizes = &bench.sizes;
    let model = sizes.layer(bench.variant)?;
    let device = bench.device.clone();
    let layer = Attention::new(&model, &Initialiser::new(&model, SEED, &device));
    let (times, peak) = if runs_on_caches(bench.kernels, &device) {
        let layer = RunningAttention::new(&layer, &model, RunningOptions::default());
        let mut caches = filled(&layer, sizes.batch, sizes.seq - 1, sizes.width());
        let token = normals("bench.token", sizes.batch * sizes.width());
        timed(bench, || {
            let mut all: Vec<&mut AttentionCache> = caches.iter_mut().collect();
            black_box(layer.step(&mut all, &token));
            caches.iter_mut().for_each(AttentionCache::take_back);
        })?
    } else {
        let mut decoding = Decoding::new(layer, sizes, &device, DType::F32);
        timed(bench, || {
            black_box(decoding.step(bench.kernels));
        })?
    };
    let measurement = Measurement {
        what: "layer decode",
        positions: "none",
        times: &times,
        tokens: sizes.batch,
        operations: Operations::of_decoding(&model, sizes.batch, sizes.seq).forward(),
        peak,
        parameters: None,
    };
    emit(&Record::new(setting, &measurement));
    Ok(())
}

/// Whether such a call is timed on [`simattn::decoding`].
pub(super) fn runs_on_caches(kernels: Kernels, device: &Device) -> bool {
    kernels == Kernels::Fast && *device == Device::flex()
}

/// Caches of `tokens` random tokens for each of `batch` sequences.
fn filled(
    layer: &RunningAttention,
    batch: usize,
    tokens: usize,
    width: usize,
) -> Vec<AttentionCache> {
    let values = normals("bench.x", batch * tokens * width);
    let fill = |sequence: usize| {
        let mut cache = AttentionCache::default();
        layer.extend(
            &mut cache,
            &values[sequence * tokens * width..][..tokens * width],
        );
        cache
    };
    (0..batch).map(fill).collect()
}

/// A layer, its cache and the token that comes again and again.
#[derive(Debug)]
pub(super) struct Decoding {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    /// Of q, k and v, in SAS.
    expansions: Option<[Expansion; 3]>,
    batch: usize,
    heads: usize,
    head_dim: usize,
    /// [B, 1, C]
    x: Tensor<3>,
    /// [B, H', S, D']; taken out while the new token is written, so that it is written in place.
    keys: Option<Tensor<4>>,
    /// [B, H', S, D]
    values: Option<Tensor<4>>,
}

impl Decoding {
    /// A `layer` without a graph whose cache holds `sizes.seq` random tokens.
    pub(super) fn new(layer: Attention, sizes: &Sizes, device: &Device, dtype: DType) -> Self {
        let (cached_heads, width) = match &layer {
            Attention::Sas(_) => (sizes.expanded_heads, sizes.expanded_width()),
            _ => (sizes.heads, sizes.head_dim),
        };
        let (q, k, v, out, expansions) = match layer {
            Attention::Sas(layer) => {
                let expansions = [&layer.expand_q, &layer.expand_k, &layer.expand_v];
                let expansions = Some(expansions.map(|expansion| expansion.weights()));
                (layer.q, layer.k, layer.v, layer.out, expansions)
            }
            Attention::Grouped(layer) => (layer.q, layer.k, layer.v, layer.out, None),
            _ => unreachable!("the bench builds SAS and MHA alone"),
        };
        let cache = |name, width| {
            let shape = [sizes.batch, cached_heads, sizes.seq, width];
            let values = normals(name, shape.iter().product());
            Tensor::<4>::from_data(TensorData::new(values, shape), (device, dtype))
        };
        let shape = [sizes.batch, 1, sizes.width()];
        let token = normals("bench.token", shape.iter().product());
        Self {
            q,
            k,
            v,
            out,
            expansions,
            batch: sizes.batch,
            heads: sizes.heads,
            head_dim: sizes.head_dim,
            x: Tensor::from_data(TensorData::new(token, shape), (device, dtype)),
            keys: Some(cache("bench.keys", width)),
            values: Some(cache("bench.values", sizes.head_dim)),
        }
    }

    /// One token: [B, 1, C].
    pub(super) fn step(&mut self, kernels: Kernels) -> Tensor<3> {
        let [q, k, v] = [&self.q, &self.k, &self.v].map(|projection| {
            projection.forward(self.x.clone(), kernels).reshape([
                self.batch,
                1,
                self.heads,
                self.head_dim,
            ])
        });
        let [q, k, v] = match &self.expansions {
            Some([of_q, of_k, of_v]) => [expand(q, of_q), expand(k, of_k), expand(v, of_v)],
            None => [q, k, v],
        };
        let [q, k, v] = [q, k, v].map(|x| x.swap_dims(1, 2));
        let [_, heads, _, width] = q.dims();
        let keys = with_last(&mut self.keys, k);
        let values = with_last(&mut self.values, v);
        let options = AttentionOptions {
            offset: keys.dims()[2] - 1,
            ..AttentionOptions::causal(width)
        };
        let y = kernels.attention(q, keys, values, &options);
        // Head g·H + i of the expanded ones belongs to group g.
        let y = y
            .reshape([self.batch, heads / self.heads, self.heads * self.head_dim])
            .mean_dim(1);
        self.out.forward(y, kernels)
    }
}

/// `x` [B, 1, H, D] → [B, 1, H', D'].
fn expand(x: Tensor<4>, expansion: &Expansion) -> Tensor<4> {
    let options = ExpansionOptions::default();
    let x = match &expansion.heads {
        Some(heads) => expand_heads(x, heads, options),
        None => x,
    };
    match &expansion.features {
        Some(features) => expand_features(x, features, options),
        None => x,
    }
}

/// The cache [B, H', S, ·] with `last` [B, H', 1, ·] as its last token.
fn with_last(cache: &mut Option<Tensor<4>>, last: Tensor<4>) -> Tensor<4> {
    let written = match cache.take() {
        Some(before) => {
            let [batch, heads, keys, width] = before.dims();
            before.slice_assign([0..batch, 0..heads, keys - 1..keys, 0..width], last)
        }
        None => last,
    };
    cache.insert(written).clone()
}
