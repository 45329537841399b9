use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use burn::tensor::Device;

use super::{
    HuggingFaceError as Error, Weights,
    families::Family,
    fields::Fields,
    file_names::CONFIG,
    layout::{GPT2_PREFIX, Layout, layout},
    simattn_type,
};
use crate::{checkpoint, config::ModelConfig, cost::Cost, decoder::Decoder, named};

/// A model that was read.
#[derive(Debug)]
pub struct Imported {
    /// How it was spelled.
    pub family: Family,
    /// The model; its configuration is [`Decoder::config`].
    pub decoder: Decoder,
}

/// Reads the folder of a Hugging Face model onto `device`, as float32.
///
/// # Errors
/// The first thing in the folder that is missing, damaged, contradictory or not understood; then
/// nothing has been written anywhere.
pub fn import(folder: &Path, device: &Device) -> Result<Imported, Error> {
    let (family, config) = configuration(folder)?;
    let weights = Weights::open(folder)?;
    let decoder = match family {
        Family::Simattn => read_own(folder, &config, &weights, device)?,
        _ => read_family(folder, family, &config, &weights, device)?,
    };
    Ok(Imported { family, decoder })
}

/// Bytes of the model that [`import`] would make, from the heads of the files alone. Of what
/// configuration and files describe it is the smaller, since they must agree.
///
/// # Errors
/// As [`import`], as far as it comes.
pub fn weight_bytes(folder: &Path) -> Result<u128, Error> {
    let (_, config) = configuration(folder)?;
    let held = Weights::open(folder)?.elements();
    Ok(Cost::of(&config)
        .parameters
        .total
        .min(held)
        .saturating_mul(4))
}

/// What `config.json` describes.
fn configuration(folder: &Path) -> Result<(Family, ModelConfig), Error> {
    let path = folder.join(CONFIG);
    if !path.is_file() {
        return Err(Error::Absent {
            path: folder.into(),
            missing: CONFIG.into(),
        });
    }
    let (family, config) = Family::read(Fields::read(&path)?)?;
    if config.vocabulary == 0 {
        return Err(Error::Field {
            path,
            field: "vocab_size".into(),
            why: "= 0: a model needs tokens".into(),
        });
    }
    Ok((family, config))
}

/// A model in another make's layout.
fn read_family(
    folder: &Path,
    family: Family,
    config: &ModelConfig,
    weights: &Weights,
    device: &Device,
) -> Result<Decoder, Error> {
    let prefix = match weights.shape("wte.weight") {
        Some(_) => "",
        None => GPT2_PREFIX,
    };
    // All are checked before the first is read, so that the model to fill is no larger than the
    // files, whatever the configuration says.
    let mut known = BTreeSet::new();
    for tensor in layout(family, config, prefix) {
        weights.check(&tensor.name, &tensor.shape())?;
        known.insert(tensor.name);
    }
    for name in weights.names().filter(|name| !known.contains(*name)) {
        check_extra(folder, family, config, weights, name)?;
    }
    let places: HashMap<String, (Layout, usize)> = layout(family, config, prefix)
        .flat_map(|tensor| {
            let parts = tensor.parts.clone().into_iter().enumerate();
            parts.map(move |(place, part)| (part, (tensor.clone(), place)))
        })
        .collect();
    let mut ready: HashMap<String, Vec<f32>> = HashMap::new();
    fill(blank(folder, config, device)?, |ours| {
        if let Some(values) = ready.remove(ours) {
            return Ok(values);
        }
        let (tensor, place) = places.get(ours).ok_or_else(|| Error::Missing {
            path: folder.into(),
            name: ours.into(),
        })?;
        let mut parts = tensor.split(weights.read(&tensor.name)?);
        let wanted = parts.swap_remove(*place).1;
        ready.extend(parts);
        Ok(wanted)
    })
}

/// A model in our own layout.
fn read_own(
    folder: &Path,
    config: &ModelConfig,
    weights: &Weights,
    device: &Device,
) -> Result<Decoder, Error> {
    let (described, held) = (Cost::of(config).parameters.total, weights.elements());
    if described > held {
        return Err(Error::Size {
            path: folder.into(),
            described,
            held,
        });
    }
    let model = blank(folder, config, device)?;
    let mut known = BTreeSet::new();
    for parameter in named::parameters(&model) {
        let name = simattn_type::name(&parameter.name);
        weights.check(&name, &parameter.shape)?;
        known.insert(name);
    }
    if let Some(name) = weights.names().find(|name| !known.contains(*name)) {
        return Err(unexpected(
            folder,
            name,
            "config.json asks for none of this name",
        ));
    }
    fill(model, |ours| weights.read(&simattn_type::name(ours)))
}

fn blank(folder: &Path, config: &ModelConfig, device: &Device) -> Result<Decoder, Error> {
    Decoder::blank(config, device).map_err(|source| Error::Config {
        path: folder.join(CONFIG),
        source,
    })
}

/// Fills a model; the first error stops the reading.
fn fill(
    model: Decoder,
    mut read: impl FnMut(&str) -> Result<Vec<f32>, Error>,
) -> Result<Decoder, Error> {
    let mut failed = None;
    let model = checkpoint::filled(model, &mut |name| {
        if failed.is_some() {
            return None;
        }
        read(name).map_err(|error| failed = Some(error)).ok()
    });
    match failed {
        Some(error) => Err(error),
        None => Ok(model),
    }
}

/// Takes what is known to say nothing, and refuses any other tensor.
fn check_extra(
    folder: &Path,
    family: Family,
    config: &ModelConfig,
    weights: &Weights,
    name: &str,
) -> Result<(), Error> {
    if is_buffer(family, config, name) {
        return Ok(());
    }
    let (head, embedding) = match family {
        Family::GptNeoX => ("embed_out.weight", "gpt_neox.embed_in.weight"),
        Family::Gpt2 if weights.shape("wte.weight").is_some() => ("lm_head.weight", "wte.weight"),
        Family::Gpt2 => ("lm_head.weight", "transformer.wte.weight"),
        _ => ("lm_head.weight", "model.embed_tokens.weight"),
    };
    if name != head {
        return Err(unexpected(
            folder,
            name,
            "config.json asks for none of this name",
        ));
    }
    // A tied head is written by some programs all the same.
    let same = weights.shape(name) == weights.shape(embedding) && {
        let (head, embedding) = (weights.read(name)?, weights.read(embedding)?);
        let mut pairs = head.iter().zip(&embedding);
        pairs.all(|(a, b)| a.to_bits() == b.to_bits())
    };
    if same {
        return Ok(());
    }
    let why = "config.json ties the head to the embedding, and this one differs from it";
    Err(unexpected(folder, name, why))
}

/// Whether a tensor is a constant that older versions wrote beside the weights: the causal mask,
/// and the rotary frequencies, which the configuration gives.
fn is_buffer(family: Family, config: &ModelConfig, name: &str) -> bool {
    let (before, buffers): (&[&str], &[&str]) = match family {
        Family::GptNeoX => (
            &["gpt_neox.layers."],
            &[
                "attention.bias",
                "attention.masked_bias",
                "attention.rotary_emb.inv_freq",
            ],
        ),
        Family::Gpt2 => (
            &["transformer.h.", "h."],
            &["attn.bias", "attn.masked_bias"],
        ),
        _ => (&["model.layers."], &["self_attn.rotary_emb.inv_freq"]),
    };
    let within = before.iter().find_map(|start| name.strip_prefix(start));
    let Some((layer, rest)) = within.and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    layer
        .parse::<usize>()
        .is_ok_and(|layer| layer < config.layers)
        && buffers.contains(&rest)
}

fn unexpected(folder: &Path, name: &str, why: &'static str) -> Error {
    Error::Unexpected {
        path: folder.into(),
        name: name.into(),
        why,
    }
}
