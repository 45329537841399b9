//! Perplexity in windows that overlap: strided, and document by document as lm-evaluation-harness
//! rolls them.

use burn::module::Module;
use burn::tensor::{Device, Int, Tensor, TensorData};
use simattn::Decoder;
use simattn_data::DataError;

use crate::evaluate::{EvaluateError, Evaluation, TextEvaluation};

/// Which tokens one window predicts, and from how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollingWindow {
    /// The predicted tokens begin here.
    pub start: usize,
    /// They end in front of here.
    pub end: usize,
    /// Tokens that the last of them is predicted from: those right in front of it,
    /// [`Rolling::prefix`] in front of the first.
    pub seen: usize,
}

/// Windows over `tokens` tokens, each of which is predicted once.
///
/// The first window predicts its `context` tokens; every other one the next `stride`, the last of
/// them from the `context` tokens in front of it. With a stride of `context` these are
/// lm-evaluation-harness's windows for rolling log-likelihoods (context 1): disjoint but for the
/// last one, which sees as far back as the others.
pub fn rolling_windows(
    tokens: usize,
    context: usize,
    stride: usize,
) -> impl Iterator<Item = RollingWindow> {
    let stride = stride.clamp(1, context.max(1));
    let mut start = 0_usize;
    std::iter::from_fn(move || {
        let taken = if start == 0 { context } else { stride };
        let end = tokens.min(start.saturating_add(taken.max(1)));
        let window = RollingWindow {
            start,
            end,
            seen: end.min(context),
        };
        start = end;
        (window.start < window.end).then_some(window)
    })
}

/// How a text is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// Tokens of a window.
    pub context: usize,
    /// Tokens that a window predicts, but for the first; at most `context`.
    pub stride: usize,
    /// Windows of one shape that run together: no effect but rounding.
    pub batch: usize,
    /// What comes before a sequence.
    pub prefix: u32,
}

/// The loss on every token of `sequences`, each by itself, in [`rolling_windows`].
///
/// `bytes` and `documents` say what the tokens were made from. `progress` hears the number of
/// finished tokens.
///
/// # Errors
///
/// [`DataError::NoText`] without tokens, [`DataError::EmptyShape`] where the batch or the context
/// is 0, [`EvaluateError::NotFinite`] where a loss is no number.
pub fn evaluate_rolling(
    decoder: &Decoder,
    sequences: &[Vec<u32>],
    (bytes, documents): (u64, u64),
    rolling: &Rolling,
    mut progress: impl FnMut(u64),
) -> Result<TextEvaluation, EvaluateError> {
    let Rolling {
        context,
        stride,
        batch,
        prefix,
    } = *rolling;
    if batch == 0 || context == 0 {
        return Err(DataError::EmptyShape { batch, context }.into());
    }
    let mut sum = Sum {
        decoder: decoder.valid(),
        rows: Rows::default(),
        nats: 0.0,
        tokens: 0,
        windows: 0,
    };
    for ids in sequences {
        for window in rolling_windows(ids.len(), context, stride) {
            if sum.rows.shape != shape(&window) || sum.rows.count == batch {
                sum.run()?;
                progress(sum.tokens);
            }
            sum.rows.push(ids, &window, prefix);
        }
    }
    sum.run()?;
    progress(sum.tokens);
    if sum.tokens == 0 || bytes == 0 {
        return Err(DataError::NoText.into());
    }
    let loss = sum.nats / sum.tokens as f64;
    Ok(TextEvaluation {
        evaluation: Evaluation {
            tokens: sum.tokens,
            loss,
            perplexity: loss.exp(),
            bits_per_byte: sum.nats / bytes as f64 / std::f64::consts::LN_2,
        },
        bytes,
        documents,
        windows: sum.windows,
    })
}

/// Inputs and targets of a window.
fn shape(window: &RollingWindow) -> [usize; 2] {
    [window.seen, window.end - window.start]
}

/// Windows of one shape, to run together.
#[derive(Default)]
struct Rows {
    shape: [usize; 2],
    count: usize,
    inputs: Vec<i32>,
    targets: Vec<i32>,
}

impl Rows {
    fn push(&mut self, ids: &[u32], window: &RollingWindow, prefix: u32) {
        self.shape = shape(window);
        self.count += 1;
        let first = window.end - window.seen;
        let before = first.checked_sub(1).map_or(prefix, |at| ids[at]);
        self.inputs.push(before as i32);
        let inputs = &ids[first..window.end - 1];
        self.inputs.extend(inputs.iter().map(|&id| id as i32));
        let targets = &ids[window.start..window.end];
        self.targets.extend(targets.iter().map(|&id| id as i32));
    }
}

struct Sum {
    decoder: Decoder,
    rows: Rows,
    nats: f64,
    tokens: u64,
    windows: u64,
}

impl Sum {
    fn run(&mut self) -> Result<(), EvaluateError> {
        let Rows {
            shape: [seen, predicted],
            count,
            inputs,
            targets,
        } = std::mem::take(&mut self.rows);
        if count == 0 {
            return Ok(());
        }
        let device: Device = self.decoder.embedding.val().device();
        let tensor = |ids: Vec<i32>, width: usize| {
            Tensor::<2, Int>::from_data(TensorData::new(ids, [count, width]), &device)
        };
        let loss = self
            .decoder
            .loss_of_last(tensor(inputs, seen), tensor(targets, predicted));
        let loss = f64::from(loss.into_scalar::<f32>());
        EvaluateError::check(loss, self.tokens, (count * predicted) as u64)?;
        self.nats += loss * (count * predicted) as f64;
        self.tokens += (count * predicted) as u64;
        self.windows += count as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::activation::log_softmax;
    use simattn::{AttentionConfig, ModelConfig, MultiHeadConfig};

    #[test]
    fn every_token_is_predicted_once_from_as_much_as_the_stride_leaves() {
        for tokens in 0..40 {
            for context in 1..12 {
                for stride in 1..=context {
                    let mut next = 0;
                    for window in rolling_windows(tokens, context, stride) {
                        assert_eq!(window.start, next);
                        assert!(window.end > window.start);
                        assert_eq!(window.seen, window.end.min(context));
                        // The first predicted token sees what the stride leaves, or all there is.
                        let least = window.start.min(context - stride) + 1;
                        let first_sees = window.seen - (window.end - window.start) + 1;
                        assert!(first_sees >= least, "{window:?} {stride}");
                        next = window.end;
                    }
                    assert_eq!(next, tokens);
                }
            }
        }
    }

    /// The pairs of inputs and targets that `get_rolling_token_windows` documents for ten tokens,
    /// length 4, context 1.
    #[test]
    fn the_last_window_reaches_back_as_in_the_harness() {
        let windows: Vec<_> = rolling_windows(10, 4, 4)
            .map(|w| (w.end as i64 - w.seen as i64 - 1, w.start, w.end))
            .collect();
        assert_eq!(windows, [(-1, 0, 4), (3, 4, 8), (5, 8, 10)]);
    }

    #[test]
    fn the_loss_is_that_of_every_token_by_itself() {
        let attention = AttentionConfig::Mha(MultiHeadConfig {
            heads: 2,
            head_dim: 8,
            rope_base: 10_000.0,
            rotary_dim: None,
        });
        let mut config = ModelConfig::neox(16, 1, 16, attention);
        config.vocabulary = 30;
        let decoder = Decoder::new(&config, 3, &Device::flex()).unwrap();
        let sequences = [
            (0..23).map(|i| (i * 7 + 1) % 29).collect::<Vec<u32>>(),
            vec![],
            (0..5).map(|i| (i * 11) % 29).collect(),
        ];
        let rolling = Rolling {
            context: 6,
            stride: 2,
            batch: 3,
            prefix: 29,
        };
        let found = evaluate_rolling(&decoder, &sequences, (28, 3), &rolling, |_| {}).unwrap();
        let (mut nats, mut count) = (0.0, 0u64);
        for ids in &sequences {
            let padded: Vec<i32> = std::iter::once(29)
                .chain(ids.iter().map(|&id| id as i32))
                .collect();
            for window in rolling_windows(ids.len(), 6, 2) {
                for target in window.start..window.end {
                    // Place `target` of the ids is place `target + 1` behind the end of text.
                    let seen = padded[window.end - window.seen..=target].to_vec();
                    let length = seen.len();
                    let seen = TensorData::new(seen, [1, length]);
                    let logits = decoder.logits(Tensor::<2, Int>::from_data(seen, &Device::flex()));
                    let likely = log_softmax(logits, 2).into_data();
                    let likely: Vec<f32> = likely.iter::<f32>().collect();
                    nats -= f64::from(likely[(length - 1) * 30 + ids[target] as usize]);
                    count += 1;
                }
            }
        }
        assert_eq!(found.evaluation.tokens, count);
        let loss = nats / count as f64;
        assert!(
            (found.evaluation.loss - loss).abs() < 1e-5,
            "{found:?} {loss}"
        );
        let none = evaluate_rolling(&decoder, &[], (0, 0), &rolling, |_| {});
        assert!(matches!(none, Err(EvaluateError::Data(DataError::NoText))));
    }
}
