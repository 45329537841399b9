//! What the tests of decoding share: models with room for some blocks, texts, and comparisons.

use burn::tensor::{Int, Tensor, TensorData};
use simattn::{AttentionConfig, Decoder, ModelConfig, Positions};
use simattn_random::stream;

use crate::variants::models;

pub const VOCABULARY: usize = 31;

/// Every small model with room for some blocks, and one with learned positions.
pub fn all_models() -> Vec<(String, ModelConfig)> {
    let mut all = models();
    let (_, first) = all[0].clone();
    let learned = ModelConfig {
        positions: Positions::Learned,
        parallel_residual: true,
        qk_norm: true,
        ..first
    };
    all.push((
        "mha, learned positions, parallel, norms of heads".into(),
        learned,
    ));
    for (_, config) in &mut all {
        config.context = 600;
    }
    all
}

pub fn ids(count: usize, seed: u64) -> Vec<u32> {
    let mut chance = stream(seed, "ids");
    (0..count)
        .map(|_| chance.below(VOCABULARY as u64) as u32)
        .collect()
}

/// Logits of every place by the full pass.
pub fn full_pass(decoder: &Decoder, ids: &[u32]) -> Vec<f32> {
    let values: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
    let data = TensorData::new(values, [1, ids.len()]);
    let device = decoder.embedding.val().device();
    let logits = decoder.logits(Tensor::<2, Int>::from_data(data, &device));
    logits.into_data().iter::<f32>().collect()
}

pub fn relative(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let off: f64 = found.iter().zip(expected).map(|(a, b)| square(a - b)).sum();
    (off / expected.iter().map(|&x| square(x)).sum::<f64>()).sqrt()
}

pub fn same_bits(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let differs = |(a, b): (&f32, &f32)| a.to_bits() != b.to_bits();
    let count = found
        .iter()
        .zip(expected)
        .filter(|&pair| differs(pair))
        .count();
    assert_eq!(count, 0, "{what}: of {} logits so many differ", found.len());
}

pub fn is_sas(config: &ModelConfig) -> bool {
    matches!(config.attention, AttentionConfig::Sas(_))
}
