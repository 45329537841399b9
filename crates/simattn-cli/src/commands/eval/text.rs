//! A saved model's perplexity on any text.

use std::path::Path;

use burn::tensor::Device;
use simattn::Decoder;
use simattn::decoding::{NumberType, Running, RunningOptions};
use simattn_data::{TokenSet, read_documents};
use simattn_eval::is_space;
use simattn_train::{
    EvaluateError, OnCacheError, Rolling, TextEvaluation, evaluate_rolling, evaluate_text,
    evaluate_text_on_cache,
};

use super::super::open_model::open_model;
use super::arguments::EvalArgs;
use crate::console::{show, tell, tell_some};
use crate::error::{CliError, input, input_if};
use crate::progress::Tenths;
use crate::quantity::{grouped, perplexity};
use crate::room;

/// Measures the perplexity and prints it.
pub(super) fn run(args: &EvalArgs, data: &Path) -> Result<(), CliError> {
    let on_cache = args.weights.is_some() || args.cache.is_some();
    let device = match on_cache {
        true => Device::flex(),
        false => args.device.open()?,
    };
    let model = open_model(&args.model, &device)?;
    let texts = read_documents(data, &args.field).map_err(input)?;
    tell_some("eval", &texts.passed_over);
    let documents = texts.documents;
    let tokens = model
        .tokenizer
        .encode_documents(&documents)
        .map_err(input)?;
    let context = args.longest(&model.config.model)?;
    let stride = stride(args, context)?;
    let end = model.tokenizer.end_of_text();
    let prefix = args.prefix(&model.tokenizer)?;
    let all = tokens.ids.len();
    let together = args.batch.saturating_mul(context).min(all) as u128;
    // What a pass computes for each token that runs with it: one state of the model's width.
    let states = together.saturating_mul(4 * model.config.model.width as u128);
    room::check_on(&device, "a batch of these windows", states).map_err(input)?;
    let mut tenths = Tenths::default();
    let mut report = |finished: u64| {
        if let Some(percent) = tenths.reached(finished, all as u64) {
            tell(format_args!("eval {percent}%"));
        }
    };
    let evaluation = match (args.per_document, args.stride) {
        _ if on_cache => {
            let running = running(args, &model.decoder);
            let found = evaluate_text_on_cache(&running, &tokens, prefix, context, &mut report)
                .map_err(input_if(OnCacheError::is_input))?;
            Ok(found)
        }
        (false, None) => evaluate_text(
            &model.decoder,
            &tokens,
            prefix,
            args.batch,
            context,
            &mut report,
        ),
        (by_document, _) => {
            let TokenSet {
                ids,
                bytes,
                documents,
            } = tokens;
            let sequences = if by_document {
                // Without the end of text that closes each: the harness does not predict it.
                split(&ids, end)
            } else {
                vec![ids]
            };
            let rolling = Rolling {
                context,
                stride,
                batch: args.batch,
                prefix,
            };
            let of = (bytes, documents);
            evaluate_rolling(&model.decoder, &sequences, of, &rolling, &mut report)
        }
    }
    .map_err(input_if(EvaluateError::is_input))?;
    let words = documents.iter().map(|document| words(&document.text)).sum();
    show(summary(&evaluation, context, words))?;
    Ok(())
}

/// The model as `generate` runs it, in the types that were asked for.
fn running(args: &EvalArgs, decoder: &Decoder) -> Running {
    let number_type = |asked: Option<_>| asked.map_or(NumberType::F32, Into::into);
    let options = RunningOptions {
        weights: number_type(args.weights),
        cache: number_type(args.cache),
        ..RunningOptions::default()
    };
    Running::new(decoder, options)
}

/// The stride, which is the context where it was left out.
fn stride(args: &EvalArgs, context: usize) -> Result<usize, CliError> {
    match args.stride {
        Some(stride) if !(1..=context).contains(&stride) => Err(CliError::Input(format!(
            "--stride {stride} must be from 1 to the {context} tokens of a window"
        ))),
        stride => Ok(stride.unwrap_or(context)),
    }
}

/// The documents, each without the end of text that closes it.
fn split(ids: &[u32], end_of_text: u32) -> Vec<Vec<u32>> {
    ids.split(|&id| id == end_of_text)
        .filter(|document| !document.is_empty())
        .map(<[u32]>::to_vec)
        .collect()
}

/// Words of a text, as lm-evaluation-harness counts them: the pieces that splitting at runs of
/// white space gives, empty ones at the ends too.
fn words(text: &str) -> u64 {
    let mut pieces = 1;
    let mut inside = false;
    for c in text.chars() {
        pieces += u64::from(is_space(c) && !inside);
        inside = is_space(c);
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
