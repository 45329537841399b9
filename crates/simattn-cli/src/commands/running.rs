//! A model that answers: options and beginnings of `generate`, `chat` and `serve`.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::Device;
use simattn_data::{TextSettings, Tokenizer};
use simattn_serve::engine::Recompute;
use simattn_serve::scheduler::{AnswerError, Limits, Scheduler, SubmitError};
use simattn_serve::text::Vocabulary;

use super::open_model::open_model;
use crate::error::{CliError, failure, input};

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
    device: &Device,
    limits: Limits,
) -> Result<RunningModel, CliError> {
    let model = open_model(folder, device)?;
    let scheduler = Scheduler::start(Recompute::new(model.decoder), limits).map_err(failure)?;
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
