//! Whether what a checkpoint says in one place is what it says in the others.
//!
//! The sums tell that bytes are those that were written; this tells that they belong together: a
//! `state.json` of another step, or tensors of another model, would continue as something that no
//! run ever was.

use std::fs;
use std::path::Path;

use simattn::cost::Cost;
use simattn_data::{Cursor, Position};

use super::error::{CheckpointError, failed};
use super::header::Header;
use super::state::State;
use super::{CONFIG, OPTIMIZER, STATE, TOKENIZER, WEIGHTS, step_of};
use crate::adamw::MOMENTS;
use crate::config::RunConfig;
use crate::muon::{MOMENTUM, is_hidden};
use crate::optimizer::OptimizerKind;

/// The entry of the optimiser's metadata that holds the loader's position.
pub(super) const POSITION: &str = "position";

/// Holds `state.json`, the configuration, the headers of both files of tensors and the folder's
/// name against each other.
///
/// # Errors
///
/// [`CheckpointError::Damaged`] with what differs first.
pub(super) fn check(
    folder: &Path,
    state: &State,
    config: &RunConfig,
) -> Result<(), CheckpointError> {
    let damaged = |file: &'static str| {
        move |why: String| CheckpointError::Damaged {
            path: folder.to_owned(),
            file,
            why,
        }
    };
    let name = folder.file_name().and_then(|name| name.to_str());
    named(name, state).map_err(damaged(STATE))?;
    possible(state, config).map_err(damaged(STATE))?;
    for file in [WEIGHTS, OPTIMIZER, CONFIG, TOKENIZER] {
        let path = folder.join(file);
        let length = fs::metadata(&path).map_err(failed(&path, "read"))?.len();
        if state.files.get(file) != Some(&length) {
            let why = format!("has {length} bytes, not as many as were written");
            return Err(damaged(file)(why));
        }
    }
    let weights = Header::read(folder, WEIGHTS)?;
    model(&weights, config).map_err(damaged(WEIGHTS))?;
    let optimizer = Header::read(folder, OPTIMIZER)?;
    remembered(&optimizer, &weights, config).map_err(damaged(OPTIMIZER))?;
    stated(state, &weights, &optimizer).map_err(damaged(STATE))
}

/// Whether the folder is named after the step. One that was copied to a name of its own is not.
fn named(name: Option<&str>, state: &State) -> Result<(), String> {
    let step = state.progress.step;
    match name.and_then(step_of) {
        Some(named) if named != step => Err(format!("is of step {step}")),
        _ => Ok(()),
    }
}

/// What no run could have come to.
fn possible(state: &State, config: &RunConfig) -> Result<(), String> {
    let progress = &state.progress;
    let (step, steps) = (progress.step, config.train.steps);
    if step > steps {
        return Err(format!("is of step {step}, the configuration has {steps}"));
    }
    if progress.optimizer_updates > step {
        let updates = progress.optimizer_updates;
        return Err(format!("records {updates} updates in {step} steps"));
    }
    if progress.tokens < step || (step == 0) != (progress.tokens == 0) {
        let tokens = progress.tokens;
        return Err(format!("records {tokens} tokens in {step} steps"));
    }
    let seconds = progress.seconds;
    if !seconds.is_finite() || seconds < 0.0 {
        return Err(format!("records {seconds} seconds"));
    }
    let sources = config.data.sources.len().max(1);
    if progress.position.sources.len() != sources {
        let found = progress.position.sources.len();
        return Err(format!("has a position in {found} sources of {sources}"));
    }
    // Every source has at most as many windows as all tokens together fill. Where the data or the
    // context changed on the way, windows and rows tell nothing of each other.
    let context = config.model.context.max(1) as u64;
    let windows = state.data.train_tokens.div_ceil(context);
    let cursors = &progress.position.sources;
    let rows = (cursors.iter()).fold(0_u64, |rows, cursor| rows.saturating_add(cursor.rows));
    let nowhere = |cursor: &&Cursor| cursor.window > windows || cursor.epoch > rows;
    if let Some(cursor) = cursors.iter().find(nowhere) {
        return Err(format!(
            "has a position that its {} tokens do not have: window {} of epoch {} after {rows} \
             windows",
            state.data.train_tokens, cursor.window, cursor.epoch
        ));
    }
    if rows < step {
        Err(format!("records {rows} windows in {step} steps"))
    } else {
        Ok(())
    }
}

/// Whether the weights are as many as the configuration's model has.
fn model(weights: &Header, config: &RunConfig) -> Result<(), String> {
    let described = Cost::of(&config.model).parameters.total;
    let held = weights.elements();
    if held == described {
        Ok(())
    } else {
        Err(format!(
            "holds {held} weights, its configuration describes {described}"
        ))
    }
}

/// Whether an optimiser of this configuration can take what is remembered.
fn remembered(optimizer: &Header, weights: &Header, config: &RunConfig) -> Result<(), String> {
    for (name, shape) in &optimizer.shapes {
        let [first, second] = MOMENTS;
        let other = (name.strip_prefix(first).map(|of| (of, Some(second))))
            .or_else(|| name.strip_prefix(second).map(|of| (of, Some(first))))
            .or_else(|| name.strip_prefix(MOMENTUM).map(|of| (of, None)));
        let known = other.and_then(|(of, other)| Some((of, other, weights.shapes.get(of)?)));
        let Some((of, other, expected)) = known else {
            return Err(format!("holds `{name}`, which belongs to no weight"));
        };
        if shape != expected {
            return Err(format!(
                "holds `{name}` of shape {shape:?}, the weight has {expected:?}"
            ));
        }
        match other {
            Some(other) if !optimizer.shapes.contains_key(&format!("{other}{of}")) => {
                return Err(format!("holds `{name}` without its other moment"));
            }
            None if config.train.optimizer != OptimizerKind::Muon || !is_hidden(of, shape) => {
                return Err(format!("holds `{name}`, which its optimizer does not keep"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the files of tensors were written at the state's step.
fn stated(state: &State, weights: &Header, optimizer: &Header) -> Result<(), String> {
    let progress = &state.progress;
    for (what, said, written) in [
        ("steps", progress.step, weights.number("step")),
        ("tokens", progress.tokens, weights.number("tokens")),
        (
            "updates",
            progress.optimizer_updates,
            optimizer.number("updates"),
        ),
    ] {
        if Some(said) != written {
            let written = written.map_or_else(|| "nothing".to_owned(), |n| n.to_string());
            return Err(format!(
                "records {said} {what}, but the tensors' files record {written}"
            ));
        }
    }
    // JSON has no NaN: a loss that is none is left out of the state.
    let written = (weights.number("validation_loss")).filter(|loss: &f64| loss.is_finite());
    let same = match (state.validation_loss, written) {
        // Two printers of numbers and two readers: the last digit may differ.
        (Some(said), Some(written)) => (said - written).abs() <= 1e-9 * written.abs(),
        (said, written) => said.is_none() && written.is_none(),
    };
    if !same {
        return Err("has another validation loss than the weights' file".to_owned());
    }
    // Checkpoints of earlier versions do not have it.
    let Some(text) = optimizer.metadata.get(POSITION) else {
        return Ok(());
    };
    let position: Option<Position> = serde_json::from_str(text).ok();
    if position.as_ref() == Some(&progress.position) {
        Ok(())
    } else {
        Err("has another position in the data than the optimizer's file".to_owned())
    }
}
