//! Chat completions: messages that are answered.

use axum::http::StatusCode;
use serde_json::Value;

use super::asked::Asked;
use super::error::ApiError;
use super::fields::{Fields, wrong_kind};
use super::reply::{Prepared, Shape};
use super::state::Model;
use crate::scheduler::{Request, SubmitError};
use crate::template::{Message, Then};
use crate::text::Output;

/// Likeliest tokens at most.
const MOST_LOGPROBS: usize = 20;
const ROLES: [&str; 4] = ["system", "developer", "user", "assistant"];

/// Reads a body.
pub(super) fn read(body: &[u8], model: &Model) -> Result<Prepared, ApiError> {
    let mut fields = Fields::parse(body)?;
    let asked = Asked::read(&mut fields, model)?;
    let ids = prompt(&mut fields, model)?;
    let wanted = fields.flag("logprobs")?;
    let likeliest = fields.count("top_logprobs", MOST_LOGPROBS)?;
    if likeliest.is_some_and(|count| count > 0) && !wanted {
        return Err(ApiError::field("top_logprobs", "only with logprobs = true"));
    }
    let newer = fields.count("max_completion_tokens", 1 << 30)?;
    if let Some(format) = fields.take("response_format") {
        let mut format = Fields::within("response_format", format)?;
        if format.text("type")?.as_deref() != Some("text") {
            return Err(ApiError::field(
                "response_format",
                "only \"text\" is supported",
            ));
        }
        format.refuse_rest("response_format.")?;
    }
    fields.finish()?;
    let context = model.scheduler.context_length();
    let room = context.saturating_sub(ids.len());
    if room == 0 {
        let (prompt, asked) = (ids.len(), 1);
        return Err(SubmitError::TooLong {
            prompt,
            asked,
            context,
        }
        .into());
    }
    let max_tokens = newer.or(asked.max_tokens).unwrap_or(room);
    if max_tokens == 0 {
        return Err(ApiError::field("max_tokens", "at least 1 is needed"));
    }
    model.scheduler.check_count(asked.choices)?;
    let mut prepared = Prepared::new(Shape::Chat, &asked);
    prepared.prompt_tokens = ids.len();
    for choice in 0..asked.choices {
        let mut sampling = asked.sampling.clone();
        sampling.choice = choice;
        prepared.requests.push(Request {
            prompt: ids.clone(),
            sampling,
            max_tokens,
            ends: asked.ends.clone(),
            logprobs: wanted.then(|| likeliest.unwrap_or(0)),
            prompt_logprobs: None,
        });
        prepared.outputs.push(Output::new(asked.stops.clone(), 0));
        prepared.echoes.push(None);
    }
    Ok(prepared)
}

/// The messages as token ids.
pub(super) fn prompt(fields: &mut Fields, model: &Model) -> Result<Vec<u32>, ApiError> {
    let messages = messages(fields)?;
    let continues = fields.flag("continue_final_message")?;
    let answers = match fields.take("add_generation_prompt") {
        None => !continues,
        Some(Value::Bool(answers)) => answers,
        Some(other) => return Err(wrong_kind("add_generation_prompt", "true or false", &other)),
    };
    let then = match (continues, answers) {
        (true, true) => {
            let problem = "not together with add_generation_prompt";
            return Err(ApiError::field("continue_final_message", problem));
        }
        (true, false) => Then::Continue,
        (false, true) => Then::Answer,
        (false, false) => Then::End,
    };
    let template = model.template.as_ref().map_err(|problem| {
        let error = ApiError::new(StatusCode::BAD_REQUEST, problem.clone());
        error.with_code("no_chat_template")
    })?;
    Ok(template.encode(&messages, then, &model.tokenizer)?)
}

fn messages(fields: &mut Fields) -> Result<Vec<Message>, ApiError> {
    let list = match fields.take("messages") {
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(other) => return Err(wrong_kind("messages", "a list of messages", &other)),
        None => return Err(ApiError::field("messages", "a list of messages is needed")),
    };
    let message = |(place, value): (usize, Value)| {
        let within = format!("messages[{place}]");
        let mut fields = Fields::within(&within, value)?;
        let role = fields.text("role").map_err(|error| error.about(&within))?;
        let known = role.filter(|role| ROLES.contains(&role.as_str()));
        let Some(role) = known else {
            let problem = format!("one of {} is needed", ROLES.join(", "));
            return Err(ApiError::field(format!("{within}.role"), problem));
        };
        let content = content(fields.take("content"), &format!("{within}.content"))?;
        let name = fields.text("name").map_err(|error| error.about(&within))?;
        fields.take("refusal");
        fields.refuse_rest(&format!("{within}."))?;
        Ok(Message::new(role, content).named(name))
    };
    list.into_iter().enumerate().map(message).collect()
}

/// A text, or the texts of its parts on lines of their own.
fn content(value: Option<Value>, name: &str) -> Result<String, ApiError> {
    const WANTED: &str = "a text, or a list of parts of type \"text\",";
    match value {
        Some(Value::String(text)) => Ok(text),
        Some(Value::Array(parts)) => {
            let text = |part: Value| {
                let mut part = Fields::within(name, part)?;
                if part
                    .text("type")
                    .map_err(|error| error.about(name))?
                    .as_deref()
                    != Some("text")
                {
                    return Err(ApiError::field(
                        name,
                        "only parts of type \"text\" are supported",
                    ));
                }
                let text = part.text("text").map_err(|error| error.about(name))?;
                part.refuse_rest(&format!("{name}."))?;
                text.ok_or_else(|| ApiError::field(name, "a part has no text"))
            };
            let texts = parts.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
            Ok(texts.join("\n"))
        }
        Some(other) => Err(wrong_kind(name, WANTED, &other)),
        None => Err(ApiError::field(name, format!("{WANTED} is needed"))),
    }
}
