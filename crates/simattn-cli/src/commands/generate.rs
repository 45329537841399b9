//! `simattn generate`: a model continues a text.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use simattn::generate::greedy;
use simattn_train::model_folder::load;

use super::{CliError, input};

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
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model that cannot be read or a prompt that it cannot continue.
pub fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let model = load(&args.model, &Device::flex()).map_err(input)?;
    let tokenizer = &model.tokenizer;
    let prompt = tokenizer.encode(&args.prompt).map_err(input)?;
    let end = Some(tokenizer.end_of_text());
    let new = greedy(&model.decoder, &prompt, args.tokens, end, |_| {}).map_err(input)?;
    // Ids beyond the tokenizer's are rows that a padded embedding has and no text.
    let known: Vec<u32> = new
        .into_iter()
        .filter(|&id| (id as usize) < tokenizer.vocabulary())
        .collect();
    println!("{}", tokenizer.decode(&known).map_err(input)?);
    Ok(())
}
