//! What completions and chats ask for alike.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use serde_json::Value;

use super::error::ApiError;
use super::fields::{Fields, wrong_kind};
use super::state::Model;
use crate::sampling::Sampling;
use crate::text::Stops;

/// Choices for one prompt at most.
const MOST_CHOICES: usize = 128;
/// More tokens than any context has.
const MOST_TOKENS: usize = 1 << 30;

/// The fields that both have.
pub(super) struct Asked {
    pub(super) sampling: Sampling,
    pub(super) choices: usize,
    pub(super) stops: Stops,
    pub(super) ends: Arc<[u32]>,
    pub(super) max_tokens: Option<usize>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl Asked {
    /// Reads them.
    pub(super) fn read(fields: &mut Fields, model: &Model) -> Result<Self, ApiError> {
        if let Some(name) = fields.text("model")?
            && name != model.name
        {
            let shown: String = name.chars().take(80).collect();
            let message = format!(
                "there is no model {shown:?} here; the only one is {:?}",
                model.name
            );
            let error = ApiError::new(axum::http::StatusCode::NOT_FOUND, message);
            return Err(error.about("model").with_code("model_not_found"));
        }
        let stream = fields.flag("stream")?;
        let include_usage = stream_options(fields, stream)?;
        let choices = fields.count("n", MOST_CHOICES)?.unwrap_or(1);
        if choices == 0 {
            return Err(ApiError::field("n", "at least 1 is needed"));
        }
        let stops = stops(fields)?;
        Ok(Self {
            sampling: sampling(fields, model)?,
            choices,
            stops,
            ends: ends(fields, model)?,
            max_tokens: fields.count("max_tokens", MOST_TOKENS)?,
            stream,
            include_usage,
        })
    }
}

fn stream_options(fields: &mut Fields, stream: bool) -> Result<bool, ApiError> {
    let Some(options) = fields.take("stream_options") else {
        return Ok(false);
    };
    if !stream {
        return Err(ApiError::field("stream_options", "only with stream = true"));
    }
    let mut options = Fields::within("stream_options", options)?;
    let include_usage = options.flag("include_usage")?;
    // It only pads chunks against those who look at their sizes.
    options.take("include_obfuscation");
    options.refuse_rest("stream_options.")?;
    Ok(include_usage)
}

fn stops(fields: &mut Fields) -> Result<Stops, ApiError> {
    let texts = match fields.take("stop") {
        None => Vec::new(),
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => {
            let text = |value: Value| match value {
                Value::String(text) => Ok(text),
                other => Err(wrong_kind("stop", "a text or a list of texts", &other)),
            };
            list.into_iter().map(text).collect::<Result<_, _>>()?
        }
        Some(other) => return Err(wrong_kind("stop", "a text or a list of texts", &other)),
    };
    let wrong = |error: crate::text::StopsError| ApiError::wrong(error.to_string()).about("stop");
    Stops::new(texts).map_err(wrong)
}

/// The ids that end an answer.
fn ends(fields: &mut Fields, model: &Model) -> Result<Arc<[u32]>, ApiError> {
    let ignored = fields.flag("ignore_eos")?;
    let Some(list) = fields.take("stop_token_ids") else {
        return Ok(if ignored {
            Arc::new([])
        } else {
            model.ends.clone()
        });
    };
    let mut ends = ids("stop_token_ids", &list)?;
    if !ignored {
        ends.extend(model.ends.iter());
    }
    Ok(ends.into())
}

/// A list of token ids.
pub(super) fn ids(name: &str, value: &Value) -> Result<Vec<u32>, ApiError> {
    let wrong = |value: &Value| wrong_kind(name, "a list of token ids", value);
    let list = value.as_array().ok_or_else(|| wrong(value))?;
    let id = |value: &Value| {
        let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
        id.ok_or_else(|| wrong(value))
    };
    list.iter().map(id).collect()
}

fn sampling(fields: &mut Fields, model: &Model) -> Result<Sampling, ApiError> {
    let plain = Sampling::default();
    let mut number = |name: &str, default: f64| -> Result<f64, ApiError> {
        Ok(fields.number(name)?.unwrap_or(default))
    };
    let mut sampling = Sampling {
        temperature: number("temperature", plain.temperature)?,
        top_p: number("top_p", plain.top_p)?,
        min_p: number("min_p", plain.min_p)?,
        repetition_penalty: number("repetition_penalty", plain.repetition_penalty)?,
        frequency_penalty: number("frequency_penalty", plain.frequency_penalty)?,
        presence_penalty: number("presence_penalty", plain.presence_penalty)?,
        ..plain
    };
    sampling.top_k = match fields.take("top_k") {
        // Some clients write "all" so.
        Some(value) if value.as_i64() == Some(-1) => 0,
        Some(value) => {
            let count = value.as_u64().filter(|&count| count <= MOST_TOKENS as u64);
            count.ok_or_else(|| wrong_kind("top_k", "a whole number from -1 on", &value))? as usize
        }
        None => 0,
    };
    sampling.seed = match fields.take("seed") {
        Some(value) => match (value.as_u64(), value.as_i64()) {
            (Some(seed), _) => seed,
            // Negative seeds are as good as others.
            (None, Some(seed)) => seed as u64,
            (None, None) => return Err(wrong_kind("seed", "a whole number", &value)),
        },
        None => drawn_seed(),
    };
    if let Some(bias) = fields.take("logit_bias") {
        sampling.logit_bias = logit_bias(&bias)?;
    }
    let checked = sampling.validate(model.scheduler.vocabulary());
    checked.map_err(|error| match &error {
        crate::sampling::SamplingError::Range { field, .. } => {
            ApiError::wrong(error.to_string()).about(field)
        }
        _ => ApiError::wrong(error.to_string()).about("logit_bias"),
    })?;
    Ok(sampling)
}

fn logit_bias(value: &Value) -> Result<Vec<(u32, f64)>, ApiError> {
    let wrong = || wrong_kind("logit_bias", "an object of token ids and numbers", value);
    let entries = value.as_object().ok_or_else(wrong)?;
    let entry = |(id, bias): (&String, &Value)| {
        let id = id.parse::<u32>().map_err(|_| wrong())?;
        let bias = bias
            .as_f64()
            .filter(|bias| bias.is_finite())
            .ok_or_else(wrong)?;
        Ok((id, bias))
    };
    entries.iter().map(entry).collect()
}

/// A seed for a request without one. It fits a JSON number of any reader.
fn drawn_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 11
}
