//! Cross-entropy in nats, of logits or of a whole output head.
//!
//! The head works on some rows of hidden states at a time: logits, softmax and its gradient share
//! one buffer, from which the gradients of the hidden states and of the weight are added up at
//! once. The logits of all tokens never exist together, which for a vocabulary of 50,304 is most of
//! a small model's memory.

use rayon::prelude::*;

use super::output::{Output, filled, written};
use super::product::{Matrix, multiply, multiply_add};
use super::scale::multiply_by;
use super::vectorised::{LANES, exp, per_instruction_set, sum_lanes};
use crate::call::HeadGradientsWanted;

/// A target that does not count: no loss, no gradient.
pub const IGNORED: u32 = u32::MAX;

/// Sizes of an output head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeadShape {
    /// Rows of the hidden states.
    pub tokens: usize,
    /// Features of a hidden state.
    pub width: usize,
    /// Rows of the head's weight: the values that a target can take.
    pub vocabulary: usize,
}

/// Loss of some tokens, and the gradients of their mean that were asked for.
#[derive(Clone, Debug)]
pub struct CrossEntropy {
    /// −ln p(target) of each token in nats; 0 where the target is [`IGNORED`].
    pub token_losses: Vec<f32>,
    /// The mean over the tokens that count; NaN where none does.
    pub mean: f64,
    /// Tokens that count.
    pub counted: usize,
}

/// The gradients of the mean loss, as they were wanted.
#[derive(Clone, Debug, Default)]
pub struct HeadGradients {
    /// [tokens, width]
    pub hidden: Option<Vec<f32>>,
    /// [vocabulary, width]
    pub weight: Option<Vec<f32>>,
}

/// Cross-entropy of softmax(logits) for logits [tokens, vocabulary]; with `gradient`, also the
/// gradient of the mean.
///
/// # Panics
/// If lengths do not fit or a target is neither below `vocabulary` nor [`IGNORED`].
pub fn cross_entropy(
    vocabulary: usize,
    logits: &[f32],
    targets: &[u32],
    gradient: Option<Output<'_>>,
) -> CrossEntropy {
    assert_eq!(
        logits.len(),
        targets.len() * vocabulary,
        "logits for each target"
    );
    check(targets, vocabulary);
    let scale = 1.0 / counted(targets) as f32;
    let mut losses = vec![0.0; targets.len()];
    let rows = rows_per_task(vocabulary);
    match gradient {
        None => (
            losses.par_chunks_mut(rows),
            logits.par_chunks(rows * vocabulary),
            targets.par_chunks(rows),
        )
            .into_par_iter()
            .for_each(|(losses, logits, targets)| {
                let rows = logits.chunks_exact(vocabulary).zip(targets);
                for (loss, (row, &target)) in losses.iter_mut().zip(rows) {
                    *loss = loss_of_row(row, target);
                }
            }),
        Some(gradient) => {
            assert_eq!(
                gradient.len(),
                logits.len(),
                "values of the gradient of logits"
            );
            let values = rows * vocabulary;
            (
                losses.par_chunks_mut(rows),
                gradient.par_chunks_mut(values),
                logits.par_chunks(values),
                targets.par_chunks(rows),
            )
                .into_par_iter()
                .for_each(|(losses, gradient, logits, targets)| {
                    gradient.write_copy_of_slice(logits);
                    // SAFETY: the line above wrote every value.
                    let gradient = unsafe { written(gradient) };
                    rows_with_gradient(vocabulary, gradient, targets, scale, losses);
                });
        }
    }
    CrossEntropy::new(losses, targets)
}

/// Cross-entropy of softmax(hidden · weightᵀ) for hidden [tokens, width] and weight [vocabulary,
/// width], with the wanted gradients of the mean, in blocks of rows.
///
/// # Panics
/// If lengths do not fit or a target is neither below the vocabulary nor [`IGNORED`].
pub fn head_cross_entropy(
    shape: HeadShape,
    hidden: &[f32],
    weight: &[f32],
    targets: &[u32],
    wanted: HeadGradientsWanted,
) -> (CrossEntropy, HeadGradients) {
    let HeadShape {
        tokens,
        width,
        vocabulary,
    } = shape;
    assert_eq!(hidden.len(), tokens * width, "hidden states of a head");
    assert_eq!(targets.len(), tokens, "a target for each hidden state");
    check(targets, vocabulary);
    let weight = Matrix::new(weight, vocabulary, width);
    let scale = 1.0 / counted(targets) as f32;
    let block = rows_per_block(tokens, vocabulary);
    let mut losses = vec![0.0; tokens];
    let mut d_weight: Option<Vec<f32>> = None;
    let mut run = |d_hidden: Option<Output<'_>>| {
        let mut buffer = Vec::with_capacity(block * vocabulary);
        let mut d_hidden = d_hidden.map(|values| values.chunks_mut(block * width));
        let blocks = hidden.chunks(block * width).zip(targets.chunks(block));
        for (losses, (hidden, targets)) in losses.chunks_mut(block).zip(blocks) {
            let rows = targets.len();
            let hidden = Matrix::new(hidden, rows, width);
            let logits = multiply(
                hidden,
                weight.transposed(),
                &mut buffer.spare_capacity_mut()[..rows * vocabulary],
            );
            rows_in_parallel(
                vocabulary,
                logits,
                targets,
                scale,
                losses,
                wanted != HeadGradientsWanted::default(),
            );
            let d_logits = Matrix::new(logits, rows, vocabulary);
            if let Some(d_hidden) = d_hidden.as_mut().and_then(Iterator::next) {
                multiply(d_logits, weight, d_hidden);
            }
            if wanted.weight {
                match &mut d_weight {
                    Some(sum) => multiply_add(d_logits.transposed(), hidden, sum),
                    None => {
                        // SAFETY: the product writes every value.
                        d_weight = Some(unsafe {
                            filled(vocabulary * width, |out| {
                                multiply(d_logits.transposed(), hidden, out);
                            })
                        });
                    }
                }
            }
        }
    };
    let d_hidden = if wanted.hidden {
        // SAFETY: the blocks cover all rows, and each product writes every value of its block.
        Some(unsafe { filled(tokens * width, |out| run(Some(out))) })
    } else {
        run(None);
        None
    };
    if wanted.weight && d_weight.is_none() {
        d_weight = Some(vec![0.0; vocabulary * width]);
    }
    (
        CrossEntropy::new(losses, targets),
        HeadGradients {
            hidden: d_hidden,
            weight: d_weight,
        },
    )
}

impl CrossEntropy {
    fn new(token_losses: Vec<f32>, targets: &[u32]) -> Self {
        let counted = counted(targets);
        let sum: f64 = token_losses.iter().map(|&loss| f64::from(loss)).sum();
        Self {
            token_losses,
            mean: sum / counted as f64,
            counted,
        }
    }
}

fn check(targets: &[u32], vocabulary: usize) {
    if let Some(target) = targets
        .iter()
        .find(|&&target| target != IGNORED && target as usize >= vocabulary)
    {
        panic!("target {target} in a vocabulary of {vocabulary}");
    }
}

fn counted(targets: &[u32]) -> usize {
    targets.iter().filter(|&&target| target != IGNORED).count()
}

/// Rows of logits that one task handles.
fn rows_per_task(vocabulary: usize) -> usize {
    (16 * 1024 / vocabulary.max(1)).max(1)
}

/// Rows of logits that exist at a time: as many as fit 64 MiB, shared out evenly. Fewer would pass
/// over the weight's gradient too often, more would gain nothing.
fn rows_per_block(tokens: usize, vocabulary: usize) -> usize {
    const VALUES: usize = 16 << 20;
    const MULTIPLE: usize = 32;
    let most = (VALUES / vocabulary.max(1) / MULTIPLE * MULTIPLE).max(2 * MULTIPLE);
    let blocks = tokens.div_ceil(most).max(1);
    tokens
        .div_ceil(blocks)
        .next_multiple_of(MULTIPLE)
        .max(MULTIPLE)
}

fn rows_in_parallel(
    vocabulary: usize,
    logits: &mut [f32],
    targets: &[u32],
    scale: f32,
    losses: &mut [f32],
    gradient: bool,
) {
    let rows = rows_per_task(vocabulary);
    (
        losses.par_chunks_mut(rows),
        logits.par_chunks_mut(rows * vocabulary),
        targets.par_chunks(rows),
    )
        .into_par_iter()
        .for_each(|(losses, logits, targets)| {
            if gradient {
                return rows_with_gradient(vocabulary, logits, targets, scale, losses);
            }
            for (loss, (row, &target)) in losses
                .iter_mut()
                .zip(logits.chunks_exact(vocabulary).zip(targets))
            {
                *loss = loss_of_row(row, target);
            }
        });
}

/// Loss of each row of logits; the rows become `scale` times the gradient of their loss.
fn rows_with_gradient(
    vocabulary: usize,
    logits: &mut [f32],
    targets: &[u32],
    scale: f32,
    losses: &mut [f32],
) {
    for (loss, (row, &target)) in losses
        .iter_mut()
        .zip(logits.chunks_exact_mut(vocabulary).zip(targets))
    {
        if target == IGNORED {
            row.fill(0.0);
            continue;
        }
        let (target, most) = (target as usize, greatest(row));
        let logit = row[target];
        let sum = exp_in_place(row, most);
        *loss = nats(sum, logit, most);
        multiply_by(row, (f64::from(scale) / sum) as f32);
        row[target] -= scale;
    }
}

fn loss_of_row(row: &[f32], target: u32) -> f32 {
    if target == IGNORED {
        return 0.0;
    }
    let most = greatest(row);
    nats(sum_of_exp(row, most), row[target as usize], most)
}

fn nats(sum: f64, logit: f32, most: f32) -> f32 {
    (sum.ln() - (f64::from(logit) - f64::from(most))) as f32
}

/// Values that are added up in single precision before the sum continues in double.
const RUN: usize = 64 * LANES;

per_instruction_set! {
    /// The greatest value; NaN values are passed over.
    fn greatest(row: &[f32]) -> f32 {
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = row.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, &value) in lanes.iter_mut().zip(chunk) {
                *lane = if value > *lane { value } else { *lane };
            }
        }
        lanes.into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max)
    }

    /// Σ e^(value − most).
    fn sum_of_exp(row: &[f32], most: f32) -> f64 {
        let mut sum = 0.0;
        for run in row.chunks(RUN) {
            let mut lanes = [0.0; LANES];
            let (whole, rest) = run.as_chunks::<LANES>();
            for chunk in whole {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *lane += exp::<FUSED>(value - most);
                }
            }
            for (lane, value) in lanes.iter_mut().zip(rest) {
                *lane += exp::<FUSED>(value - most);
            }
            sum += f64::from(sum_lanes(lanes));
        }
        sum
    }

    /// Replaces each value by e^(value − most) and returns their sum.
    fn exp_in_place(row: &mut [f32], most: f32) -> f64 {
        let mut sum = 0.0;
        for run in row.chunks_mut(RUN) {
            let mut lanes = [0.0; LANES];
            let (whole, rest) = run.as_chunks_mut::<LANES>();
            for chunk in whole {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *value = exp::<FUSED>(*value - most);
                    *lane += *value;
                }
            }
            for (lane, value) in lanes.iter_mut().zip(rest) {
                *value = exp::<FUSED>(*value - most);
                *lane += *value;
            }
            sum += f64::from(sum_lanes(lanes));
        }
        sum
    }
}
