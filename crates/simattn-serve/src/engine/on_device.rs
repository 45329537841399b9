//! A decoder with caches where its tensors are.

use simattn::decoding::{DecodeError, DeviceText, RunningOnDevice, StoredText};

use super::{Engine, Logits};

/// A decoder with caches on a device of Burn's; see [`RunningOnDevice`].
#[derive(Debug)]
pub struct OnDevice {
    model: RunningOnDevice,
}

impl OnDevice {
    /// Runs a model that is on its device.
    pub fn new(model: RunningOnDevice) -> Self {
        Self { model }
    }
}

impl Engine for OnDevice {
    type Sequence = DeviceText;
    type Stored = StoredText;
    type Error = DecodeError;

    fn context_length(&self) -> usize {
        self.model.config().context
    }

    fn vocabulary(&self) -> usize {
        self.model.config().vocabulary
    }

    fn start(&self) -> DeviceText {
        self.model.start()
    }

    fn len(&self, text: &DeviceText) -> usize {
        text.len()
    }

    fn extend(
        &self,
        text: &mut DeviceText,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, DecodeError> {
        self.model.extend(text, ids, wanted.into())
    }

    fn step(&self, texts: &mut [&mut DeviceText], ids: &[u32]) -> Result<Vec<f32>, DecodeError> {
        self.model.step(texts, ids)
    }

    fn set_aside(&self, text: &DeviceText) -> StoredText {
        self.model.set_aside(text)
    }

    fn restore(&self, stored: &StoredText) -> DeviceText {
        self.model.restore(stored)
    }

    fn prefix(&self, text: &DeviceText, blocks: usize) -> StoredText {
        self.model.set_prefix_aside(text, blocks)
    }

    fn bytes(&self, tokens: usize) -> u64 {
        self.model.bytes(tokens) as u64
    }

    fn stored_bytes(&self, tokens: usize) -> u64 {
        self.model.stored_bytes(tokens) as u64
    }
}
