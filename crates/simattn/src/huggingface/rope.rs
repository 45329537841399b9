use serde_json::{Value, json};

use super::{HuggingFaceError as Error, fields::Fields};
use crate::config::RopeScaling;

/// What a configuration says about rotary embeddings.
pub(super) struct Rope {
    pub(super) base: f64,
    pub(super) scaling: RopeScaling,
    /// The share of a head's features that rotates, if given.
    pub(super) share: Option<f64>,
}

/// The base that `transformers` takes for an absent one, in all families here.
const BASE: f64 = 10_000.0;

impl Rope {
    /// Takes the fields of both spellings: `rope_parameters`, or `base_field`, `share_field` and
    /// `rope_scaling` of versions before 5.
    pub(super) fn take(
        fields: &mut Fields,
        base_field: &str,
        share_field: Option<&str>,
    ) -> Result<Self, Error> {
        let mut base = fields.optional_number(base_field)?;
        let mut share = match share_field {
            Some(field) => fields.optional_number(field)?,
            None => None,
        };
        let old = fields.object("rope_scaling", "rope_scaling.")?;
        let new = fields.object("rope_parameters", "rope_parameters.")?;
        if old.is_some() && new.is_some() {
            return Err(fields.wrong("rope_scaling", "stands beside rope_parameters: keep one"));
        }
        let mut scaling = RopeScaling::None;
        if let Some(mut inner) = old.or(new) {
            for (value, field) in [
                (&mut base, Some("rope_theta")),
                (&mut share, share_field.map(|_| "partial_rotary_factor")),
            ] {
                let Some(field) = field else { continue };
                let Some(given) = inner.optional_number(field)? else {
                    continue;
                };
                if value.is_some_and(|outer| outer != given) {
                    return Err(inner.wrong(field, "contradicts the field outside"));
                }
                *value = Some(given);
            }
            scaling = kind(&mut inner)?;
            inner.finish(&[])?;
        }
        Ok(Self {
            base: base.unwrap_or(BASE),
            scaling,
            share,
        })
    }
}

fn kind(fields: &mut Fields) -> Result<RopeScaling, Error> {
    let new = fields.text("rope_type")?;
    let old = fields.text("type")?;
    if let (Some(new), Some(old)) = (&new, &old)
        && new != old
    {
        return Err(fields.wrong("type", format!("= {old:?} contradicts rope_type = {new:?}")));
    }
    let name = new.or(old);
    match name.as_deref() {
        None | Some("default") => Ok(RopeScaling::None),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: fields.number("factor")?,
        }),
        Some("llama3") => Ok(RopeScaling::Llama3 {
            factor: fields.number("factor")?,
            low_frequency_factor: fields.number("low_freq_factor")?,
            high_frequency_factor: fields.number("high_freq_factor")?,
            original_context: fields.count("original_max_position_embeddings")?,
        }),
        Some(other) => Err(fields.wrong(
            "rope_type",
            format!("= {other:?} is not supported: only default, linear and llama3 are"),
        )),
    }
}

/// The scaling as `rope_scaling` of a `config.json`; null for none.
pub(super) fn written(scaling: &RopeScaling) -> Value {
    match *scaling {
        RopeScaling::None => Value::Null,
        RopeScaling::Linear { factor } => json!({ "rope_type": "linear", "factor": factor }),
        RopeScaling::Llama3 {
            factor,
            low_frequency_factor,
            high_frequency_factor,
            original_context,
        } => json!({
            "rope_type": "llama3",
            "factor": factor,
            "low_freq_factor": low_frequency_factor,
            "high_freq_factor": high_frequency_factor,
            "original_max_position_embeddings": original_context,
        }),
    }
}
