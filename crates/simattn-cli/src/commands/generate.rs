//! `simattn generate`: a model continues a text.

use std::path::PathBuf;

use clap::Args;
use simattn::generate::{GenerateError, greedy};

use super::{CliError, failure, input, open_model};
use crate::console::show_content;
use crate::device::DeviceChoice;

/// Let a model continue a text.
///
/// Every token is computed from the whole text before it: plain, and slow for long texts.
#[derive(Debug, Args)]
pub struct GenerateArgs {
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
    /// Where to compute: "auto" takes the first GPU, else the processor.
    #[arg(
        long,
        value_name = "auto|cpu|cuda[:I]|rocm[:I]|metal|vulkan[:I]|webgpu[:I]",
        default_value = "auto"
    )]
    pub device: DeviceChoice,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model that cannot be read or a prompt that it cannot continue,
/// [`CliError::Failure`] where its scores are no numbers.
pub fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let device = args.device.open().map_err(input)?;
    let model = open_model(&args.model, &device)?;
    let tokenizer = &model.tokenizer;
    let prompt = tokenizer.encode(&args.prompt).map_err(input)?;
    let end = Some(tokenizer.end_of_text());
    let new = greedy(&model.decoder, &prompt, args.tokens, end, |_| {});
    let new = new.map_err(|error| match error {
        GenerateError::NotFinite { .. } => failure(error),
        _ => input(error),
    })?;
    // Ids beyond the tokenizer's are rows that a padded embedding has and no text.
    let known: Vec<u32> = new
        .into_iter()
        .filter(|&id| (id as usize) < tokenizer.vocabulary())
        .collect();
    show_content(format_args!(
        "{}\n",
        tokenizer.decode(&known).map_err(input)?
    ))?;
    Ok(())
}
