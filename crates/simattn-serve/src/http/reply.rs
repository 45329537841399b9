//! Responses in the shapes of both endpoints, whole and in chunks.

use serde_json::{Map, Value, json};

use super::asked::Asked;
use super::logprobs::{self, Place};
use crate::sampling::Logprobs;
use crate::scheduler::Request;
use crate::text::{Output, TextToken, Vocabulary};
use crate::writing::Ending;

/// Which endpoint answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Completion,
    Chat,
}

/// A prompt that stands in front of its completion.
#[derive(Clone, Debug)]
pub(super) struct Echo {
    pub(super) text: String,
    pub(super) ids: Vec<u32>,
    /// Characters before each token.
    pub(super) offsets: Vec<usize>,
}

/// A request that was read, one entry a choice.
pub(super) struct Prepared {
    pub(super) shape: Shape,
    pub(super) requests: Vec<Request>,
    pub(super) outputs: Vec<Output>,
    pub(super) echoes: Vec<Option<Echo>>,
    pub(super) prompt_tokens: usize,
    pub(super) seed: u64,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
}

impl Prepared {
    pub(super) fn new(shape: Shape, asked: &Asked) -> Self {
        Self {
            shape,
            requests: Vec::new(),
            outputs: Vec::new(),
            echoes: Vec::new(),
            prompt_tokens: 0,
            seed: asked.sampling.seed,
            stream: asked.stream,
            include_usage: asked.include_usage,
        }
    }
}

/// Tokens of a response.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) prompt: usize,
    pub(super) reused: usize,
    pub(super) completion: usize,
}

impl Usage {
    fn json(self) -> Value {
        json!({
            "prompt_tokens": self.prompt,
            "completion_tokens": self.completion,
            "total_tokens": self.prompt + self.completion,
            "prompt_tokens_details": { "cached_tokens": self.reused },
        })
    }
}

/// What all chunks of a response have in common, and the response itself.
pub(super) struct Reply {
    pub(super) shape: Shape,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    pub(super) seed: u64,
    /// Whether log-probabilities are wanted.
    pub(super) logprobs: bool,
    /// Whether chunks say that they have no usage.
    pub(super) include_usage: bool,
}

/// More of one choice.
#[derive(Default)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    pub(super) tokens: &'a [TextToken],
    /// The prompt that stands in front, and how likely its tokens were.
    pub(super) echo: Option<(&'a Echo, &'a [Logprobs])>,
    pub(super) ending: Option<Ending>,
}

impl Piece<'_> {
    fn finish_reason(&self) -> Option<&'static str> {
        self.ending.map(|ending| match ending {
            Ending::Stop => "stop",
            Ending::Length => "length",
        })
    }

    fn whole_text(&self) -> String {
        let prompt = self.echo.map_or("", |(echo, _)| echo.text.as_str());
        format!("{prompt}{}", self.text)
    }

    /// The tokens with what is known of them, those of the prompt first.
    fn places(&self) -> Vec<Place<'_>> {
        let echoed = self.echo.into_iter().flat_map(|(echo, logprobs)| {
            let known = std::iter::once(None).chain(logprobs.iter().map(Some));
            let ids = echo.ids.iter().zip(&echo.offsets);
            ids.zip(known).map(|((&id, &offset), logprobs)| Place {
                id,
                offset,
                logprobs,
            })
        });
        let own = self.tokens.iter().map(|token| Place {
            id: token.id,
            offset: token.offset,
            logprobs: token.logprobs.as_ref(),
        });
        echoed.chain(own).collect()
    }
}

impl Reply {
    fn base(&self, object: &str) -> Map<String, Value> {
        let mut fields = Map::new();
        fields.insert("id".to_owned(), self.id.as_str().into());
        fields.insert("object".to_owned(), object.into());
        fields.insert("created".to_owned(), self.created.into());
        fields.insert("model".to_owned(), self.model.as_str().into());
        fields
    }

    fn logprobs(&self, piece: &Piece<'_>, vocabulary: &Vocabulary) -> Value {
        let places = piece.places();
        match self.shape {
            _ if !self.logprobs => Value::Null,
            _ if places.is_empty() => Value::Null,
            Shape::Completion => logprobs::of_completion(&places, vocabulary),
            Shape::Chat => logprobs::of_chat(&places, vocabulary),
        }
    }

    fn chunk_base(&self) -> Map<String, Value> {
        let mut fields = self.base(match self.shape {
            Shape::Completion => "text_completion",
            Shape::Chat => "chat.completion.chunk",
        });
        if self.include_usage {
            fields.insert("usage".to_owned(), Value::Null);
        }
        fields
    }

    /// The chunk that opens a choice of a chat.
    pub(super) fn opening(&self, choice: usize) -> Value {
        let mut fields = self.chunk_base();
        let delta = json!({ "role": "assistant", "content": "" });
        let opening = json!([{
            "index": choice, "delta": delta, "logprobs": null, "finish_reason": null,
        }]);
        fields.insert("choices".to_owned(), opening);
        fields.insert("seed".to_owned(), self.seed.into());
        fields.into()
    }

    /// A chunk with more of a choice.
    pub(super) fn chunk(&self, choice: usize, piece: &Piece<'_>, vocabulary: &Vocabulary) -> Value {
        let logprobs = self.logprobs(piece, vocabulary);
        let mut fields = self.chunk_base();
        let finish_reason = piece.finish_reason();
        let entry = match self.shape {
            Shape::Completion => json!({
                "index": choice, "text": piece.whole_text(), "logprobs": logprobs,
                "finish_reason": finish_reason,
            }),
            Shape::Chat => {
                let nothing = piece.text.is_empty() && finish_reason.is_some();
                let delta = if nothing {
                    json!({})
                } else {
                    json!({ "content": piece.text })
                };
                json!({
                    "index": choice, "delta": delta, "logprobs": logprobs,
                    "finish_reason": finish_reason,
                })
            }
        };
        fields.insert("choices".to_owned(), json!([entry]));
        fields.into()
    }

    /// The chunk without choices that says how much was used.
    pub(super) fn usage_chunk(&self, usage: Usage) -> Value {
        let mut fields = self.chunk_base();
        fields.insert("choices".to_owned(), json!([]));
        fields.insert("usage".to_owned(), usage.json());
        fields.into()
    }

    /// A choice of a whole response.
    pub(super) fn choice(
        &self,
        choice: usize,
        piece: &Piece<'_>,
        vocabulary: &Vocabulary,
    ) -> Value {
        let logprobs = self.logprobs(piece, vocabulary);
        let finish_reason = piece.finish_reason();
        match self.shape {
            Shape::Completion => json!({
                "index": choice, "text": piece.whole_text(), "logprobs": logprobs,
                "finish_reason": finish_reason,
            }),
            Shape::Chat => json!({
                "index": choice,
                "message": { "role": "assistant", "content": piece.text, "refusal": null },
                "logprobs": logprobs, "finish_reason": finish_reason,
            }),
        }
    }

    /// The whole response.
    pub(super) fn whole(&self, choices: Vec<Value>, usage: Usage) -> Value {
        let mut fields = self.base(match self.shape {
            Shape::Completion => "text_completion",
            Shape::Chat => "chat.completion",
        });
        fields.insert("choices".to_owned(), choices.into());
        fields.insert("usage".to_owned(), usage.json());
        fields.insert("seed".to_owned(), self.seed.into());
        fields.into()
    }
}
