//! Text to tokens and back over HTTP, as vLLM has it and lm-evaluation-harness asks for it.

use serde_json::{Value, json};

use super::asked::ids;
use super::chat;
use super::error::ApiError;
use super::fields::Fields;
use super::state::Model;

/// `POST /tokenize`: a prompt, or messages.
pub(super) fn tokenize(body: &[u8], model: &Model) -> Result<Value, ApiError> {
    let mut fields = Fields::parse(body)?;
    fields.take("model");
    let tokens = match fields.text("prompt")? {
        Some(prompt) => {
            let ids = model.tokenizer.encode(&prompt);
            ids.map_err(|error| ApiError::field("prompt", error))?
        }
        None => chat::prompt(&mut fields, model)?,
    };
    if fields.flag("add_special_tokens")? {
        let problem = "nothing is added to a text here; leave it out or say false";
        return Err(ApiError::field("add_special_tokens", problem));
    }
    let named = fields.flag("return_token_strs")?;
    fields.finish()?;
    let names = named.then(|| {
        tokens
            .iter()
            .map(|&id| model.vocabulary.shown(id))
            .collect::<Vec<_>>()
    });
    Ok(json!({
        "count": tokens.len(),
        "max_model_len": model.scheduler.context_length(),
        "tokens": tokens,
        "token_strs": names,
    }))
}

/// `POST /detokenize`: tokens.
pub(super) fn detokenize(body: &[u8], model: &Model) -> Result<Value, ApiError> {
    let mut fields = Fields::parse(body)?;
    fields.take("model");
    let tokens = fields.take("tokens").unwrap_or_default();
    let tokens = ids("tokens", &tokens)?;
    fields.finish()?;
    let text = model.tokenizer.decode(&tokens);
    Ok(json!({ "prompt": text.map_err(|error| ApiError::field("tokens", error))? }))
}

/// `GET /tokenizer_info`.
pub(super) fn info(model: &Model) -> Value {
    let mut info = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": model.scheduler.context_length(),
        "chat_template": model.text.chat_template(),
    });
    for (name, token) in model.text.named_tokens() {
        info[name] = token.as_str().into();
    }
    if info["eos_token"].is_null() {
        info["eos_token"] = model
            .ends
            .first()
            .map(|&id| model.vocabulary.shown(id))
            .into();
    }
    info
}
