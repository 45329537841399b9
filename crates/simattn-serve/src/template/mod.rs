//! Chat templates, rendered to token ids as `transformers` renders them.
//!
//! A template writes special tokens by their names. A text that a user wrote may spell the same
//! names, and must not become such a token. So every special name in it is broken by a character
//! that no message has; what the rendered text still spells whole came from the template.

mod environment;
mod json;
mod mark;
mod message;
mod specials;

pub use message::Message;
use specials::Specials;

use std::collections::BTreeMap;

use minijinja::value::Value;
use minijinja::{Environment, Error, context};
use simattn_data::{DataError, TextSettings, Tokenizer};
use thiserror::Error;

use environment::Raised;
use mark::Mark;

/// A chat that cannot be rendered. `Display` is one line.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The model's folder has no template.
    #[error("the model has no chat template: continue a text instead, or import one that has it")]
    None,
    /// The template cannot be read.
    #[error("the model's chat template cannot be read: {problem}")]
    Unreadable {
        /// What is wrong with it.
        problem: String,
    },
    /// The template refuses the messages.
    #[error("the chat template refuses these messages: {message}")]
    Raised {
        /// What it says.
        message: String,
    },
    /// The template fails on the messages.
    #[error("the chat template fails on these messages: {problem}")]
    Failed {
        /// What went wrong.
        problem: String,
    },
    /// Every character that could mark special names in messages is in them.
    #[error("the messages hold all of the characters U+FDD0 to U+FDEF, which stand for no text")]
    NoMark,
    /// The last message should be continued and is not in what was rendered.
    #[error("continue_final_message: the chat template does not write the last message")]
    NothingToContinue,
    /// The tokenizer fails on a text.
    #[error(transparent)]
    Tokenizer(#[from] DataError),
}

/// What follows the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The beginning of an answer.
    Answer,
    /// Nothing.
    End,
    /// The last message goes on.
    Continue,
}

/// A model's chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    tokens: BTreeMap<String, String>,
    specials: Specials,
}

/// The name under which the environment knows the template.
const NAME: &str = "chat";

impl ChatTemplate {
    /// The template of a model.
    ///
    /// # Errors
    /// [`TemplateError::None`] for a model without one, [`TemplateError::Unreadable`] for one that
    /// is no template.
    pub fn of_model(text: &TextSettings, tokenizer: &Tokenizer) -> Result<Self, TemplateError> {
        let source = text.chat_template().ok_or(TemplateError::None)?;
        Self::new(source, text.named_tokens(), tokenizer)
    }

    /// A template from its source, with the tokens that it may refer to by what they are for
    /// (`bos_token`).
    ///
    /// # Errors
    /// [`TemplateError::Unreadable`] for a text that is no template.
    pub fn new(
        source: &str,
        tokens: &BTreeMap<String, String>,
        tokenizer: &Tokenizer,
    ) -> Result<Self, TemplateError> {
        let mut environment = environment::hugging_face();
        let source = environment::without_generation_blocks(source);
        environment
            .add_template_owned(NAME, source)
            .map_err(|error| TemplateError::Unreadable {
                problem: one_line(&error),
            })?;
        Ok(Self {
            environment,
            tokens: tokens.clone(),
            specials: Specials::of(tokenizer),
        })
    }

    /// The token ids of a chat.
    ///
    /// # Errors
    /// Messages that the template refuses or fails on.
    pub fn encode(
        &self,
        messages: &[Message],
        then: Then,
        tokenizer: &Tokenizer,
    ) -> Result<Vec<u32>, TemplateError> {
        let (text, mark) = self.render_marked(messages, then)?;
        self.specials.encode(&text, &mark, tokenizer)
    }

    /// The text of a chat, in which special tokens are their names, and so is what a message spells
    /// like one.
    ///
    /// # Errors
    /// As [`ChatTemplate::encode`].
    pub fn render(&self, messages: &[Message], then: Then) -> Result<String, TemplateError> {
        let (text, mark) = self.render_marked(messages, then)?;
        Ok(mark.remove(&text))
    }

    fn render_marked(
        &self,
        messages: &[Message],
        then: Then,
    ) -> Result<(String, Mark), TemplateError> {
        let texts = messages.iter().flat_map(Message::texts);
        let mark = Mark::absent_from(texts).ok_or(TemplateError::NoMark)?;
        let marked = |text: &str| mark.break_names(text, &self.specials);
        let values: Vec<Value> = messages
            .iter()
            .map(|message| message.value(&marked))
            .collect();
        let tokens = self.tokens.iter();
        let tokens = Value::from_pairs(tokens.map(|(name, token)| (name.as_str(), token.as_str())));
        let asked = context! {
            messages => values,
            add_generation_prompt => then == Then::Answer,
            tools => (),
            documents => (),
            ..tokens
        };
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let mut text = template.render(asked).map_err(failed)?;
        if then == Then::Continue {
            let last = messages.last().ok_or(TemplateError::NothingToContinue)?;
            let end = end_of_last(&text, &marked(last.content()));
            text.truncate(end.ok_or(TemplateError::NothingToContinue)?);
        }
        Ok((text, mark))
    }
}

/// Where the last message ends in a rendered chat: with its white space, if the template keeps it.
fn end_of_last(text: &str, last: &str) -> Option<usize> {
    let at = text.rfind(last.trim())?;
    let from_start = last.trim_start();
    let kept = if text[at..].starts_with(from_start) {
        from_start
    } else {
        last.trim()
    };
    Some(at + kept.len())
}

fn failed(error: Error) -> TemplateError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(inner) = cause {
        if let Some(Raised(message)) = inner.downcast_ref() {
            return TemplateError::Raised {
                message: message.clone(),
            };
        }
        cause = inner.source();
    }
    TemplateError::Failed {
        problem: one_line(&error),
    }
}

fn one_line(error: &Error) -> String {
    let said = match (error.detail(), error.line()) {
        (Some(detail), Some(line)) => format!("{}: {detail} (line {line})", error.kind()),
        (Some(detail), None) => format!("{}: {detail}", error.kind()),
        (None, Some(line)) => format!("{} (line {line})", error.kind()),
        (None, None) => error.kind().to_string(),
    };
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests;
