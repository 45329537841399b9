//! What caches keep of 64 tokens of one layer.

use std::sync::Arc;

use simattn_kernels::call::NumberType;
use simattn_kernels::cpu::decoding::{KeyPage, PAGE, Page, Rows, ValuePage};

use super::batch::{Batch, RunPlace};

/// What attention reads.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CachePage {
    /// Keys and values of heads.
    Heads { keys: KeyPage, values: ValuePage },
    /// The normalised latent and the rotated key of MLA.
    Latent { latent: KeyPage, rope: KeyPage },
    /// The factors of TPA, those of keys rotated.
    Factors {
        key_a: KeyPage,
        key_b: KeyPage,
        value_a: KeyPage,
        value_b: ValuePage,
    },
}

impl CachePage {
    /// As the kernel reads it.
    pub(super) fn view(&self) -> Page<'_> {
        match self {
            Self::Heads { keys, values } => Page::Heads { keys, values },
            Self::Latent { latent, rope } => Page::Latent { latent, rope },
            Self::Factors {
                key_a,
                key_b,
                value_a,
                value_b,
            } => Page::Factors {
                key_a,
                key_b,
                value_a,
                value_b,
            },
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Heads { keys, values } => keys.bytes() + values.bytes(),
            Self::Latent { latent, rope } => latent.bytes() + rope.bytes(),
            Self::Factors {
                key_a,
                key_b,
                value_a,
                value_b,
            } => key_a.bytes() + key_b.bytes() + value_a.bytes() + value_b.bytes(),
        }
    }
}

/// Projected keys and values of SAS, from before the expansion.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CompactPage {
    pub(super) keys: ValuePage,
    pub(super) values: ValuePage,
}

impl CompactPage {
    /// An empty page of heads of one width.
    pub(super) fn new(number_type: NumberType, heads: usize, width: usize) -> Self {
        Self {
            keys: ValuePage::new(number_type, heads, width),
            values: ValuePage::new(number_type, heads, width),
        }
    }

    /// The first `count` tokens as they were rounded: keys and values [count][heads · width].
    pub(super) fn read(&self, slot: usize, count: usize, width: usize) -> [Vec<f32>; 2] {
        [&self.keys, &self.values].map(|page| {
            let mut rows = vec![0.0; count * width];
            for (token, row) in rows.chunks_exact_mut(width).enumerate() {
                page.read(slot + token, row);
            }
            rows
        })
    }
}

/// One page, shared by all sequences that begin alike. Whoever writes to a page that others hold
/// gets a copy first.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    /// What attention reads; absent where it is made of `compact` when it is needed.
    pub(super) page: Option<Arc<CachePage>>,
    /// What SAS can be restored from.
    pub(super) compact: Option<Arc<CompactPage>>,
}

impl Slot {
    /// Bytes of the page, as if nobody shared it.
    pub(super) fn bytes(&self) -> usize {
        let page = self.page.as_ref().map_or(0, |page| page.bytes());
        let compact = self.compact.as_ref();
        page + compact.map_or(0, |compact| compact.keys.bytes() + compact.values.bytes())
    }
}

/// The pages of one layer.
#[derive(Clone, Debug, Default)]
pub(super) struct LayerCache {
    pub(super) slots: Vec<Slot>,
}

impl LayerCache {
    /// The page that a run writes to, made by `empty` if it is new.
    pub(super) fn slot(&mut self, run: &RunPlace, empty: impl FnOnce() -> Slot) -> &mut Slot {
        let number = run.position / PAGE;
        if number == self.slots.len() {
            self.slots.push(empty());
        }
        &mut self.slots[number]
    }
}

/// Rows of a run inside those of its batch.
pub(super) fn rows_of<'a>(run: &RunPlace, width: usize, x: &'a [f32]) -> Rows<'a> {
    Rows::dense(&x[run.row * width..][..run.tokens * width], width)
}

/// Writes a batch's tokens to their sequences' pages.
pub(super) fn write(
    batch: &Batch<'_>,
    caches: &mut [&mut LayerCache],
    empty: impl Fn() -> CachePage,
    fill: impl Fn(&mut CachePage, usize, &RunPlace),
) {
    for (run, cache) in batch.runs.iter().zip(caches) {
        let slot = cache.slot(run, || Slot {
            page: Some(Arc::new(empty())),
            compact: None,
        });
        let page = slot.page.get_or_insert_with(|| Arc::new(empty()));
        fill(Arc::make_mut(page), run.position % PAGE, run);
    }
}

/// Every run's pages as the kernel reads them.
pub(super) fn views<'a>(
    batch: &Batch<'_>,
    caches: &'a [&mut LayerCache],
) -> Vec<simattn_kernels::cpu::decoding::Run<'a>> {
    let runs = batch.runs.iter().zip(caches);
    runs.map(|(run, cache)| simattn_kernels::cpu::decoding::Run {
        pages: cache
            .slots
            .iter()
            .filter_map(|slot| slot.page.as_deref().map(CachePage::view))
            .collect(),
        first: run.position,
        tokens: run.tokens,
    })
    .collect()
}
