//! `simattn generate`: a model continues a text.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use simattn::decoding::{Running, RunningOptions};
use simattn::generate::{GenerateError, greedy, greedy_on_cache};

use super::arguments::DeviceArg;
use super::open_model::open_model;
use crate::console::{show_content, tell};
use crate::error::{CliError, failure, input};

/// Let a model continue a text.
///
/// On a GPU every token is computed from the whole text before it, which is slow for long texts.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A folder that `train`, `convert from-hf` or `upcycle` wrote.
    pub model: PathBuf,
    /// The text to continue.
    pub prompt: String,
    /// Take the likeliest token at every step.
    #[arg(long, required = true)]
    pub greedy: bool,
    /// Tokens to write at most.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tokens: usize,
    #[command(flatten)]
    pub device: DeviceArg,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model that cannot be read or a prompt that it cannot continue,
/// [`CliError::Failure`] where its scores are no numbers.
pub(crate) fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let device = args.device.open()?;
    let model = open_model(&args.model, &device)?;
    let tokenizer = &model.tokenizer;
    let prompt = tokenizer.encode(&args.prompt).map_err(input)?;
    let ends = model.text.generation_ends(tokenizer);
    let new = if device == Device::flex() {
        let running = Running::new(&model.decoder, RunningOptions::default());
        greedy_on_cache(&running, &prompt, args.tokens, ends, |_| {})
    } else {
        greedy(&model.decoder, &prompt, args.tokens, ends, |_| {})
    };
    let new = new.map_err(|error| match error {
        GenerateError::NotFinite { .. } => failure(error),
        _ => input(error),
    })?;
    // A padded embedding has rows, and a vocabulary with gaps ids, that stand for no text.
    let nothing = new.iter().filter(|&&id| !tokenizer.has_token(id)).count();
    if nothing > 0 {
        tell(format_args!(
            "generate: {nothing} of {} ids have no token and were printed as nothing",
            new.len()
        ));
    }
    show_content(format_args!(
        "{}\n",
        tokenizer.continuation(&prompt, &new).map_err(input)?
    ))?;
    Ok(())
}
