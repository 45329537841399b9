use proptest::prelude::*;
use simattn_kernels::call::HeadGradientsWanted;
use simattn_kernels::cpu::loss::{HeadShape, IGNORED, cross_entropy, head_cross_entropy};
use simattn_random::stream;

use crate::{
    assert_each, assert_same_on_any_number_of_threads, assert_sums, normals, over_nan, wide,
};

const BOTH: HeadGradientsWanted = HeadGradientsWanted {
    hidden: true,
    weight: true,
};

/// Targets, about one in seven of which does not count.
fn targets(tokens: usize, vocabulary: usize) -> Vec<u32> {
    let mut numbers = stream(tokens as u64, "targets");
    let target = |_| {
        if numbers.below(7) == 0 {
            IGNORED
        } else {
            numbers.below(vocabulary as u64) as u32
        }
    };
    (0..tokens).map(target).collect()
}

/// Losses, and the gradient of their mean, of logits in float64.
fn cross_entropy_64(vocabulary: usize, logits: &[f64], targets: &[u32]) -> (Vec<f64>, Vec<f64>) {
    let counted = targets.iter().filter(|&&target| target != IGNORED).count() as f64;
    let (mut losses, mut gradient) = (vec![], vec![]);
    for (row, &target) in logits.chunks(vocabulary).zip(targets) {
        if target == IGNORED {
            losses.push(0.0);
            gradient.extend(row.iter().map(|_| 0.0));
            continue;
        }
        let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = row.iter().map(|logit| (logit - most).exp()).sum();
        losses.push(sum.ln() - (row[target as usize] - most));
        let probability =
            |i: usize| (row[i] - most).exp() / sum - f64::from(u8::from(i == target as usize));
        gradient.extend((0..vocabulary).map(|i| probability(i) / counted));
    }
    (losses, gradient)
}

fn mean(losses: &[f64], targets: &[u32]) -> f64 {
    losses.iter().sum::<f64>() / targets.iter().filter(|&&target| target != IGNORED).count() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn cross_entropy_is_that_of_plain_loops(tokens in 0..60_usize, vocabulary in 1..400_usize, size in 0.1..80.0_f32) {
        let logits: Vec<f32> = normals("logits", tokens * vocabulary).iter().map(|x| x * size).collect();
        let targets = targets(tokens, vocabulary);
        let (losses, gradient) = cross_entropy_64(vocabulary, &wide(&logits), &targets);
        let plain = cross_entropy(vocabulary, &logits, &targets, None);
        assert_each("loss", &plain.token_losses, &losses, 3e-7, 3e-7);
        let mut with = None;
        let got = over_nan(logits.len(), |out| with = Some(cross_entropy(vocabulary, &logits, &targets, Some(out))));
        let with = with.expect("a loss");
        prop_assert_eq!(&with.token_losses, &plain.token_losses);
        prop_assert_eq!(with.mean.to_bits(), plain.mean.to_bits());
        prop_assert_eq!(with.counted, targets.iter().filter(|&&target| target != IGNORED).count());
        if with.counted > 0 {
            prop_assert!((with.mean - mean(&losses, &targets)).abs() <= 3e-7 * (1.0 + with.mean));
            assert_each("gradient", &got, &gradient, 2e-6, 2e-7 / with.counted as f64);
        } else {
            prop_assert!(with.mean.is_nan());
        }
    }

    #[test]
    fn the_head_is_that_of_plain_loops(tokens in 1..90_usize, width in 1..40_usize, vocabulary in 1..150_usize) {
        let (hidden, weight) = (normals("hidden", tokens * width), normals("weight", vocabulary * width));
        let targets = targets(tokens, vocabulary);
        let dot = |n: usize, v: usize| -> f64 {
            (0..width).map(|c| f64::from(hidden[n * width + c]) * f64::from(weight[v * width + c])).sum()
        };
        let logits: Vec<f64> = (0..tokens * vocabulary).map(|i| dot(i / vocabulary, i % vocabulary)).collect();
        let (losses, gradient) = cross_entropy_64(vocabulary, &logits, &targets);
        let shape = HeadShape { tokens, width, vocabulary };
        let (loss, gradients) = head_cross_entropy(shape, &hidden, &weight, &targets, BOTH);
        assert_each("loss", &loss.token_losses, &losses, 2e-6, 1e-5);
        if loss.counted == 0 {
            return Ok(());
        }
        // Probabilities are rounded before 1 is taken from the target's, so that counts for the
        // size of a gradient.
        let counted = loss.counted as f64;
        let size = |i: usize| {
            let is_target = targets[i / vocabulary] as usize == i % vocabulary;
            gradient[i].abs() + if is_target { 2.0 / counted } else { 0.0 }
        };
        let (mut d_hidden, mut d_weight) = (vec![0.0; hidden.len()], vec![0.0; weight.len()]);
        let (mut hidden_sizes, mut weight_sizes) = (d_hidden.clone(), d_weight.clone());
        for (i, gradient) in gradient.iter().enumerate() {
            let (n, v) = (i / vocabulary, i % vocabulary);
            for c in 0..width {
                let (h, w) = (f64::from(hidden[n * width + c]), f64::from(weight[v * width + c]));
                d_hidden[n * width + c] += gradient * w;
                d_weight[v * width + c] += gradient * h;
                hidden_sizes[n * width + c] += size(i) * w.abs();
                weight_sizes[v * width + c] += size(i) * h.abs();
            }
        }
        // A logit of this size moves probabilities by up to its own rounding, 5e-6.
        let got = gradients.hidden.clone().expect("asked for");
        assert_sums("d hidden", &got, &d_hidden, &hidden_sizes, 1e-5);
        let got = gradients.weight.clone().expect("asked for");
        assert_sums("d weight", &got, &d_weight, &weight_sizes, 1e-5);
        let only = |wanted| head_cross_entropy(shape, &hidden, &weight, &targets, wanted);
        let (same, none) = only(HeadGradientsWanted::default());
        prop_assert_eq!(&same.token_losses, &loss.token_losses);
        prop_assert!(none.hidden.is_none() && none.weight.is_none());
        prop_assert_eq!(only(HeadGradientsWanted { hidden: true, weight: false }).1.hidden, gradients.hidden);
        prop_assert_eq!(only(HeadGradientsWanted { hidden: false, weight: true }).1.weight, gradients.weight);
    }
}

#[test]
fn a_vocabulary_that_needs_several_blocks_gives_the_same_bits_on_any_number_of_threads() {
    // 64 rows of this vocabulary are a block, so 150 tokens need three.
    let (tokens, width, vocabulary) = (150, 8, 250_000);
    let (hidden, weight) = (
        normals("hidden", tokens * width),
        normals("weight", vocabulary * width),
    );
    let targets = targets(tokens, vocabulary);
    let shape = HeadShape {
        tokens,
        width,
        vocabulary,
    };
    let mut losses = Vec::new();
    for n in 0..tokens {
        let dot = |v: usize| -> f64 {
            (0..width)
                .map(|c| f64::from(hidden[n * width + c]) * f64::from(weight[v * width + c]))
                .sum()
        };
        let sum: f64 = (0..vocabulary).map(|v| dot(v).exp()).sum();
        losses.push(if targets[n] == IGNORED {
            0.0
        } else {
            sum.ln() - dot(targets[n] as usize)
        });
    }
    let (loss, _) = head_cross_entropy(
        shape,
        &hidden,
        &weight,
        &targets,
        HeadGradientsWanted::default(),
    );
    assert_each("loss", &loss.token_losses, &losses, 2e-6, 1e-5);
    // The gradient of the weight is a sum over blocks: all rows together give Σ d = 0 over the
    // vocabulary.
    assert_same_on_any_number_of_threads(|| {
        let (loss, gradients) = head_cross_entropy(shape, &hidden, &weight, &targets, BOTH);
        let columns: Vec<f64> = (0..width)
            .map(|c| {
                gradients
                    .weight
                    .iter()
                    .flatten()
                    .skip(c)
                    .step_by(width)
                    .map(|&d| f64::from(d))
                    .sum()
            })
            .collect();
        assert!(columns.iter().all(|sum| sum.abs() < 1e-4), "{columns:?}");
        vec![
            loss.token_losses,
            gradients.hidden.expect("asked for"),
            gradients.weight.expect("asked for"),
        ]
    });
}

#[test]
fn a_logit_that_is_not_a_number_shows_in_the_loss() {
    let loss = cross_entropy(3, &[0.0, f32::NAN, 1.0, 0.0, 0.0, 0.0], &[0, 1], None);
    assert!(loss.token_losses[0].is_nan() && loss.mean.is_nan());
    assert!((loss.token_losses[1] - 3_f32.ln()).abs() < 1e-6);
}

#[test]
#[should_panic(expected = "target 3 in a vocabulary of 3")]
fn a_target_outside_the_vocabulary_is_refused() {
    cross_entropy(3, &[0.0; 3], &[3], None);
}
