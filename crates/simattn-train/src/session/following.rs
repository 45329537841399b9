//! What a rank does that has no folder: it trains as rank 0 says.

use super::SessionError;
use super::restore::restore;
use crate::checkpoint::Checkpoint;
use crate::config::RunConfig;
use crate::dataset::Dataset;
use crate::error::TrainError;
use crate::trainer::Trainer;

/// The part of a rank other than 0 in a run, from [`Session::start`](super::Session::start) to the
/// end of [`Session::run`](super::Session::run) on rank 0: it writes nothing.
///
/// `from` is what rank 0 has sent of the checkpoint that it continues from; `trainer` has its
/// weights.
///
/// # Errors
///
/// [`SessionError`] where a step cannot be made or the checkpoint does not fit.
pub fn follow(
    mut trainer: Trainer,
    config: &RunConfig,
    dataset: &Dataset,
    from: Option<&Checkpoint>,
) -> Result<(), SessionError> {
    if let Some(from) = from {
        let data = dataset.fingerprint().map_err(TrainError::from)?;
        restore(&mut trainer, from, config, dataset, &data)?;
    }
    Ok(trainer.follow()?)
}
