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
    /// Takes the fields of all spellings: `rope_parameters`, or `rope_theta`,
    /// `partial_rotary_factor` and `rope_scaling` of versions before 5, and the names
    /// `[base, share]` that a family had for the first two before. Without such names the whole
    /// head rotates.
    pub(super) fn take(
        fields: &mut Fields,
        older: Option<[&'static str; 2]>,
    ) -> Result<Self, Error> {
        let [old_base, old_share] = older.map_or([None; 2], |names| names.map(Some));
        let mut base = None;
        for field in old_base.into_iter().chain(["rope_theta"]) {
            agree(fields, field, &mut base)?;
        }
        let mut share = None;
        if let Some(old_share) = old_share {
            for field in [old_share, "partial_rotary_factor"] {
                agree(fields, field, &mut share)?;
            }
        }
        let old = fields.object("rope_scaling", "rope_scaling.")?;
        let new = fields.object("rope_parameters", "rope_parameters.")?;
        if old.is_some() && new.is_some() {
            return Err(fields.wrong("rope_scaling", "is given beside rope_parameters: keep one"));
        }
        let mut scaling = RopeScaling::None;
        if let Some(mut inner) = old.or(new) {
            agree(&mut inner, "rope_theta", &mut base)?;
            let mut all = Some(1.0);
            let part = match older {
                Some(_) => &mut share,
                None => &mut all,
            };
            agree(&mut inner, "partial_rotary_factor", part)?;
            scaling = kind(&mut inner)?;
            inner.finish("")?;
        }
        Ok(Self {
            base: base.unwrap_or(BASE),
            scaling,
            share,
        })
    }
}

/// Takes a number that is given under several names, and must be the same under all of them.
fn agree(fields: &mut Fields, field: &str, known: &mut Option<f64>) -> Result<(), Error> {
    let Some(given) = fields.optional_number(field)? else {
        return Ok(());
    };
    match known.replace(given) {
        Some(other) if other != given => Err(fields.wrong(
            field,
            format!("= {given} contradicts {other}, which another field says"),
        )),
        _ => Ok(()),
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
        None | Some("default") => {
            // Of a context before it was stretched, which it was not.
            fields.optional_count("original_max_position_embeddings")?;
            Ok(RopeScaling::None)
        }
        Some("linear") => {
            // The factor alone counts.
            fields.optional_count("original_max_position_embeddings")?;
            Ok(RopeScaling::Linear {
                factor: fields.number("factor")?,
            })
        }
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
