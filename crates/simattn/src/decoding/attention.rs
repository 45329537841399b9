//! One attention layer with caches, to measure it and to compare it.

use simattn_kernels::cpu::decoding::{PAGE, on_workers};

use super::{batch::Batch, cache::LayerCache, mixer::Mixer, options::RunningOptions};
use crate::{attention::Attention, config::ModelConfig};

/// An attention layer as [`Running`](super::Running) runs it, but without rotary positions.
#[derive(Clone, Debug)]
pub struct RunningAttention {
    mixer: Mixer,
    width: usize,
}

/// What a layer keeps of one sequence.
#[derive(Clone, Debug, Default)]
pub struct AttentionCache {
    layer: LayerCache,
    len: usize,
}

impl RunningAttention {
    /// A layer of a model of this configuration.
    pub fn new(attention: &Attention, config: &ModelConfig, options: RunningOptions) -> Self {
        Self {
            mixer: Mixer::new(attention, config, &options),
            width: config.width,
        }
    }

    /// Appends tokens `x` [tokens, C] to a cache: [tokens, C].
    ///
    /// # Panics
    /// If `x` does not hold whole tokens.
    pub fn extend(&self, cache: &mut AttentionCache, x: &[f32]) -> Vec<f32> {
        let mut y = Vec::with_capacity(x.len());
        let mut rest = x;
        while !rest.is_empty() {
            let tokens = (PAGE - cache.len % PAGE).min(rest.len() / self.width);
            assert!(tokens > 0, "whole tokens of {} features", self.width);
            let (now, behind) = rest.split_at(tokens * self.width);
            rest = behind;
            y.extend(self.forward(&mut [&mut *cache], tokens, now));
        }
        y
    }

    /// Appends one token to each of several caches: `x` [caches, C] → [caches, C].
    ///
    /// # Panics
    /// If there are not as many tokens as caches.
    pub fn step(&self, caches: &mut [&mut AttentionCache], x: &[f32]) -> Vec<f32> {
        self.forward(caches, 1, x)
    }

    fn forward(&self, caches: &mut [&mut AttentionCache], tokens: usize, x: &[f32]) -> Vec<f32> {
        assert_eq!(
            x.len(),
            caches.len() * tokens * self.width,
            "tokens of caches"
        );
        let batch = Batch::new(caches.iter().map(|cache| (cache.len, tokens)), None);
        let mut y = vec![0.0; x.len()];
        on_workers(|| {
            let layers = caches.iter_mut().map(|cache| &mut cache.layer);
            let mut layers: Vec<&mut LayerCache> = layers.collect();
            self.mixer.forward(&batch, &mut layers, x, &mut y);
        });
        for cache in caches {
            cache.len += tokens;
        }
        y
    }
}

impl AttentionCache {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes back the last token; the next one is written in its place.
    pub fn take_back(&mut self) {
        self.len = self.len.saturating_sub(1);
    }
}
