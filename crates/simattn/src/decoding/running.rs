//! A model prepared for decoding, and its passes.

use simattn_kernels::cpu::decoding::{PAGE, Panels, Rows, on_workers, product};

use super::{
    batch::{Batch, Rope},
    cache::LayerCache,
    dense::{Norm, values},
    error::{DecodeError, check},
    layer::Layer,
    options::RunningOptions,
    sequence::{Sequence, Stored},
};
use crate::{config::ModelConfig, decoder::Decoder};

/// Which scores a call gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Logits {
    /// None.
    None,
    /// Those of the token behind the last.
    Last,
    /// Those of the token behind each.
    All,
}

/// A decoder prepared for decoding, with weights of its own on the CPU.
#[derive(Clone, Debug)]
pub struct Running {
    config: ModelConfig,
    options: RunningOptions,
    embedding: Panels,
    /// Vectors of the places, with learned positions.
    positions: Option<Vec<f32>>,
    layers: Vec<Layer>,
    norm: Norm,
    /// Absent when tied.
    head: Option<Panels>,
    rope: Option<Rope>,
    page_bytes: [usize; 2],
}

impl Running {
    /// Copies and orders the weights of `decoder`, which is not needed any more then.
    pub fn new(decoder: &Decoder, options: RunningOptions) -> Self {
        let config = decoder.config();
        let table = |weight: Vec<f32>| {
            Panels::new(options.weights, config.vocabulary, config.width, &weight)
        };
        let layers: Vec<Layer> = decoder
            .layers
            .iter()
            .map(|block| Layer::new(block, config, &options))
            .collect();
        let positions = decoder.positions.as_ref().map(|table| values(table.val()));
        let mut page_bytes = [0, 0];
        for layer in &layers {
            let slot = layer.mixer.empty();
            page_bytes[0] += slot.bytes();
            page_bytes[1] += layer.mixer.stored(&slot).bytes();
        }
        Self {
            embedding: table(values(decoder.embedding.val())),
            positions,
            layers,
            norm: Norm::of_layer(&decoder.norm, config.norm_epsilon),
            head: decoder.head.as_ref().map(|head| table(values(head.val()))),
            rope: Rope::of(config),
            page_bytes,
            options,
            config: config.clone(),
        }
    }

    /// What the model was built from.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// How weights and caches are kept.
    pub fn options(&self) -> &RunningOptions {
        &self.options
    }

    /// Bytes of the weights.
    pub fn bytes(&self) -> usize {
        let tables = [Some(&self.embedding), self.head.as_ref()]
            .into_iter()
            .flatten();
        tables.map(Panels::bytes).sum::<usize>()
            + self.layers.iter().map(Layer::bytes).sum::<usize>()
            + self.norm.bytes()
            + self.positions.as_ref().map_or(0, |table| 4 * table.len())
            + self.rope.as_ref().map_or(0, Rope::bytes)
    }

    /// Bytes that a running sequence takes for each page of 64 tokens it has begun.
    pub fn page_bytes(&self) -> usize {
        self.page_bytes[0]
    }

    /// Bytes that a sequence which was set aside takes for each page.
    pub fn stored_page_bytes(&self) -> usize {
        self.page_bytes[1]
    }

    /// An empty sequence.
    pub fn start(&self) -> Sequence {
        Sequence {
            layers: vec![LayerCache::default(); self.layers.len()],
            len: 0,
        }
    }

    /// Appends `ids` to a sequence and gives the scores that are asked for, rows of the
    /// vocabulary's length.
    ///
    /// # Errors
    /// An unknown id, or more tokens than the context holds; the sequence is as before then.
    ///
    /// # Panics
    /// If the sequence is of another model.
    pub fn extend(
        &self,
        sequence: &mut Sequence,
        ids: &[u32],
        logits: Logits,
    ) -> Result<Vec<f32>, DecodeError> {
        self.check(sequence, ids)?;
        let width = self.config.width;
        let mut scores = Vec::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let on_page = (PAGE - sequence.len % PAGE).min(rest.len());
            let (now, behind) = rest.split_at(on_page);
            rest = behind;
            let hidden = self.pass(&mut [&mut *sequence], &[now]);
            match logits {
                Logits::None => {}
                Logits::Last if !rest.is_empty() => {}
                Logits::Last => scores = self.scores(&hidden[hidden.len() - width..]),
                Logits::All => scores.extend(self.scores(&hidden)),
            }
        }
        Ok(scores)
    }

    /// Appends one token to each of several sequences and gives the scores of the tokens behind
    /// them, one row for each.
    ///
    /// # Errors
    /// An unknown id, or a full context; all sequences are as before then.
    ///
    /// # Panics
    /// If there are not as many ids as sequences, or a sequence is of another model.
    pub fn step(
        &self,
        sequences: &mut [&mut Sequence],
        ids: &[u32],
    ) -> Result<Vec<f32>, DecodeError> {
        assert_eq!(sequences.len(), ids.len(), "one token for each sequence");
        for (sequence, id) in sequences.iter().zip(ids) {
            self.check(sequence, std::slice::from_ref(id))?;
        }
        let runs: Vec<&[u32]> = ids.chunks(1).collect();
        Ok(self.scores(&self.pass(sequences, &runs)))
    }

    /// What a sequence can be restored from. It shares pages with the sequence; memory becomes free
    /// when the sequence is dropped.
    pub fn set_aside(&self, sequence: &Sequence) -> Stored {
        let layers = self.layers.iter().zip(&sequence.layers);
        Stored {
            layers: layers
                .map(|(layer, cache)| {
                    let stored = |slot| layer.mixer.stored(slot);
                    cache.slots.iter().map(stored).collect()
                })
                .collect(),
            len: sequence.len,
        }
    }

    /// The sequence that was set aside, with the same bits. Keys and values of SAS are expanded
    /// again; nothing else is computed.
    ///
    /// # Panics
    /// If it is of another model or of other options.
    pub fn restore(&self, stored: &Stored) -> Sequence {
        assert_eq!(
            stored.layers.len(),
            self.layers.len(),
            "layers of a sequence"
        );
        let layers = self.layers.iter().zip(&stored.layers);
        let restore = || {
            layers
                .map(|(layer, slots)| LayerCache {
                    slots: layer.mixer.restore(slots, stored.len, self.rope.as_ref()),
                })
                .collect()
        };
        Sequence {
            layers: on_workers(restore),
            len: stored.len,
        }
    }

    fn check(&self, sequence: &Sequence, ids: &[u32]) -> Result<(), DecodeError> {
        assert_eq!(
            sequence.layers.len(),
            self.layers.len(),
            "layers of a sequence"
        );
        check(&self.config, sequence.len, ids)
    }

    /// The states before the last norm of tokens that follow on sequences, those of each on one
    /// page: [tokens, C].
    fn pass(&self, sequences: &mut [&mut Sequence], ids: &[&[u32]]) -> Vec<f32> {
        let runs = sequences.iter().zip(ids);
        let batch = Batch::new(runs.map(|(s, ids)| (s.len, ids.len())), self.rope.as_ref());
        let mut x = self.embedded(&batch, ids);
        let forward = || {
            for (number, layer) in self.layers.iter().enumerate() {
                let caches = sequences
                    .iter_mut()
                    .map(|sequence| &mut sequence.layers[number]);
                let mut caches: Vec<&mut LayerCache> = caches.collect();
                layer.forward(&batch, &mut caches, &mut x);
            }
            for (sequence, ids) in sequences.iter_mut().zip(ids) {
                sequence.len += ids.len();
            }
        };
        on_workers(forward);
        x
    }

    fn embedded(&self, batch: &Batch<'_>, ids: &[&[u32]]) -> Vec<f32> {
        let width = self.config.width;
        let mut x = vec![0.0; batch.rows() * width];
        let tokens = ids.iter().copied().flatten().zip(&batch.positions);
        for ((&id, &position), x) in tokens.zip(x.chunks_exact_mut(width)) {
            self.embedding.read_row(id as usize, x);
            if let Some(table) = &self.positions {
                for (x, place) in x.iter_mut().zip(&table[position * width..]) {
                    *x += place;
                }
            }
        }
        x
    }

    /// The last norm and the head.
    fn scores(&self, states: &[f32]) -> Vec<f32> {
        let (width, vocabulary) = (self.config.width, self.config.vocabulary);
        let rows = states.len() / width;
        let mut scores = vec![0.0; rows * vocabulary];
        on_workers(|| {
            let normed = self.norm.of(states);
            let head = self.head.as_ref().unwrap_or(&self.embedding);
            let normed = Rows::dense(&normed, width);
            product(head, rows, normed, None, &mut scores, vocabulary, false);
        });
        scores
    }
}
