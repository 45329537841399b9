//! Texts on a device, and what is set aside of them.

use std::sync::{Arc, Mutex, MutexGuard, Weak};

use burn::tensor::Tensor;

use crate::attention::continued::Kept;

/// A block of a text that was set aside: what is stored of it, layer by layer.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) layers: Vec<Vec<Tensor<4>>>,
}

/// What all layers keep of one text, on its device.
///
/// A clone shares memory with the original until one of them goes on.
#[derive(Debug)]
pub struct DeviceText {
    pub(super) layers: Vec<Kept>,
    pub(super) len: usize,
    /// Its whole blocks that were set aside, as long as anyone holds them.
    pub(super) pages: Mutex<Vec<Weak<Page>>>,
}

/// A text that was set aside: what its caches can be restored from.
///
/// Texts that begin alike share blocks of 64 tokens where one was begun from the other.
#[derive(Clone, Debug)]
pub struct StoredText {
    pub(super) pages: Vec<Arc<Page>>,
    pub(super) len: usize,
}

impl DeviceText {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn known_pages(&self) -> MutexGuard<'_, Vec<Weak<Page>>> {
        // Whoever panicked left a list of blocks that are there.
        self.pages.lock().unwrap_or_else(|dead| dead.into_inner())
    }
}

impl Clone for DeviceText {
    fn clone(&self) -> Self {
        Self {
            layers: self.layers.clone(),
            len: self.len,
            pages: Mutex::new(self.known_pages().clone()),
        }
    }
}

impl StoredText {
    /// Tokens.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
