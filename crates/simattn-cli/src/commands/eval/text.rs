//! A saved model's perplexity on any text.

use std::path::Path;

use burn::tensor::Device;
use simattn_data::read_documents;
use simattn_train::{TextEvaluation, evaluate_text, model_folder};

use super::{CliError, EvalArgs, input, longest};
use crate::progress::perplexity;
use crate::study::quantity::grouped;

/// Measures the perplexity and prints it.
pub(super) fn run(args: &EvalArgs, data: &Path) -> Result<(), CliError> {
    let model = model_folder::load(&args.model, &Device::flex()).map_err(input)?;
    let documents = read_documents(data).map_err(input)?;
    let tokens = model
        .tokenizer
        .encode_documents(&documents)
        .map_err(input)?;
    let context = longest(args, &model.config.model)?;
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
    let words = documents.iter().map(|document| words(&document.text)).sum();
    print!("{}", summary(&evaluation, context, words));
    Ok(())
}

/// Words of a text, as lm-evaluation-harness counts them: the pieces that splitting at runs of white space gives, empty ones
/// at the ends too.
fn words(text: &str) -> u64 {
    let space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
    let mut pieces = 1;
    let mut inside = false;
    for c in text.chars() {
        pieces += u64::from(space(c) && !inside);
        inside = space(c);
    }
    pieces
}

/// What came out, for standard output.
fn summary(text: &TextEvaluation, context: usize, words: u64) -> String {
    let evaluation = &text.evaluation;
    let nats = evaluation.loss * evaluation.tokens as f64;
    format!(
        "documents      {}\n\
         bytes          {}\n\
         tokens         {}\n\
         windows        {} of {} tokens\n\
         loss           {:.4} nats per token\n\
         perplexity     {}\n\
         per word       {} ({} words)\n\
         bits per byte  {:.4}\n",
        grouped(text.documents as f64),
        grouped(text.bytes as f64),
        grouped(evaluation.tokens as f64),
        grouped(text.windows as f64),
        grouped(context as f64),
        evaluation.loss,
        perplexity(evaluation.perplexity),
        perplexity((nats / words as f64).exp()),
        grouped(words as f64),
        evaluation.bits_per_byte,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_what_white_space_separates() {
        for (text, count) in [
            ("", 1),
            ("a", 1),
            ("a b\n\nc", 3),
            (" a ", 3),
            ("a\u{a0}b\u{1c}c", 3),
        ] {
            assert_eq!(words(text), count, "{text:?}");
        }
    }
}
