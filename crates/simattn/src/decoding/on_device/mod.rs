//! Decoding where a model's tensors are: caches on GPUs, and on any other device of Burn's.
//!
//! [`RunningOnDevice`] is what [`Running`](super::Running) is for the CPU, with the device's own
//! operations, those that training uses. Caches are contiguous and grow by 256 tokens.
//!
//! **What is promised** is the same: the logits of a token depend on the tokens up to it alone, bit
//! for bit, as long as the operations of the device sum a row in an order that does not depend on
//! its place among the rows. A pass always has 64 rows, filled up where there are fewer tokens,
//! and attention always reads as many keys as there is room for, so that no operation meets other
//! sizes because other texts are computed beside this one, or because it was cut differently. Only
//! the row that a token has differs; tests check that this changes nothing, on the CPU and on the
//! GPU of the build, if there is one.

mod text;

use std::sync::Arc;

use burn::tensor::{DType, Tensor};
use simattn_kernels::reference::RopeTable;

pub use text::{DeviceText, StoredText};

use self::text::Page;
use super::{CacheForm, DecodeError, Logits};
use crate::{
    attention::{
        Attention,
        continued::{Continued, Kept, KeptAs, ROWS, Run, capacity, copied, padded},
        rope_table,
    },
    config::ModelConfig,
    decoder::Decoder,
    precision::Precision,
};

/// How caches on a device are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceOptions {
    /// The float type of what is kept, and of attention over it.
    pub cache: Precision,
    /// What the caches of SAS keep; without effect on other variants.
    pub form: CacheForm,
}

/// A decoder with caches on its own device.
#[derive(Debug)]
pub struct RunningOnDevice {
    decoder: Decoder,
    options: DeviceOptions,
    /// Rotations of all places of the context.
    places: Option<RopeTable>,
    /// Bytes of a token while its text runs, and when it was set aside.
    token_bytes: [usize; 2],
}

impl RunningOnDevice {
    /// Runs `decoder` where its weights are, without autodiff.
    ///
    /// A token is computed first, which shows how much is kept of one and lets the device compile
    /// its kernels.
    pub fn new(decoder: Decoder, options: DeviceOptions) -> Self {
        let config = decoder.config();
        let weight = decoder.embedding.val();
        let places = rope_table(config, config.context, 0, &weight.device(), weight.dtype());
        let mut model = Self {
            decoder,
            options,
            places,
            token_bytes: [0, 0],
        };
        let mut text = model.start();
        model.pass(&mut [&mut text], &[&[0]]);
        let bytes = |parts: &[Tensor<4>]| -> usize {
            let of = |part: &Tensor<4>| {
                let [_, channels, _, width] = part.dims();
                channels * width * part.dtype().size()
            };
            parts.iter().map(of).sum()
        };
        let layers = || text.layers.iter();
        model.token_bytes = [
            layers().map(|kept| bytes(&kept.parts)).sum(),
            layers().map(|kept| bytes(model.stored(kept))).sum(),
        ];
        model
    }

    /// What the model was built from.
    pub fn config(&self) -> &ModelConfig {
        self.decoder.config()
    }

    /// How caches are kept.
    pub fn options(&self) -> DeviceOptions {
        self.options
    }

    /// Bytes that the caches of a running text of so many tokens take.
    pub fn bytes(&self, tokens: usize) -> usize {
        capacity(tokens) * self.token_bytes[0]
    }

    /// Bytes of a text of so many tokens that was set aside.
    pub fn stored_bytes(&self, tokens: usize) -> usize {
        tokens * self.token_bytes[1]
    }

    /// An empty text.
    pub fn start(&self) -> DeviceText {
        DeviceText {
            layers: vec![Kept::default(); self.decoder.layers.len()],
            len: 0,
            pages: Default::default(),
        }
    }

    /// Appends `ids` to a text and gives the scores that are asked for, rows of the vocabulary's
    /// length.
    ///
    /// # Errors
    /// An unknown id, or more tokens than the context holds; the text is as before then.
    ///
    /// # Panics
    /// If the text is of another model.
    pub fn extend(
        &self,
        text: &mut DeviceText,
        ids: &[u32],
        logits: Logits,
    ) -> Result<Vec<f32>, DecodeError> {
        self.check(text, ids)?;
        let mut scores = Vec::new();
        let mut rest = ids;
        while !rest.is_empty() {
            let in_block = (ROWS - text.len % ROWS).min(rest.len());
            let (now, behind) = rest.split_at(in_block);
            rest = behind;
            let hidden = self.pass(&mut [&mut *text], &[now]);
            match logits {
                Logits::None => {}
                Logits::Last if !rest.is_empty() => {}
                Logits::Last => scores = self.scores(hidden, now.len() - 1, 1),
                Logits::All => scores.extend(self.scores(hidden, 0, now.len())),
            }
        }
        Ok(scores)
    }

    /// Appends one token to each of several texts and gives the scores of the tokens behind them,
    /// one row for each.
    ///
    /// # Errors
    /// An unknown id, or a full context; all texts are as before then.
    ///
    /// # Panics
    /// If there are not as many ids as texts, or a text is of another model.
    pub fn step(
        &self,
        texts: &mut [&mut DeviceText],
        ids: &[u32],
    ) -> Result<Vec<f32>, DecodeError> {
        assert_eq!(texts.len(), ids.len(), "one token for each text");
        for (text, id) in texts.iter().zip(ids) {
            self.check(text, std::slice::from_ref(id))?;
        }
        let mut scores = Vec::new();
        for (texts, ids) in texts.chunks_mut(ROWS).zip(ids.chunks(ROWS)) {
            let runs: Vec<&[u32]> = ids.chunks(1).collect();
            let hidden = self.pass(texts, &runs);
            scores.extend(self.scores(hidden, 0, ids.len()));
        }
        Ok(scores)
    }

    /// What a text can be restored from, in memory of its own.
    pub fn set_aside(&self, text: &DeviceText) -> StoredText {
        self.set_aside_first(text, text.len)
    }

    /// The same of its first `blocks` blocks of 64 tokens.
    ///
    /// # Panics
    /// If there are not so many whole blocks.
    pub fn set_prefix_aside(&self, text: &DeviceText, blocks: usize) -> StoredText {
        assert!(
            blocks * ROWS <= text.len,
            "{blocks} blocks of {} tokens",
            text.len
        );
        self.set_aside_first(text, blocks * ROWS)
    }

    fn set_aside_first(&self, text: &DeviceText, len: usize) -> StoredText {
        let mut known = text.known_pages();
        let blocks = known.len().max(text.len / ROWS);
        known.resize_with(blocks, Default::default);
        let page = |first: usize| {
            let tokens = ROWS.min(len - first);
            let whole = tokens == ROWS;
            if let Some(page) = known.get(first / ROWS).filter(|_| whole)
                && let Some(page) = page.upgrade()
            {
                return page;
            }
            let cut = |part: &Tensor<4>| copied(part, first, tokens);
            let layer = |kept: &Kept| self.stored(kept).iter().map(cut).collect();
            let page = Arc::new(Page {
                layers: text.layers.iter().map(layer).collect(),
            });
            if whole {
                known[first / ROWS] = Arc::downgrade(&page);
            }
            page
        };
        StoredText {
            pages: (0..len).step_by(ROWS).map(page).collect(),
            len,
        }
    }

    /// The text that was set aside. Keys and values of SAS are expanded again; nothing else is
    /// computed.
    ///
    /// # Panics
    /// If it is of another model or of other options.
    pub fn restore(&self, stored: &StoredText) -> DeviceText {
        let mut layers = vec![Kept::default(); self.decoder.layers.len()];
        for (number, kept) in layers.iter_mut().enumerate().filter(|_| stored.len > 0) {
            let pages = stored.pages.iter().map(|page| &page.layers[number]);
            let count = stored.pages[0].layers[number].len();
            let joined = |part: usize| {
                let pieces = pages.clone().map(|parts| parts[part].clone());
                padded(Tensor::cat(pieces.collect(), 2), capacity(stored.len))
            };
            let parts: Vec<Tensor<4>> = (0..count).map(joined).collect();
            kept.parts = self.with_expanded(number, parts, stored.len);
        }
        let whole = stored.pages.iter().take(stored.len / ROWS);
        DeviceText {
            layers,
            len: stored.len,
            pages: whole.map(Arc::downgrade).collect::<Vec<_>>().into(),
        }
    }

    /// What a layer keeps of a text, from what was stored of it.
    fn with_expanded(&self, layer: usize, stored: Vec<Tensor<4>>, tokens: usize) -> Vec<Tensor<4>> {
        let Attention::Sas(sas) = &self.decoder.layers[layer].attention else {
            return stored;
        };
        if self.options.form == CacheForm::Compact {
            return stored;
        }
        let [k, v] = <[_; 2]>::try_from(stored).expect("projected keys and values");
        let continued = self.continued(Vec::new());
        let (inside, kernels) = (self.decoder.activations(), self.decoder.kernels());
        let both = [k.clone(), v.clone()];
        let expanded = sas.expanded_again(both, tokens, &continued, inside, kernels);
        expanded.into_iter().chain([k, v]).collect()
    }

    /// Of what is kept of a text, that from which the rest follows.
    fn stored<'a>(&self, kept: &'a Kept) -> &'a [Tensor<4>] {
        match self.decoder.layers[0].attention {
            // Projected keys and values come last.
            Attention::Sas(_) => &kept.parts[kept.parts.len().saturating_sub(2)..],
            _ => &kept.parts,
        }
    }

    fn continued(&self, runs: Vec<Run>) -> Continued {
        let kept_as = KeptAs {
            dtype: match self.options.cache {
                Precision::Float32 => self.decoder.embedding.val().dtype(),
                Precision::Bfloat16 => DType::BF16,
            },
            expanded: self.options.form == CacheForm::Expanded,
        };
        Continued::new(runs, kept_as, self.places.clone())
    }

    fn check(&self, text: &DeviceText, ids: &[u32]) -> Result<(), DecodeError> {
        let layers = self.decoder.layers.len();
        assert_eq!(text.layers.len(), layers, "layers of a text");
        super::error::check(self.config(), text.len, ids)
    }

    /// The normalised states of tokens that follow on texts, [ROWS, C], and their way into the
    /// caches.
    fn pass(&self, texts: &mut [&mut DeviceText], ids: &[&[u32]]) -> Tensor<2> {
        let mut row = 0;
        let run = |(text, ids): (&&mut DeviceText, &&[u32])| {
            row += ids.len();
            Run {
                row: row - ids.len(),
                tokens: ids.len(),
                position: text.len,
            }
        };
        let runs: Vec<Run> = texts.iter().zip(ids).map(run).collect();
        let mut kept: Vec<Vec<Kept>> = (0..self.decoder.layers.len())
            .map(|layer| {
                let take = |text: &mut &mut DeviceText| std::mem::take(&mut text.layers[layer]);
                texts.iter_mut().map(take).collect()
            })
            .collect();
        let continued = self.continued(runs);
        let hidden = self
            .decoder
            .hidden_continued(&ids.concat(), &continued, &mut kept);
        for (layer, kept) in kept.into_iter().enumerate() {
            for (text, kept) in texts.iter_mut().zip(kept) {
                text.layers[layer] = kept;
            }
        }
        for (text, ids) in texts.iter_mut().zip(ids) {
            text.len += ids.len();
        }
        hidden
    }

    /// The head, of all rows; the scores of `rows` from `first` on come back.
    fn scores(&self, hidden: Tensor<2>, first: usize, rows: usize) -> Vec<f32> {
        let scores = self.decoder.head_logits(hidden).narrow(0, first, rows);
        scores.into_data().iter::<f32>().collect()
    }
}
