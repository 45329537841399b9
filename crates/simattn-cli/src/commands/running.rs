//! A model that answers: options and beginnings of `generate`, `chat` and `serve`.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use clap::Args;
use simattn::decoding::{Running, RunningOptions};
use simattn_data::{TextSettings, Tokenizer};
use simattn_serve::engine::{Cached, Recompute};
use simattn_serve::scheduler::{AnswerError, Limits, Scheduler, SubmitError};
use simattn_serve::text::Vocabulary;

use super::arguments::{DeviceArg, NumberArg};
use super::open_model::open_model;
use crate::error::{CliError, failure, input};
use crate::room;

/// How a model runs.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RunningArgs {
    /// The type of the weights, on the CPU.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub weights: NumberArg,
    /// The type of the caches, on the CPU.
    #[arg(long, value_name = "TYPE", value_enum, default_value = "f32")]
    pub cache: NumberArg,
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Bytes for running answers where nobody says how many: half of what is free.
pub(super) fn memory() -> u64 {
    const UNKNOWN: u64 = 4 << 30;
    room::available().map_or(UNKNOWN, |free| free / 2)
}

/// A model in a thread of its own, and what is known of its text.
pub(super) struct RunningModel {
    pub(super) scheduler: Scheduler,
    pub(super) tokenizer: Tokenizer,
    pub(super) text: TextSettings,
    /// The ids at which its answers end.
    pub(super) ends: Arc<[u32]>,
    pub(super) vocabulary: Arc<Vocabulary>,
}

/// Opens a model folder and starts the model.
pub(super) fn start(
    folder: &Path,
    args: &RunningArgs,
    limits: Limits,
) -> Result<RunningModel, CliError> {
    let device = args.device.open()?;
    let model = open_model(folder, &device)?;
    // Other devices have no caches yet: they compute every token from the whole text before it.
    let scheduler = if device == Device::flex() {
        let options = RunningOptions {
            weights: args.weights.into(),
            cache: args.cache.into(),
            ..RunningOptions::default()
        };
        let running = Running::new(&model.decoder, options);
        drop(model.decoder);
        Scheduler::start(Cached::new(running), limits)
    } else {
        Scheduler::start(Recompute::new(model.decoder), limits)
    };
    let scheduler = scheduler.map_err(failure)?;
    Ok(RunningModel {
        scheduler,
        ends: model.text.generation_ends(&model.tokenizer).into(),
        vocabulary: Arc::new(Vocabulary::new(&model.tokenizer)),
        tokenizer: model.tokenizer,
        text: model.text,
    })
}

/// A request that was not taken: most are the user's to correct.
pub(super) fn refused(error: SubmitError) -> CliError {
    match error {
        SubmitError::Dead | SubmitError::Draining => failure(error),
        _ => input(error),
    }
}

/// An answer that was not completed.
pub(super) fn broken(error: AnswerError) -> CliError {
    failure(error)
}
