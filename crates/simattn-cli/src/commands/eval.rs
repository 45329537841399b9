//! `simattn eval`: a saved model's perplexity on any text.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use simattn::Positions;
use simattn_data::read_documents;
use simattn_train::{TextEvaluation, evaluate_text, model_folder};

use super::{CliError, input};
use crate::progress::perplexity;
use crate::study::quantity::grouped;

/// Measure a saved model's perplexity on a text, all of it.
///
/// The text is cut into windows of the model's context that do not overlap, the last one shorter;
/// every token is predicted once, from the tokens before it in its window.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// A folder that `train` wrote, or one of its checkpoints.
    pub model: PathBuf,
    /// A text file or a folder of text files.
    #[arg(long, value_name = "PATH")]
    pub data: PathBuf,
    /// Tokens in a window; the model's own context where left out.
    #[arg(long, value_name = "T")]
    pub context: Option<usize>,
    /// Windows that run together: no effect on the result but rounding.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub batch: usize,
}

/// Runs the command.
///
/// # Errors
///
/// [`CliError::Input`] for a model or text that cannot be used.
pub fn run(args: &EvalArgs) -> Result<(), CliError> {
    let model = model_folder::load(&args.model, &Device::flex()).map_err(input)?;
    let documents = read_documents(&args.data).map_err(input)?;
    let tokens = model
        .tokenizer
        .encode_documents(&documents)
        .map_err(input)?;
    let context = args.context.unwrap_or(model.config.model.context);
    let places = model.config.model.context;
    if model.config.model.positions == Positions::Learned && context > places {
        return Err(CliError::Input(format!(
            "--context {context} is beyond the model's {places} learned positions"
        )));
    }
    let end = model.tokenizer.end_of_text();
    let all = tokens.ids.len();
    let mut tenths = 0;
    let evaluation = evaluate_text(
        &model.decoder,
        &tokens,
        end,
        args.batch,
        context,
        |finished| {
            let now = finished * 10 / all.max(1) as u64;
            if now > tenths {
                tenths = now;
                eprintln!("eval {}0%", tenths);
            }
        },
    )
    .map_err(input)?;
    print!("{}", summary(&evaluation, context));
    Ok(())
}

/// What came out, for standard output.
fn summary(text: &TextEvaluation, context: usize) -> String {
    let evaluation = &text.evaluation;
    format!(
        "documents      {}\n\
         bytes          {}\n\
         tokens         {}\n\
         windows        {} of {} tokens\n\
         loss           {:.4} nats per token\n\
         perplexity     {}\n\
         bits per byte  {:.4}\n",
        grouped(text.documents as f64),
        grouped(text.bytes as f64),
        grouped(evaluation.tokens as f64),
        grouped(text.windows as f64),
        grouped(context as f64),
        evaluation.loss,
        perplexity(evaluation.perplexity),
        evaluation.bits_per_byte,
    )
}
