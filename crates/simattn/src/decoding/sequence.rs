//! Texts and what is kept of them.

use simattn_kernels::cpu::decoding::PAGE;

use super::cache::{LayerCache, Slot};

/// The caches of all layers for one text.
///
/// A clone shares the pages of the original; each of the two gets its own copy of the last one when
/// it writes to it.
#[derive(Clone, Debug)]
pub struct Sequence {
    pub(super) layers: Vec<LayerCache>,
    pub(super) len: usize,
}

/// A text that was set aside: what its caches can be restored from.
///
/// Of SAS that is what was projected, before the expansion; of other variants the cache itself. It
/// shares memory with the sequence as long as both exist.
#[derive(Clone, Debug)]
pub struct Stored {
    pub(super) layers: Vec<Vec<Slot>>,
    pub(super) len: usize,
}

impl Sequence {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all its pages, shared or not.
    pub fn bytes(&self) -> usize {
        let slots = self.layers.iter().flat_map(|layer| &layer.slots);
        slots.map(Slot::bytes).sum()
    }

    /// A sequence that begins with the first `pages` pages of 64 tokens, which both then share.
    ///
    /// # Panics
    /// If there are not so many whole pages.
    pub fn prefix(&self, pages: usize) -> Self {
        assert!(
            pages * PAGE <= self.len,
            "{pages} pages of {} tokens",
            self.len
        );
        let first = |layer: &LayerCache| LayerCache {
            slots: layer.slots[..pages].to_vec(),
        };
        Self {
            layers: self.layers.iter().map(first).collect(),
            len: pages * PAGE,
        }
    }
}

impl Stored {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of all its pages, shared or not.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flatten().map(Slot::bytes).sum()
    }

    /// The first `pages` pages of 64 tokens, shared with this one.
    ///
    /// # Panics
    /// If there are not so many whole pages.
    pub fn prefix(&self, pages: usize) -> Self {
        assert!(
            pages * PAGE <= self.len,
            "{pages} pages of {} tokens",
            self.len
        );
        let first = |layer: &Vec<Slot>| layer[..pages].to_vec();
        Self {
            layers: self.layers.iter().map(first).collect(),
            len: pages * PAGE,
        }
    }
}
