//! What is asked of a scheduler, and what comes back.

use std::sync::Arc;

use thiserror::Error;

use crate::sampling::{Logprobs, Sampling, SamplingError};

/// A prompt and how it is continued.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The tokens before the answer.
    pub prompt: Vec<u32>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Tokens of the answer at most; with 0 the prompt alone is computed.
    pub max_tokens: usize,
    /// Ids at which the answer ends.
    pub ends: Arc<[u32]>,
    /// Whether log-probabilities of the answer's tokens are wanted, and of how many likeliest ones.
    pub logprobs: Option<usize>,
    /// The same for the prompt, which is then computed whole.
    pub prompt_logprobs: Option<usize>,
}

/// A request that is not taken. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum SubmitError {
    /// There is nothing to continue.
    #[error("the prompt is empty: give at least one token")]
    Empty,
    /// An id that the model has no row for.
    #[error("token id {id} is not one of the model's {vocabulary}")]
    UnknownToken {
        /// The id.
        id: u32,
        /// Ids that the model has.
        vocabulary: usize,
    },
    /// Prompt and continuation do not fit the model's context.
    #[error(
        "{prompt} tokens of prompt and {asked} more do not fit the model's context of {context}"
    )]
    TooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        asked: usize,
        /// The model's context.
        context: usize,
    },
    /// Prompt and continuation do not fit the memory that running answers have.
    #[error(
        "{prompt} tokens of prompt and {asked} more do not fit the memory for running answers, \
         which holds {most} tokens"
    )]
    TooLarge {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens asked for.
        asked: usize,
        /// Tokens for which there is memory.
        most: usize,
    },
    /// Sampling that cannot be done.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// More at once than may ever wait.
    #[error("{count} answers to one request are more than the {most} that may wait here")]
    TooMany {
        /// Answers asked for.
        count: usize,
        /// Answers that may wait.
        most: usize,
    },
    /// Too many wait.
    #[error("{count} more answers do not fit the queue of {most}; try again later")]
    QueueFull {
        /// Answers asked for.
        count: usize,
        /// Answers that may wait.
        most: usize,
    },
    /// No more requests are taken.
    #[error("no more requests are taken: the program is about to end")]
    Draining,
    /// The thread of the model has ended.
    #[error("the thread that runs the model has ended")]
    Dead,
}

/// Why an answer is incomplete. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// No token can be chosen.
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    /// The model failed.
    #[error("the model failed: {problem}")]
    Engine {
        /// What it says.
        problem: String,
    },
    /// The thread of the model has ended.
    #[error("the thread that runs the model has ended")]
    Dead,
}

/// Why an answer is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finish {
    /// Its last token is one of [`Request::ends`].
    End,
    /// It has as many tokens as were asked for.
    Length,
}

/// Something of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// The prompt is computed: how likely its tokens were, from the second on, where that was asked
    /// for, and how many of its tokens were found again.
    Prompt {
        /// Of every token but the first.
        logprobs: Vec<Logprobs>,
        /// Tokens that were not computed again.
        reused: usize,
    },
    /// A token.
    Token {
        /// The token.
        id: u32,
        /// How likely it was.
        logprobs: Option<Logprobs>,
    },
    /// The answer is complete.
    Finished(Finish),
    /// The answer ends here without being complete.
    Failed(AnswerError),
}

/// An update of one of the answers that were asked for together.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Which of the requests.
    pub choice: usize,
    /// What came.
    pub update: Update,
}

impl Request {
    /// Whether a model can do this at all.
    pub(super) fn check(
        &self,
        context: usize,
        vocabulary: usize,
        most: usize,
    ) -> Result<(), SubmitError> {
        if self.prompt.is_empty() {
            return Err(SubmitError::Empty);
        }
        let unknown = |id: &&u32| **id as usize >= vocabulary;
        if let Some(&id) = self.prompt.iter().find(unknown) {
            return Err(SubmitError::UnknownToken { id, vocabulary });
        }
        let (prompt, asked) = (self.prompt.len(), self.max_tokens);
        let tokens = prompt.saturating_add(asked);
        if tokens > context {
            return Err(SubmitError::TooLong {
                prompt,
                asked,
                context,
            });
        }
        if tokens > most {
            return Err(SubmitError::TooLarge {
                prompt,
                asked,
                most,
            });
        }
        Ok(self.sampling.validate(vocabulary)?)
    }
}
