//! `simattn generate`: a model continues texts.

mod output;
mod prompts;

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;
use simattn_serve::sampling::Sampling;
use simattn_serve::scheduler::{Limits, Request};
use simattn_serve::text::Output;
use simattn_serve::writing::{Writing, Written};

use super::running::{self, RunningArgs, RunningModel, broken, refused};
use super::sampling::SamplingArgs;
use crate::console::tell;
use crate::error::{CliError, input};
use output::Shown;

/// Let a model continue a text.
///
/// Without options it takes the likeliest token at every step. With --top-k, --top-p, --min-p or
/// --seed, or with a --temperature above 0, it draws. On a GPU every token is computed from the
/// whole text before it, which is slow for long texts.
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// A folder that `train`, `convert from-hf` or `upcycle` wrote.
    pub model: PathBuf,
    /// The text to continue.
    #[arg(required_unless_present = "file")]
    pub prompt: Option<String>,
    /// Continue every line of this file, all of them at once. In a file that ends in .jsonl a line
    /// is a text in quotes or an object with a "prompt".
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub file: Option<PathBuf>,
    /// Take the likeliest token at every step.
    #[arg(long, conflicts_with_all = ["temperature", "top_k", "top_p", "min_p", "seed"])]
    pub greedy: bool,
    /// Tokens to write at most.
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub tokens: usize,
    #[command(flatten)]
    pub sampling: SamplingArgs,
    /// Answers to each prompt.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=128))]
    pub choices: u16,
    /// Write a line of JSON for each answer, with its tokens and their log-probabilities.
    #[arg(long)]
    pub json: bool,
    /// With --json, name this many of the likeliest tokens at every place.
    #[arg(long, value_name = "N", default_value_t = 0, requires = "json")]
    pub likeliest: usize,
    #[command(flatten)]
    pub running: RunningArgs,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model that cannot be read or a prompt that it cannot continue,
/// [`CliError::Failure`] where its scores are no numbers.
pub(crate) fn run(args: &GenerateArgs) -> Result<(), CliError> {
    let prompts = match (&args.file, &args.prompt) {
        (Some(file), _) => prompts::read(file)?,
        (None, prompt) => vec![prompt.clone().unwrap_or_default()],
    };
    let answers = prompts.len() * usize::from(args.choices);
    let limits = Limits {
        queue: answers,
        memory: running::memory(),
        ..Limits::default()
    };
    let model = running::start(&args.model, &args.running, limits)?;
    let draws = args.sampling.asks_to_draw();
    let temperature = if draws { 1.0 } else { 0.0 };
    let sampling = args
        .sampling
        .sampling(temperature, model.scheduler.vocabulary())?;
    let mut shown = Shown::new(args, &prompts, sampling.seed);
    write(args, &model, &prompts, &sampling, &mut shown)
}

fn write(
    args: &GenerateArgs,
    model: &RunningModel,
    prompts: &[String],
    sampling: &Sampling,
    shown: &mut Shown<'_>,
) -> Result<(), CliError> {
    let (mut requests, mut outputs) = (Vec::new(), Vec::new());
    for prompt in prompts {
        let ids = model.tokenizer.encode(prompt).map_err(input)?;
        for choice in 0..usize::from(args.choices) {
            requests.push(Request {
                prompt: ids.clone(),
                sampling: Sampling {
                    choice,
                    ..sampling.clone()
                },
                max_tokens: args.tokens,
                ends: model.ends.clone(),
                logprobs: args.json.then_some(args.likeliest),
                prompt_logprobs: None,
            });
            outputs.push(Output::new(args.sampling.stops()?, 0));
        }
    }
    let count = requests.len();
    let began = Instant::now();
    let answers = model.scheduler.submit(requests).map_err(refused)?;
    let (ends, vocabulary) = (model.ends.clone(), model.vocabulary.clone());
    let mut writing = Writing::new(answers, outputs, ends, vocabulary);
    let mut first = None;
    while let Some((choice, written)) = writing.wait() {
        match written {
            Written::Prompt { .. } => {
                first.get_or_insert_with(Instant::now);
            }
            Written::Text { released, ending } => shown.take(choice, released, ending, model)?,
            Written::Failed(error) => return Err(broken(error)),
        }
    }
    shown.finish(model)?;
    let tokens: usize = (0..count).map(|choice| writing.tokens(choice)).sum();
    let first = first.unwrap_or(began);
    let (prompt, answer) = (first - began, first.elapsed());
    tell(format_args!(
        "generate: {tokens} tokens in {:.2} s, {:.1} tokens/s, after {:.2} s for the first prompt",
        answer.as_secs_f64(),
        tokens as f64 / answer.as_secs_f64().max(1e-9),
        prompt.as_secs_f64(),
    ));
    Ok(())
}
