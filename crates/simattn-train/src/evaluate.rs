//! Loss without gradients: on a fixed sample while training, on a whole text afterwards.

use burn::module::Module;
use burn::tensor::Device;
use simattn::Decoder;
use simattn_data::{Batch, DataError, TokenSet, TokenSource, ValidationSample};

use crate::ranks::Ranks;
use crate::step::tensors;

/// How well a model predicts some tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Evaluation {
    /// Predicted tokens.
    pub tokens: u64,
    /// Mean cross-entropy in nats per token.
    pub loss: f64,
    /// e to the loss.
    pub perplexity: f64,
    /// The loss in bits per byte of text, comparable between tokenizers.
    pub bits_per_byte: f64,
}

/// A fixed sample of held-out windows, and the bytes behind its tokens.
#[derive(Clone, Debug)]
pub struct Validation {
    sample: ValidationSample,
    /// Bits per byte of a model that loses one nat per token.
    bits_per_nat: f64,
}

impl Validation {
    /// At most `windows` windows of `context` tokens, evaluated `batch` at a time.
    ///
    /// # Errors
    ///
    /// Tokens that do not fill one window.
    pub fn new(
        tokens: &dyn TokenSource,
        batch: usize,
        context: usize,
        windows: usize,
    ) -> Result<Self, DataError> {
        Ok(Self {
            sample: ValidationSample::new(tokens, batch, context, windows)?,
            bits_per_nat: tokens.bits_per_byte(1.0)?,
        })
    }

    /// The batches.
    pub fn sample(&self) -> &ValidationSample {
        &self.sample
    }

    /// The model's loss on the sample. Bits per byte use the bytes per token of all held-out text.
    pub fn evaluate(&self, decoder: &Decoder) -> Evaluation {
        self.evaluate_with(decoder, &Ranks::alone())
    }

    /// The same, each rank its part of the batches.
    pub(crate) fn evaluate_with(&self, decoder: &Decoder, ranks: &Ranks) -> Evaluation {
        let batches = &self.sample.batches;
        let decoder = decoder.valid();
        let own = &batches[ranks.part(batches.len())];
        let losses: Vec<f64> = own
            .iter()
            .map(|batch| batch_loss(&decoder, batch))
            .collect();
        let losses = ranks.gather_numbers(&losses, "evaluating");
        let (mut total, mut tokens) = (0.0, 0u64);
        for (loss, batch) in losses.iter().zip(batches) {
            let count = batch.targets.len() as u64;
            total += loss * count as f64;
            tokens += count;
        }
        let loss = total / tokens.max(1) as f64;
        Evaluation {
            tokens,
            loss,
            perplexity: loss.exp(),
            bits_per_byte: loss * self.bits_per_nat,
        }
    }
}

/// Why a text could not be measured. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// There is no text, or nothing to cut it into.
    #[error(transparent)]
    Data(#[from] DataError),
    /// A loss is NaN or infinite.
    #[error(
        "the loss of tokens {first} to {last} is {loss}, although all weights are finite: the \
         model's activations overflow, and no perplexity can be given"
    )]
    NotFinite {
        /// The first token of the windows that ran together, from 1.
        first: u64,
        /// The last of them.
        last: u64,
        /// Their mean loss.
        loss: f64,
    },
}

impl EvaluateError {
    /// Whether what was given is wrong, and not what came out.
    pub fn is_input(&self) -> bool {
        matches!(self, Self::Data(_))
    }

    /// Checks the mean loss of `count` tokens behind `before` others.
    pub(crate) fn check(loss: f64, before: u64, count: u64) -> Result<(), Self> {
        if loss.is_finite() {
            return Ok(());
        }
        Err(Self::NotFinite {
            first: before + 1,
            last: before + count,
            loss,
        })
    }
}

/// A whole text's evaluation with what it was made of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TextEvaluation {
    /// The loss; every token of the text is predicted once.
    pub evaluation: Evaluation,
    /// Bytes of text.
    pub bytes: u64,
    /// Documents.
    pub documents: u64,
    /// Windows the text was cut into.
    pub windows: u64,
}

/// The loss on all of `tokens` in disjoint windows of `context` tokens, the last one shorter.
///
/// A window sees nothing before it, except that its first input is the token before its first
/// target: at the start of the text the end-of-text token, so that every token is a target once.
/// `batch` windows run together; `progress` hears the number of finished tokens.
///
/// # Errors
///
/// [`DataError::NoText`] without text, [`DataError::EmptyShape`] where `batch` or `context` is 0,
/// [`EvaluateError::NotFinite`] where a loss is no number.
pub fn evaluate_text(
    decoder: &Decoder,
    tokens: &TokenSet,
    end_of_text: u32,
    batch: usize,
    context: usize,
    progress: impl FnMut(u64),
) -> Result<TextEvaluation, EvaluateError> {
    if batch == 0 || context == 0 {
        return Err(DataError::EmptyShape { batch, context }.into());
    }
    let bits_per_nat = tokens.bits_per_byte(1.0)?;
    let batches = windows(&tokens.ids, end_of_text, batch, context);
    let (loss, predicted) = checked_mean_loss(decoder, batches, progress, EvaluateError::check)?;
    Ok(TextEvaluation {
        evaluation: Evaluation {
            tokens: predicted,
            loss,
            perplexity: loss.exp(),
            bits_per_byte: loss * bits_per_nat,
        },
        bytes: tokens.bytes,
        documents: tokens.documents,
        windows: tokens.ids.len().div_ceil(context) as u64,
    })
}

/// Disjoint windows over `ids`, full ones `batch` at a time and a shorter last one by itself.
fn windows(
    ids: &[u32],
    end_of_text: u32,
    batch: usize,
    context: usize,
) -> impl Iterator<Item = Batch> + '_ {
    let full = ids.len() / context;
    let rows = (0..full)
        .step_by(batch)
        .map(move |first| (first * context, batch.min(full - first), context));
    let rest = ids.len() % context;
    let last = (rest > 0).then_some((full * context, 1, rest));
    rows.chain(last).map(move |(start, rows, length)| {
        let end = start + rows * length;
        let before = start.checked_sub(1).map_or(end_of_text, |at| ids[at]);
        let targets: Vec<i32> = ids[start..end].iter().map(|id| *id as i32).collect();
        let mut inputs = Vec::with_capacity(targets.len());
        inputs.push(before as i32);
        inputs.extend_from_slice(&targets[..targets.len() - 1]);
        Batch {
            inputs,
            targets,
            batch: rows,
            context: length,
        }
    })
}

/// The mean loss over a batch.
fn batch_loss(decoder: &Decoder, batch: &Batch) -> f64 {
    let device: Device = decoder.embedding.val().device();
    let (inputs, targets) = tensors(batch, &device);
    f64::from(decoder.loss(inputs, targets).into_scalar::<f32>())
}

/// The mean loss over all targets of `batches`, and their number; ended by what `check` has against
/// a batch's loss, the tokens before it, and its own.
fn checked_mean_loss<B: std::borrow::Borrow<Batch>, E>(
    decoder: &Decoder,
    batches: impl IntoIterator<Item = B>,
    mut progress: impl FnMut(u64),
    check: impl Fn(f64, u64, u64) -> Result<(), E>,
) -> Result<(f64, u64), E> {
    let decoder = decoder.valid();
    let (mut total, mut tokens) = (0.0, 0u64);
    for batch in batches {
        let batch = batch.borrow();
        let loss = batch_loss(&decoder, batch);
        let count = batch.targets.len() as u64;
        check(loss, tokens, count)?;
        total += loss * count as f64;
        tokens += count;
        progress(tokens);
    }
    Ok((total / tokens.max(1) as f64, tokens))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_predict_every_token_once_from_the_one_before() {
        for (count, batch, context) in [(10, 2, 3), (9, 2, 3), (1, 4, 8), (7, 1, 7), (8, 3, 1)] {
            let ids: Vec<u32> = (1..=count).collect();
            let batches: Vec<Batch> = windows(&ids, 0, batch, context).collect();
            let join = |part: fn(&Batch) -> &Vec<i32>| -> Vec<i32> {
                batches
                    .iter()
                    .flat_map(|batch| part(batch).clone())
                    .collect()
            };
            let expected: Vec<i32> = (1..=count as i32).collect();
            assert_eq!(join(|batch| &batch.targets), expected);
            let before: Vec<i32> = expected.iter().map(|id| id - 1).collect();
            assert_eq!(join(|batch| &batch.inputs), before);
            for batch in &batches {
                assert_eq!(batch.targets.len(), batch.batch * batch.context);
                assert!(batch.context <= context);
            }
        }
    }
}
