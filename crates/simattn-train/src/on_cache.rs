//! The loss on a text by a model prepared for decoding: what narrow weights and caches cost.

use rayon::prelude::*;
use simattn::decoding::{DecodeError, Logits, PAGE, Running};
use simattn_data::{DataError, TokenSet, TokenSource};

use crate::evaluate::{EvaluateError, Evaluation, TextEvaluation};

/// Why such a text could not be measured. `Display` is one line.
#[derive(Debug, thiserror::Error)]
pub enum OnCacheError {
    /// As of any model.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// Tokens that the model's caches do not take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl OnCacheError {
    /// Whether what was given is wrong, and not what came out.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Evaluate(error) => error.is_input(),
            Self::Decode(_) => true,
        }
    }
}

/// [`evaluate_text`](crate::evaluate_text) by a model on caches, one window after another.
///
/// # Errors
///
/// As there, and [`OnCacheError::Decode`] for ids that the model does not know or a window beyond
/// its context.
pub fn evaluate_text_on_cache(
    model: &Running,
    tokens: &TokenSet,
    end_of_text: u32,
    context: usize,
    mut progress: impl FnMut(u64),
) -> Result<TextEvaluation, OnCacheError> {
    if context == 0 {
        let empty = DataError::EmptyShape { batch: 1, context };
        return Err(EvaluateError::from(empty).into());
    }
    let bits_per_nat = tokens.bits_per_byte(1.0).map_err(EvaluateError::from)?;
    let (mut nats, mut done) = (0.0, 0);
    let mut before = end_of_text;
    for window in tokens.ids.chunks(context) {
        let mut text = model.start();
        for targets in window.chunks(PAGE) {
            let mut inputs = vec![before];
            inputs.extend(&targets[..targets.len() - 1]);
            let logits = model.extend(&mut text, &inputs, Logits::All)?;
            let losses: Vec<f64> = logits
                .par_chunks(model.config().vocabulary)
                .zip(targets)
                .map(|(logits, &target)| loss(logits, target))
                .collect();
            let loss: f64 = losses.iter().sum();
            EvaluateError::check(loss, done, targets.len() as u64)?;
            nats += loss;
            done += targets.len() as u64;
            before = targets[targets.len() - 1];
            progress(done);
        }
    }
    let loss = nats / done as f64;
    Ok(TextEvaluation {
        evaluation: Evaluation {
            tokens: done,
            loss,
            perplexity: loss.exp(),
            bits_per_byte: loss * bits_per_nat,
        },
        bytes: tokens.bytes,
        documents: tokens.documents,
        windows: tokens.ids.len().div_ceil(context) as u64,
    })
}

/// −log softmax of the target's score; NaN for an id without a score.
fn loss(logits: &[f32], target: u32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|&x| f64::from(x - most).exp()).sum();
    let of_target = logits.get(target as usize).copied().unwrap_or(f32::NAN);
    total.ln() - f64::from(of_target - most)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use simattn::decoding::RunningOptions;
    use simattn::{AttentionConfig, Decoder, ModelConfig};

    use super::*;
    use crate::evaluate_text;

    #[test]
    fn the_loss_is_that_of_the_full_pass() {
        let attention: AttentionConfig = serde_json::from_str(
            r#"{ "kind": "sas", "heads": 2, "head_dim": 8, "expanded_heads": 4,
                 "expanded_head_dim": 12, "kernel_size": 3 }"#,
        )
        .unwrap();
        let mut config = ModelConfig::neox(80, 2, 16, attention);
        config.vocabulary = 30;
        let decoder = Decoder::new(&config, 3, &Device::flex()).unwrap();
        let tokens = TokenSet {
            ids: (0..190).map(|i| (i * 7 + 1) % 29).collect(),
            bytes: 400,
            documents: 2,
        };
        let model = Running::new(&decoder, RunningOptions::default());
        let found = evaluate_text_on_cache(&model, &tokens, 29, 80, |_| {}).unwrap();
        let full = evaluate_text(&decoder, &tokens, 29, 2, 80, |_| {}).unwrap();
        assert!((found.evaluation.loss - full.evaluation.loss).abs() < 1e-6);
        assert_eq!((found.windows, found.evaluation.tokens), (3, 190));
        let beyond = evaluate_text_on_cache(&model, &tokens, 29, 81, |_| {});
        assert!(beyond.is_err_and(|error| error.is_input()));
    }
}
