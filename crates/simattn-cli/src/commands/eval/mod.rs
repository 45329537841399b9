//! `simattn eval`: a saved model on a text, or on tasks.

mod arguments;
mod outputs;
mod tasks;
mod text;

pub(super) use arguments::EvalArgs;

use crate::error::CliError;

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model, text or task that cannot be used; [`CliError::Failure`] where
/// results cannot be written.
pub(crate) fn run(args: &EvalArgs) -> Result<(), CliError> {
    match &args.data {
        Some(data) => text::run(args, data),
        None => tasks::run(args),
    }
}
