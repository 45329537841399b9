//! Cross-entropy on CubeCL devices, alone and with the language-model head before it. Nothing is
//! read back to the host: the number of targets that count is worked out, and stays, on the device.
//!
//! The logits of a head exist for some rows at a time. A cube takes a row of them, reads it once
//! for its maximum and sum, and, where gradients are wanted, once more to write softmax − one-hot
//! in its place; two products then give the hidden states' gradient and the rows' share of the
//! weight's, which is summed in float32.

use burn::tensor::DType;
use burn_cubecl::kernel::{cast, into_contiguous, slice};
use burn_cubecl::tensor::CubeTensor;
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::product::{product, transposed};
use super::rows::{THREADS, cubes, largest_of_cube, sum_of_lanes, threads};
use super::tensor::{addresses, element, unwritten, writable, zeros};
use crate::call::HeadGradientsWanted;

/// Logits that exist at a time, 64 Mi: a quarter of a GiB in float32.
pub(crate) const LOGITS: usize = 64 << 20;

/// `count[0]` is the number of targets that are not negative; one cube.
#[cube(launch, address_type = "dynamic")]
fn count_targets<I: Int>(
    targets: &Tensor<I>,
    count: &mut Tensor<f32>,
    #[define(I)] _element: ElemType,
) {
    let mut sum = f32::new(0.0);
    let mut token = UNIT_POS as usize;
    while token < targets.len() {
        if i32::cast_from(targets[token]) >= 0 {
            sum += f32::new(1.0);
        }
        token += THREADS;
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let sum = sum_of_lanes(sum, &mut scratch, THREADS);
    if UNIT_POS == 0 {
        count[0] = sum;
    }
}

/// `mean[0]` is the sum of `losses` over `count[0]`; one cube.
#[cube(launch, address_type = "dynamic")]
fn mean_loss(losses: &Tensor<f32>, count: &Tensor<f32>, mean: &mut Tensor<f32>) {
    let mut sum = f32::new(0.0);
    let mut token = UNIT_POS as usize;
    while token < losses.len() {
        sum += losses[token];
        token += THREADS;
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let sum = sum_of_lanes(sum, &mut scratch, THREADS);
    if UNIT_POS == 0 {
        mean[0] = sum / count[0];
    }
}

/// `losses[first + r] = ln Σ exp(logits[r, ·]) − logits[r, target]`, zero for a negative target,
/// and with `gradient` the logits become (softmax − one-hot) / count, zeros for a negative target.
/// One cube a row.
///
/// A target that is not below V gives NaN.
#[cube(launch, address_type = "dynamic")]
fn losses_of_rows<F: Float, I: Int>(
    logits: &mut Tensor<F>,
    targets: &Tensor<I>,
    count: &Tensor<f32>,
    losses: &mut Tensor<f32>,
    first: u32,
    #[comptime] gradient: bool,
    #[define(F, I)] _elements: [ElemType; 2],
) {
    let row = CUBE_POS;
    if row >= logits.shape(0) {
        terminate!();
    }
    let width = logits.shape(1);
    let base = row * width;
    let token = first as usize + row;
    let target = i32::cast_from(targets[token]);
    let unit = UNIT_POS as usize;

    let mut largest = f32::new(-3.0e38);
    let mut sum = f32::new(0.0);
    let mut c = unit;
    while c < width {
        let value = f32::cast_from(logits[base + c]);
        if value > largest {
            sum *= (largest - value).exp();
            largest = value;
        }
        sum += (value - largest).exp();
        c += THREADS;
    }
    let mut scratch = Shared::<[f32]>::new_slice(THREADS);
    let of_row = largest_of_cube(largest, &mut scratch);
    let sum = sum_of_lanes(sum * (largest - of_row).exp(), &mut scratch, THREADS);
    let log_sum = of_row + sum.ln();
    if unit == 0 {
        let mut loss = f32::new(0.0);
        if target >= 0 {
            loss = f32::reinterpret(0x7fc0_0000u32);
            if (target as usize) < width {
                loss = log_sum - f32::cast_from(logits[base + target as usize]);
            }
        }
        losses[token] = loss;
    }
    if comptime!(gradient) {
        // The target's logit is read above before it is written here.
        sync_cube();
        let mut factor = f32::new(0.0);
        if target >= 0 {
            factor = f32::new(1.0) / count[0];
        }
        let mut c = unit;
        while c < width {
            let mut value = f32::new(0.0);
            if target >= 0 {
                value = (f32::cast_from(logits[base + c]) - log_sum).exp();
                if c == target as usize {
                    value -= f32::new(1.0);
                }
                value *= factor;
            }
            logits[base + c] = F::cast_from(value);
            c += THREADS;
        }
    }
}

/// Rows of `part` [R, C] into those of `all` [N, C] from `first` on.
#[cube(launch, address_type = "dynamic")]
fn place_rows<F: Float>(
    part: &Tensor<F>,
    all: &mut Tensor<F>,
    first: u32,
    #[define(F)] _element: ElemType,
) {
    if ABSOLUTE_POS >= part.len() {
        terminate!();
    }
    all[first as usize * part.shape(1) + ABSOLUTE_POS] = part[ABSOLUTE_POS];
}

/// `sum[i] += part[i]`.
#[cube(launch, address_type = "dynamic")]
fn accumulate(part: &Tensor<f32>, sum: &mut Tensor<f32>) {
    if ABSOLUTE_POS >= sum.len() {
        terminate!();
    }
    sum[ABSOLUTE_POS] += part[ABSOLUTE_POS];
}

/// `x[i] *= factor[0]` in place.
#[cube(launch, address_type = "dynamic")]
fn scale_values<F: Float, G: Float>(
    x: &mut Tensor<F>,
    factor: &Tensor<G>,
    #[define(F, G)] _elements: [ElemType; 2],
) {
    if ABSOLUTE_POS >= x.len() {
        terminate!();
    }
    let scaled = f32::cast_from(x[ABSOLUTE_POS]) * f32::cast_from(factor[0]);
    x[ABSOLUTE_POS] = F::cast_from(scaled);
}

fn counted(targets: &CubeTensor) -> CubeTensor {
    let count = unwritten(targets, [1], DType::F32);
    if targets.meta.num_elements() == 0 {
        return zeros(targets, [1], DType::F32);
    }
    count_targets::launch(
        &targets.client,
        CubeCount::Static(1, 1, 1),
        threads(),
        addresses(&[targets]),
        targets.clone().into_tensor_arg(),
        count.clone().into_tensor_arg(),
        element(targets),
    );
    count
}

fn mean(losses: CubeTensor, count: CubeTensor) -> CubeTensor {
    let mean = unwritten(&losses, [1], DType::F32);
    mean_loss::launch(
        &mean.client,
        CubeCount::Static(1, 1, 1),
        threads(),
        addresses(&[&losses]),
        losses.into_tensor_arg(),
        count.into_tensor_arg(),
        mean.clone().into_tensor_arg(),
    );
    mean
}

/// Writes the losses of `logits` [R, V], which are those of tokens `first ..`, and with `gradient`
/// their gradient in their place.
fn row_losses(
    logits: &CubeTensor,
    targets: &CubeTensor,
    count: &CubeTensor,
    losses: &CubeTensor,
    first: usize,
    gradient: bool,
) {
    let [rows, _] = logits.meta.shape().dims();
    losses_of_rows::launch(
        &logits.client,
        cubes(rows),
        threads(),
        addresses(&[logits]),
        logits.clone().into_tensor_arg(),
        targets.clone().into_tensor_arg(),
        count.clone().into_tensor_arg(),
        losses.clone().into_tensor_arg(),
        first as u32,
        gradient,
        [element(logits), element(targets)],
    );
}

/// The mean cross-entropy of `logits` [N, V] with `targets` `[N]`, `[1]` in float32, and with
/// `gradient` the gradient of the logits in their type.
pub(crate) fn cross_entropy(
    logits: CubeTensor,
    targets: CubeTensor,
    gradient: bool,
) -> (CubeTensor, CubeTensor) {
    // Without a gradient nothing is written.
    let logits = if gradient {
        writable(logits)
    } else {
        into_contiguous(logits)
    };
    let targets = into_contiguous(targets);
    let [rows, vocabulary] = logits.meta.shape().dims();
    assert_eq!(targets.meta.num_elements(), rows, "a target for each row");
    let count = counted(&targets);
    let losses = match rows * vocabulary {
        0 => zeros(&logits, [rows.max(1)], DType::F32),
        _ => unwritten(&logits, [rows], DType::F32),
    };
    if rows * vocabulary > 0 {
        row_losses(&logits, &targets, &count, &losses, 0, gradient);
    }
    (mean(losses, count), logits)
}

/// Rows of logits that exist at a time: at most `logits` values, shared out evenly.
fn rows_per_block(tokens: usize, vocabulary: usize, logits: usize) -> usize {
    const MULTIPLE: usize = 64;
    let most = (logits / vocabulary.max(1) / MULTIPLE * MULTIPLE).max(MULTIPLE);
    let blocks = tokens.div_ceil(most).max(1);
    tokens
        .div_ceil(blocks)
        .next_multiple_of(MULTIPLE)
        .max(MULTIPLE)
}

/// The mean cross-entropy of softmax(hidden · weightᵀ), `[1]` in float32, and the wanted gradients
/// in the tensors' type: `hidden` [N, C], `weight` [V, C], `targets` `[N]`; about `logits` logits
/// exist at a time.
pub(crate) fn head_cross_entropy(
    hidden: CubeTensor,
    weight: CubeTensor,
    targets: CubeTensor,
    wanted: HeadGradientsWanted,
    logits: usize,
) -> (CubeTensor, [Option<CubeTensor>; 2]) {
    let [hidden, weight, targets] = [hidden, weight, targets].map(into_contiguous);
    let ([tokens, width], [vocabulary, features]) =
        (hidden.meta.shape().dims(), weight.meta.shape().dims());
    assert_eq!(
        width, features,
        "features of the hidden states and of the head's weight"
    );
    assert_eq!(
        targets.meta.num_elements(),
        tokens,
        "a target for each hidden state"
    );
    let dtype = hidden.dtype;
    let count = counted(&targets);
    let losses = match tokens * vocabulary {
        0 => zeros(&hidden, [tokens.max(1)], DType::F32),
        _ => unwritten(&hidden, [tokens], DType::F32),
    };
    let gradient = wanted != HeadGradientsWanted::default();
    let block = rows_per_block(tokens, vocabulary, logits);
    let mut d_hidden = None;
    let mut d_weight: Option<CubeTensor> = None;
    for first in (0..tokens).step_by(block).filter(|_| vocabulary > 0) {
        let end = (first + block).min(tokens);
        let part = into_contiguous(slice(hidden.clone(), &[first..end, 0..width]));
        let logits = product(part.clone(), transposed(weight.clone()), dtype);
        row_losses(&logits, &targets, &count, &losses, first, gradient);
        if wanted.hidden {
            let of_part = product(logits.clone(), weight.clone(), dtype);
            if end - first == tokens {
                d_hidden = Some(of_part);
            } else {
                let all =
                    d_hidden.get_or_insert_with(|| unwritten(&hidden, [tokens, width], dtype));
                place(of_part, all, first);
            }
        }
        if wanted.weight {
            let of_part = product(transposed(logits), part, DType::F32);
            match &d_weight {
                Some(sum) => add(of_part, sum),
                None => d_weight = Some(of_part),
            }
        }
    }
    let d_hidden = wanted
        .hidden
        .then(|| d_hidden.unwrap_or_else(|| zeros(&hidden, [tokens, width], dtype)));
    let d_weight = wanted.weight.then(|| match d_weight {
        Some(sum) if sum.dtype == weight.dtype => sum,
        Some(sum) => cast(sum, weight.dtype),
        None => zeros(&weight, [vocabulary, width], weight.dtype),
    });
    (mean(losses, count), [d_hidden, d_weight])
}

fn place(part: CubeTensor, all: &CubeTensor, first: usize) {
    let values = part.meta.num_elements();
    if values > 0 {
        place_rows::launch(
            &all.client,
            calculate_cube_count_elemwise(&all.client, values, threads()),
            threads(),
            addresses(&[all]),
            part.clone().into_tensor_arg(),
            all.clone().into_tensor_arg(),
            first as u32,
            element(&part),
        );
    }
}

fn add(part: CubeTensor, sum: &CubeTensor) {
    let values = sum.meta.num_elements();
    if values > 0 {
        accumulate::launch(
            &sum.client,
            calculate_cube_count_elemwise(&sum.client, values, threads()),
            threads(),
            addresses(&[sum]),
            part.into_tensor_arg(),
            sum.clone().into_tensor_arg(),
        );
    }
}

/// `gradient` times the one value of `factor`, in place where nobody else holds it.
pub(crate) fn scaled(gradient: CubeTensor, factor: CubeTensor) -> CubeTensor {
    let gradient = writable(gradient);
    let values = gradient.meta.num_elements();
    if values > 0 {
        scale_values::launch(
            &gradient.client,
            calculate_cube_count_elemwise(&gradient.client, values, threads()),
            threads(),
            addresses(&[&gradient]),
            gradient.clone().into_tensor_arg(),
            factor.clone().into_tensor_arg(),
            [element(&gradient), element(&factor)],
        );
    }
    gradient
}
