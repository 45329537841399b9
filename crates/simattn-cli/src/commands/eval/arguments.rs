//! What `simattn eval` is asked, and what follows from it for a model.

use std::path::PathBuf;

use clap::Args;
use simattn::{ModelConfig, Positions};
use simattn_data::{TEXT_FIELD, Tokenizer};

use super::super::arguments::{DeviceArg, NumberArg};
use crate::error::CliError;

/// Measure a saved model: its perplexity on a text, or its scores on tasks as in
/// lm-evaluation-harness.
///
/// A text (--data) is cut into windows of the model's context that do not overlap; the last one is
/// shorter. Every token is predicted once, from the tokens before it in its window. --stride and
/// --per-document change this. Tasks (--tasks) are read from JSON lines or Parquet.
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// A folder that `train` or `convert from-hf` wrote, or a checkpoint.
    pub model: PathBuf,
    #[command(flatten)]
    pub device: DeviceArg,
    /// A text, as `prepare` reads it: a file, or a folder with .txt and other text, .jsonl, .json
    /// and .parquet, all but the last also as .gz or .zst.
    #[arg(
        long,
        value_name = "PATH",
        required_unless_present = "tasks",
        conflicts_with = "tasks"
    )]
    pub data: Option<PathBuf>,
    /// The field of JSON lines, or the column of Parquet files, that holds the text.
    #[arg(
        long,
        alias = "column",
        value_name = "NAME",
        default_value = TEXT_FIELD,
        conflicts_with = "tasks"
    )]
    pub field: String,
    /// Tasks, separated by commas: arc_easy, arc_challenge, hellaswag, piqa, sciq, social_iqa,
    /// winogrande, lambada_openai, and those in --task-file.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub tasks: Vec<String>,
    /// The folder with the tasks' data as published, JSON lines or Parquet; without it, a build
    /// with the feature `hub` takes them from the Hugging Face Hub and its cache.
    #[arg(long, value_name = "DIR", requires = "tasks")]
    pub tasks_dir: Option<PathBuf>,
    /// More tasks, a TOML file; see docs/evaluation.md.
    #[arg(long, value_name = "FILE", requires = "tasks")]
    pub task_file: Option<PathBuf>,
    /// Items to show with their answers before each question: the first ones of the task's own
    /// file, or of --shots-from.
    #[arg(long, value_name = "K", default_value_t = 0)]
    pub num_fewshot: usize,
    /// The file with the items to show; only with a single task.
    #[arg(long, value_name = "FILE", requires = "tasks")]
    pub shots_from: Option<PathBuf>,
    /// Draw the items to show at random for each question, instead of taking the first ones.
    #[arg(long, value_name = "S", requires = "num_fewshot")]
    pub seed: Option<u64>,
    /// At most this many items of each task.
    #[arg(long, value_name = "N", requires = "tasks")]
    pub limit: Option<usize>,
    /// Tokens that are computed together; changes the result only by rounding.
    #[arg(long, value_name = "N", default_value_t = 2048, requires = "tasks")]
    pub batch_tokens: usize,
    /// Write the results in lm-evaluation-harness's schema; missing parent folders are created.
    #[arg(long, value_name = "FILE", requires = "tasks")]
    pub json: Option<PathBuf>,
    /// Write every item with every request's log-likelihood, one file of JSON lines per task, to a
    /// new or empty folder.
    #[arg(long, value_name = "DIR", requires = "tasks")]
    pub log_samples: Option<PathBuf>,
    /// The token in front of a text, and of a request without context, as the vocabulary spells it;
    /// the end of text if not given. lm-evaluation-harness uses the tokenizer's beginning of text
    /// if it has one, such as <s> or <|im_start|>.
    #[arg(long, value_name = "TOKEN")]
    pub prefix_token: Option<String>,
    /// Tokens in a window; the model's own context if not given.
    #[arg(long, value_name = "T")]
    pub context: Option<usize>,
    /// Let windows overlap: each window but the first predicts only its last S tokens.
    #[arg(long, value_name = "S", requires = "data")]
    pub stride: Option<usize>,
    /// Measure every document by itself, starting from the end of text, as lm-evaluation-harness
    /// does.
    #[arg(long, requires = "data")]
    pub per_document: bool,
    /// Windows that are computed together; changes the result only by rounding.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch: usize,
    /// Run the model as `generate` does, on the CPU, with weights of this type: what they cost in
    /// perplexity.
    #[arg(long, value_enum, requires = "data", conflicts_with_all = ["stride", "per_document"])]
    pub weights: Option<NumberArg>,
    /// The same for what its caches keep.
    #[arg(long, value_enum, requires = "data", conflicts_with_all = ["stride", "per_document"])]
    pub cache: Option<NumberArg>,
}

impl EvalArgs {
    /// The token in front of everything.
    pub(super) fn prefix(&self, tokenizer: &Tokenizer) -> Result<u32, CliError> {
        let Some(token) = &self.prefix_token else {
            return Ok(tokenizer.end_of_text());
        };
        tokenizer.token_id(token).ok_or_else(|| {
            CliError::Input(format!(
                "--prefix-token {token}: the model's tokenizer has no such token"
            ))
        })
    }

    /// Tokens that a window or a request may have: what was asked for, where the model has places
    /// for it.
    pub(super) fn longest(&self, model: &ModelConfig) -> Result<usize, CliError> {
        let context = self.context.unwrap_or(model.context);
        if context == 0 {
            return Err(CliError::Input(
                "--context 0 shows the model nothing: give at least 1".to_owned(),
            ));
        }
        if model.positions == Positions::Learned && context > model.context {
            return Err(CliError::Input(format!(
                "--context {context} is beyond the model's {} learned positions",
                model.context
            )));
        }
        Ok(context)
    }
}
