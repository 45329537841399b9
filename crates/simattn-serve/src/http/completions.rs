//! Completions: prompts that are continued.

use serde_json::Value;

use super::asked::{Asked, ids};
use super::error::ApiError;
use super::fields::{Fields, wrong_kind};
use super::reply::{Echo, Prepared, Shape};
use super::state::Model;
use crate::scheduler::Request;
use crate::text::{Characters, Output};

/// Likeliest tokens at most.
const MOST_LOGPROBS: usize = 5;
/// Tokens where a request does not say how many.
const DEFAULT_TOKENS: usize = 16;
/// Prompts of one request at most.
const MOST_PROMPTS: usize = 256;

/// A prompt as it was sent.
enum Prompt {
    Text(String),
    Ids(Vec<u32>),
}

/// Reads a body.
pub(super) fn read(body: &[u8], model: &Model) -> Result<Prepared, ApiError> {
    let mut fields = Fields::parse(body)?;
    let asked = Asked::read(&mut fields, model)?;
    let prompts = prompts(&mut fields)?;
    let echo = fields.flag("echo")?;
    let logprobs = fields.count("logprobs", MOST_LOGPROBS)?;
    if fields.take("best_of").is_some_and(|best_of| best_of != 1) {
        return Err(ApiError::field("best_of", "only 1 is supported"));
    }
    if fields
        .text("suffix")?
        .is_some_and(|suffix| !suffix.is_empty())
    {
        return Err(ApiError::field("suffix", "not supported"));
    }
    fields.finish()?;
    let max_tokens = asked.max_tokens.unwrap_or(DEFAULT_TOKENS);
    if max_tokens == 0 && !echo {
        return Err(ApiError::field("max_tokens", "0 is for echo alone"));
    }
    model.scheduler.check_count(prompts.len() * asked.choices)?;
    let mut prepared = Prepared::new(Shape::Completion, &asked);
    for prompt in prompts {
        let (echoed, characters) = echoed(prompt, model)?;
        prepared.prompt_tokens += echoed.ids.len();
        let request = Request {
            prompt: echoed.ids.clone(),
            sampling: asked.sampling.clone(),
            max_tokens,
            ends: asked.ends.clone(),
            logprobs,
            prompt_logprobs: logprobs.filter(|_| echo),
        };
        // Before there are as many of it as there are choices.
        model.scheduler.check(&request)?;
        for choice in 0..asked.choices {
            let mut request = request.clone();
            request.sampling.choice = choice;
            prepared.requests.push(request);
            let offset = if echo { echoed.text.chars().count() } else { 0 };
            let output = Output::new(asked.stops.clone(), offset);
            prepared.outputs.push(output.after(characters.clone()));
            prepared.echoes.push(echo.then(|| echoed.clone()));
        }
    }
    Ok(prepared)
}

/// The prompt as ids and as text, and the character that it ends within.
fn echoed(prompt: Prompt, model: &Model) -> Result<(Echo, Characters), ApiError> {
    let (ids, given) = match prompt {
        Prompt::Text(text) => {
            let ids = model.tokenizer.encode(&text);
            (
                ids.map_err(|error| ApiError::field("prompt", error))?,
                Some(text),
            )
        }
        Prompt::Ids(ids) => (ids, None),
    };
    let mut characters = Characters::default();
    let (mut text, mut offsets) = (String::new(), Vec::with_capacity(ids.len()));
    let mut length = 0;
    for &id in &ids {
        offsets.push(length);
        let more = characters.push(model.vocabulary.bytes(id));
        length += more.chars().count();
        text.push_str(&more);
    }
    if let Some(given) = given {
        text = given;
    } else if let Some(without) = text.strip_prefix(' ') {
        // Some vocabularies write a space in front of the first word that is none of the text's.
        let known: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|&id| model.tokenizer.has_token(id))
            .collect();
        if model
            .tokenizer
            .decode(&known)
            .is_ok_and(|decoded| !decoded.starts_with(' '))
        {
            text = without.to_owned();
        }
    }
    Ok((Echo { text, ids, offsets }, characters))
}

fn prompts(fields: &mut Fields) -> Result<Vec<Prompt>, ApiError> {
    const WANTED: &str = "a text, token ids, or a list of these";
    let value = match fields.take("prompt") {
        None => return Err(ApiError::field("prompt", format!("{WANTED} is needed"))),
        Some(Value::String(text)) => return Ok(vec![Prompt::Text(text)]),
        Some(value) => value,
    };
    let Value::Array(list) = &value else {
        return Err(wrong_kind("prompt", WANTED, &value));
    };
    if list.first().is_some_and(Value::is_number) {
        return Ok(vec![Prompt::Ids(ids("prompt", &value)?)]);
    }
    if list.is_empty() || list.len() > MOST_PROMPTS {
        let problem = format!("1 to {MOST_PROMPTS} prompts are needed, not {}", list.len());
        return Err(ApiError::field("prompt", problem));
    }
    let prompt = |value: &Value| match value {
        Value::String(text) => Ok(Prompt::Text(text.clone())),
        Value::Array(_) => Ok(Prompt::Ids(ids("prompt", value)?)),
        other => Err(wrong_kind("prompt", WANTED, other)),
    };
    list.iter().map(prompt).collect()
}
