//! What every run of a study is made with, on this machine and in this process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use simattn_kernels::Kernels;
use simattn_train::Dataset;

use crate::machine::Machine;

/// What all runs of a study share besides their plan.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    /// The tokens.
    pub(crate) dataset: &'a Dataset,
    /// Where they train, with autodiff.
    pub(crate) device: Device,
    /// The implementation of the operations.
    pub(crate) kernels: Kernels,
    /// This machine.
    pub(crate) machine: Machine,
    /// Set when the study is to stop.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Setting<'_> {
    /// Whether the study is to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
