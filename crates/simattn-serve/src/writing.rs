//! The answers to a request as texts.

use std::sync::Arc;
use std::task::{Context, Poll};

use crate::sampling::Logprobs;
use crate::scheduler::{AnswerError, Answers, Event, Finish, Update};
use crate::text::{Output, Released, Vocabulary};

/// Why a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The model ended it, or a stop string would follow.
    Stop,
    /// It has as many tokens as were asked for.
    Length,
}

/// What came of one of the answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The prompt is computed.
    Prompt {
        /// How likely its tokens were, from the second on, where that was asked for.
        logprobs: Vec<Logprobs>,
        /// Tokens that were not computed again.
        reused: usize,
    },
    /// More text; `ending` says whether it was the last.
    Text {
        /// Text and its tokens. Either may be empty.
        released: Released,
        /// Why the text ends here, if it does.
        ending: Option<Ending>,
    },
    /// The answer ends here without being complete.
    Failed(AnswerError),
}

/// The texts of [`Answers`].
#[derive(Debug)]
pub struct Writing {
    answers: Answers,
    outputs: Vec<Output>,
    /// Tokens of each answer so far.
    tokens: Vec<usize>,
    ends: Arc<[u32]>,
    vocabulary: Arc<Vocabulary>,
}

impl Writing {
    /// Writes each answer with its output. `ends` are the ids that end an answer and are no text.
    ///
    /// # Panics
    /// With another number of outputs than answers.
    pub fn new(
        answers: Answers,
        outputs: Vec<Output>,
        ends: Arc<[u32]>,
        vocabulary: Arc<Vocabulary>,
    ) -> Self {
        assert_eq!(answers.count(), outputs.len(), "an output for every answer");
        Self {
            tokens: vec![0; outputs.len()],
            answers,
            outputs,
            ends,
            vocabulary,
        }
    }

    /// Tokens of an answer so far, the one that ended it included.
    pub fn tokens(&self, choice: usize) -> usize {
        self.tokens[choice]
    }

    /// Waits for what comes next, and of which answer; `None` after the last.
    pub fn wait(&mut self) -> Option<(usize, Written)> {
        loop {
            let event = self.answers.wait()?;
            if let Some(written) = self.take(event) {
                return Some(written);
            }
        }
    }

    /// The same for a task.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<(usize, Written)>> {
        loop {
            match self.answers.poll_next(context) {
                Poll::Ready(Some(event)) => {
                    if let Some(written) = self.take(event) {
                        return Poll::Ready(Some(written));
                    }
                }
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// The same as a future.
    pub async fn next(&mut self) -> Option<(usize, Written)> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// What can be said after an event.
    fn take(&mut self, Event { choice, update }: Event) -> Option<(usize, Written)> {
        let output = &mut self.outputs[choice];
        let written = match update {
            Update::Prompt { logprobs, reused } => Written::Prompt { logprobs, reused },
            Update::Token { id, logprobs } => {
                self.tokens[choice] += 1;
                if self.ends.contains(&id) {
                    output.push_end(id, logprobs);
                    return None;
                }
                let released = output.push(id, logprobs, &self.vocabulary);
                if released.stopped {
                    self.answers.stop(choice);
                } else if released.text.is_empty() && released.tokens.is_empty() {
                    return None;
                }
                let ending = released.stopped.then_some(Ending::Stop);
                Written::Text { released, ending }
            }
            Update::Finished(finish) => {
                let released = output.finish();
                let ending = match finish {
                    _ if released.stopped => Ending::Stop,
                    Finish::End => Ending::Stop,
                    Finish::Length => Ending::Length,
                };
                Written::Text {
                    released,
                    ending: Some(ending),
                }
            }
            Update::Failed(error) => Written::Failed(error),
        };
        Some((choice, written))
    }
}
