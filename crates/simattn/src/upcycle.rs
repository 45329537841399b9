//! A pretrained model as a SAS model that computes the same function.
//!
//! Every expanded head starts as a copy of the head in its slot: the first convolution's centre tap
//! is 1 where an expanded head meets its own head, and everything else in it is 0. The features'
//! first map is the identity, padded with zeros, times √(D'/D) for q, so that the scale 1/√D' gives
//! the old scores. The second maps are zero, and PEAA's average of equal groups is the old output.
//!
//! Copies that are exactly equal get exactly equal gradients and would stay copies, and new
//! features that are zero in q and in k get none; noise on the expansions' weights separates them.

use burn::tensor::Device;
use simattn_random::stream;
use thiserror::Error;

use crate::{
    checkpoint,
    config::{
        Aggregation, AttentionConfig, GroupedConfig, ModelConfig, ModelConfigError,
        MultiHeadConfig, Positions, RopePlacement, SasConfig,
    },
    decoder::Decoder,
    finite::{self, NotFinite},
    named,
};

/// What a model is to become.
#[derive(Clone, Debug, PartialEq)]
pub struct Upcycle {
    /// Heads H' after the expansion, a multiple of the model's H.
    pub expanded_heads: usize,
    /// Width D' of q and k after the expansion, at least the model's D.
    pub expanded_head_dim: usize,
    /// Kernel size κ, odd.
    pub kernel_size: usize,
    /// Standard deviation of what is added to the expansions' weights, in units of 1/√fan_in; 0
    /// keeps the function exactly.
    pub noise: f64,
    /// Of the noise.
    pub seed: u64,
}

/// A model that cannot become what was asked.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum UpcycleError {
    /// Its attention is none that SAS contains.
    #[error("a model with {kind} attention cannot be upcycled: only mha, gqa and mqa models can")]
    Attention {
        /// What it has.
        kind: &'static str,
    },
    /// Fewer features than before.
    #[error("expanded_head_dim = {asked} is less than the model's head_dim = {head_dim}")]
    Narrower {
        /// D'.
        asked: usize,
        /// D.
        head_dim: usize,
    },
    /// Noise that is no standard deviation.
    #[error("noise = {noise} is not a finite number, 0 or more")]
    Noise {
        /// What was asked.
        noise: f64,
    },
    /// A weight of the model, or one with its noise, is NaN or infinite.
    #[error("{0}: such a model is not made")]
    NotFinite(NotFinite),
    /// The other numbers do not fit.
    #[error(transparent)]
    Config(#[from] ModelConfigError),
}

/// Makes the SAS model.
///
/// # Errors
/// If the model has another attention than MHA, GQA or MQA, the numbers fit no SAS, or a weight is
/// not finite.
pub fn upcycle(model: &Decoder, options: &Upcycle) -> Result<Decoder, UpcycleError> {
    if !(options.noise >= 0.0 && options.noise.is_finite()) {
        return Err(UpcycleError::Noise {
            noise: options.noise,
        });
    }
    let config = configuration(model.config(), options)?;
    let AttentionConfig::Sas(sas) = &config.attention else {
        return Err(UpcycleError::Attention { kind: "another" });
    };
    let device: Device = model.embedding.val().device();
    let empty = Decoder::blank(&config, &device)?;
    let shapes = named::parameters(&empty).into_iter();
    let mut shapes: Vec<(String, Vec<usize>)> = shapes.map(|p| (p.name, p.shape)).collect();
    shapes.sort_unstable();
    let mut old: Vec<_> = checkpoint::tensors(model)
        .into_iter()
        .map(|tensor| (tensor.name, Some(tensor.values)))
        .collect();
    old.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let mut failed = None;
    let made = checkpoint::filled(empty, &mut |name| {
        let values = match old.binary_search_by(|(other, _)| other.as_str().cmp(name)) {
            Ok(place) => old[place].1.take()?,
            Err(_) => {
                let place = shapes.binary_search_by(|(other, _)| other.as_str().cmp(name));
                expansion(name, &shapes[place.ok()?].1, sas, options)
            }
        };
        if let Err(error) = finite::check(name, &values) {
            failed.get_or_insert(error);
        }
        Some(values)
    });
    match failed {
        Some(error) => Err(UpcycleError::NotFinite(error)),
        None => Ok(made),
    }
}

/// The configuration of the model that [`upcycle`] would make: SAS in place of its attention.
///
/// # Errors
/// As [`upcycle`].
pub fn configuration(model: &ModelConfig, options: &Upcycle) -> Result<ModelConfig, UpcycleError> {
    let (heads, kv_heads, head_dim, rope_base, rotary_dim) = match &model.attention {
        AttentionConfig::Mha(MultiHeadConfig {
            heads,
            head_dim,
            rope_base,
            rotary_dim,
        }) => (*heads, *heads, *head_dim, *rope_base, *rotary_dim),
        AttentionConfig::Mqa(c) => (c.heads, 1, c.head_dim, c.rope_base, c.rotary_dim),
        AttentionConfig::Gqa(GroupedConfig {
            heads,
            kv_heads,
            head_dim,
            rope_base,
            rotary_dim,
        }) => (*heads, *kv_heads, *head_dim, *rope_base, *rotary_dim),
        other => {
            return Err(UpcycleError::Attention { kind: other.name() });
        }
    };
    if options.expanded_head_dim < head_dim {
        return Err(UpcycleError::Narrower {
            asked: options.expanded_head_dim,
            head_dim,
        });
    }
    let rotates = model.positions == Positions::Rotary;
    let config = ModelConfig {
        attention: AttentionConfig::Sas(SasConfig {
            heads,
            kv_heads: (kv_heads != heads).then_some(kv_heads),
            head_dim,
            expanded_heads: options.expanded_heads,
            expanded_head_dim: options.expanded_head_dim,
            kernel_size: options.kernel_size,
            expand_heads: true,
            expand_features: true,
            residual: true,
            relu: true,
            aggregation: Aggregation::Peaa,
            rope: if rotates {
                RopePlacement::After
            } else {
                RopePlacement::None
            },
            rope_base,
            // The features that rotated keep rotating, at the same speeds.
            rotary_dim: rotates.then(|| rotary_dim.unwrap_or(head_dim)),
        }),
        ..model.clone()
    };
    config.validate()?;
    Ok(config)
}

/// An expansion's tensor, by its name.
fn expansion(name: &str, shape: &[usize], sas: &SasConfig, options: &Upcycle) -> Vec<f32> {
    let count = shape.iter().product();
    let mut values = vec![0.0_f32; count];
    if !name.ends_with(".weight") {
        return values;
    }
    let inner: usize = shape[1..].iter().product();
    if options.noise > 0.0 {
        let sigma = options.noise / (inner as f64).sqrt();
        let mut chance = stream(options.seed, &format!("upcycle.{name}"));
        values.fill_with(|| (sigma * chance.normal()) as f32);
    }
    let query = name.contains(".expand_q.");
    if name.ends_with(".heads1.weight") {
        let (inputs, kernel) = (shape[1], shape[2]);
        let shared = sas.heads / inputs;
        for expanded in 0..shape[0] {
            let slot = expanded % sas.heads;
            values[expanded * inner + slot / shared * kernel + kernel / 2] += 1.0;
        }
    } else if name.ends_with(".features1.weight") {
        let scale = if query {
            (sas.expanded_head_dim as f64 / sas.head_dim as f64).sqrt()
        } else {
            1.0
        };
        for feature in 0..sas.head_dim {
            values[feature * inner + feature] += scale as f32;
        }
    }
    values
}
