//! A trainer, put where a checkpoint stood.

use simattn::cost::Cost;
use simattn_data::OtherWindows;

use crate::checkpoint::{Checkpoint, CheckpointError};
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::fingerprint::Fingerprint;
use crate::tensors::TensorFile;
use crate::trainer::Trainer;

/// Puts a trainer where a checkpoint stood.
pub(super) fn restore(
    trainer: &mut Trainer,
    from: &Checkpoint,
    config: &RunConfig,
    dataset: &Dataset,
    data: &Fingerprint,
) -> Result<(), CheckpointError> {
    let same = from.config.train.optimizer == config.train.optimizer;
    let ranks = trainer.ranks();
    let mut optimizer = None;
    if same {
        let read = ranks.is_first().then(|| from.optimizer()).transpose()?;
        optimizer = Some(TensorFile::from_first(read, ranks));
    }
    let mut progress = from.state.progress.clone();
    progress.flops.get_or_insert_with(|| {
        // Its steps were of its own size, whatever they are now.
        let model = &from.config.model;
        let sequences = from.config.train.sequences_per_step();
        let per_token = Cost::of(model).training_flops_per_token(model.context);
        progress.step as f64 * (per_token * (sequences * model.context) as f64)
    });
    let windows = other_windows(from, config, dataset, data);
    trainer.restore(&progress, windows.as_ref(), optimizer.as_mut())
}

/// The windows that a checkpoint's position counts, where they are not those of this run.
fn other_windows(
    from: &Checkpoint,
    config: &RunConfig,
    dataset: &Dataset,
    data: &Fingerprint,
) -> Option<OtherWindows> {
    let before = &from.state.data;
    let context = from.config.model.context;
    if before.sha256 == data.sha256 && context == config.model.context {
        return None;
    }
    let mut tokens: Vec<Option<u64>> = (dataset.train.iter())
        .map(|part| Some(part.source.tokens()))
        .collect();
    match tokens.as_mut_slice() {
        [one] => *one = Some(before.train_tokens),
        // Of several sources the checkpoint knows the sum alone.
        several if before.train_tokens != data.train_tokens => several.fill(None),
        _ => {}
    }
    Some(OtherWindows { context, tokens })
}
