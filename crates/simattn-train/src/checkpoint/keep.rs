//! Which checkpoints stay.

use std::fs;
use std::path::Path;

use super::error::{CheckpointError, failed};
use super::state::State;
use super::{HIDDEN, STATE, list};
use crate::fault;

/// Removes all checkpoints of a run but the `keep` newest and the one with the lowest validation
/// loss.
///
/// Each is renamed before it is removed, so that what is called `step-…` is whole at any moment.
pub(crate) fn prune(run: &Path, keep: u64) -> Result<(), CheckpointError> {
    let all = list(run).map_err(failed(run, "read the folder"))?;
    let losses: Vec<(u64, Option<f64>)> = all
        .iter()
        .map(|(step, folder)| (*step, validation_loss(folder)))
        .collect();
    for step in superfluous(&losses, keep) {
        let Some((_, folder)) = all.iter().find(|(other, _)| *other == step) else {
            continue;
        };
        let hidden = run.join(format!("{HIDDEN}{step:07}.removed"));
        fs::rename(folder, &hidden).map_err(failed(folder, "remove"))?;
        fault::pass("checkpoint.prune").map_err(failed(folder, "remove"))?;
        fs::remove_dir_all(&hidden).map_err(failed(&hidden, "remove"))?;
    }
    Ok(())
}

/// The steps that go, of checkpoints sorted by step with their validation losses.
fn superfluous(losses: &[(u64, Option<f64>)], keep: u64) -> Vec<u64> {
    let keep = usize::try_from(keep).unwrap_or(usize::MAX).max(1);
    let older = losses.len().saturating_sub(keep);
    let best = losses
        .iter()
        .filter_map(|(step, loss)| Some((*step, (*loss)?)))
        .min_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(step, _)| step);
    losses[..older]
        .iter()
        .map(|(step, _)| *step)
        .filter(|step| Some(*step) != best)
        .collect()
}

/// The validation loss that a checkpoint states; damaged ones state none.
fn validation_loss(folder: &Path) -> Option<f64> {
    let text = fs::read(folder.join(STATE)).ok()?;
    serde_json::from_slice::<State>(&text).ok()?.validation_loss
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_and_the_best_stay() {
        let at = |step, loss| (step, Some(loss));
        let falling = [at(10, 3.0), at(20, 2.0), at(30, 1.0)];
        assert_eq!(superfluous(&falling, 2), [10]);
        assert_eq!(superfluous(&falling, 0), [10, 20], "one at least");
        assert_eq!(superfluous(&falling, 3), [0u64; 0]);
        let rising = [at(10, 1.0), (20, None), at(30, 2.0), at(40, 3.0)];
        assert_eq!(superfluous(&rising, 1), [20, 30]);
        let unknown = [(10, None), (20, None), (30, None)];
        assert_eq!(superfluous(&unknown, 1), [10, 20]);
        assert_eq!(superfluous(&[], 1), [0u64; 0]);
    }
}
