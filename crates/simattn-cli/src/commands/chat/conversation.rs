//! What was said, as far as the model's context holds it.

use simattn_data::Tokenizer;
use simattn_serve::template::{ChatTemplate, Message, TemplateError, Then};

use crate::console::tell;

/// A conversation.
pub(super) struct Conversation {
    template: ChatTemplate,
    system: Option<Message>,
    /// User and model in turn.
    turns: Vec<Message>,
}

impl Conversation {
    pub(super) fn new(template: ChatTemplate, system: Option<String>) -> Self {
        Self {
            template,
            system: system.map(|text| Message::new("system", text)),
            turns: Vec::new(),
        }
    }

    /// Begins anew.
    pub(super) fn forget(&mut self) {
        self.turns.clear();
    }

    /// The user says something.
    pub(super) fn say(&mut self, text: String) {
        self.turns.push(Message::new("user", text));
    }

    /// The model has answered.
    pub(super) fn answer(&mut self, text: String) {
        self.turns.push(Message::new("assistant", text));
    }

    /// The conversation as tokens, so that an answer of `tokens` fits the context; the oldest turns
    /// leave until it does, and that is said. `None`, and the last turn is taken back, where that
    /// alone is too long.
    pub(super) fn fit(
        &mut self,
        tokenizer: &Tokenizer,
        context: usize,
        tokens: usize,
    ) -> Result<Option<Vec<u32>>, TemplateError> {
        let mut left = 0;
        loop {
            let messages: Vec<Message> = self.system.iter().chain(&self.turns).cloned().collect();
            let ids = self.template.encode(&messages, Then::Answer, tokenizer);
            let ids = match ids {
                Ok(ids) => ids,
                Err(error) => {
                    self.turns.pop();
                    return Err(error);
                }
            };
            // A single message may leave less room than was asked for.
            let fits = ids.len() + tokens <= context;
            if fits || (self.turns.len() == 1 && ids.len() < context) {
                if left > 0 {
                    tell(format_args!(
                        "chat: the context of {context} tokens is full; the oldest {left} messages \
                         were left out"
                    ));
                }
                return Ok(Some(ids));
            }
            if self.turns.len() < 3 {
                // The message that asks is still there.
                self.turns.pop();
                return Ok(None);
            }
            self.turns.drain(..2);
            left += 2;
        }
    }
}
