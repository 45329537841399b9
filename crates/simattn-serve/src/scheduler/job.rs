//! An answer in the making.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_channel::Sender;

use super::counters::Counters;
use super::request::{AnswerError, Event, Finish, Request, Update};
use crate::sampling::{History, Logprobs};

/// What a reader tells the thread of the model.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// It has stopped reading.
    pub(super) gone: AtomicBool,
    /// The thread waits until it has read something.
    pub(super) paused: AtomicBool,
}

/// Events of one answer in a turn at most.
const EVENTS: usize = 3;

/// A request and how far it is.
pub(crate) struct Job {
    choice: usize,
    pub(super) request: Request,
    reader: Arc<Reader>,
    events: Sender<Event>,
    /// Counts this while it has not begun.
    waiting: Option<Arc<AtomicUsize>>,
    pub(super) history: History,
    /// Tokens of the answer.
    answered: usize,
    /// The last token of the answer, which the model has not seen yet.
    pub(super) next: Option<u32>,
    /// Of the prompt's tokens, as far as it is computed and they are wanted.
    pub(super) prompt_logprobs: Vec<Logprobs>,
    /// Tokens of the prompt that were found again.
    pub(super) reused: usize,
}

impl Job {
    pub(super) fn new(
        choice: usize,
        request: Request,
        reader: Arc<Reader>,
        events: Sender<Event>,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        Self {
            choice,
            history: History::of_prompt(&request.prompt),
            request,
            reader,
            events,
            waiting: Some(waiting),
            answered: 0,
            next: None,
            prompt_logprobs: Vec::new(),
            reused: 0,
        }
    }

    /// Events that may wait for the reader of so many answers.
    pub(super) fn capacity(answers: usize) -> usize {
        2 * EVENTS * answers.max(8)
    }

    /// It has begun, or will not: it counts no longer as waiting.
    pub(super) fn begin(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Whether nobody waits for it.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reader.gone.load(Ordering::SeqCst) || self.events.is_closed()
    }

    /// Whether the reader has room for what a turn may give. If not, it says so once it has.
    pub(super) fn is_ready(&self) -> bool {
        if self.has_room() {
            return true;
        }
        self.reader.paused.store(true, Ordering::SeqCst);
        // It may have read everything in between, and will then say nothing.
        self.has_room()
    }

    fn has_room(&self) -> bool {
        // The answers that share the channel may send as much in the same turn.
        let capacity = self.events.capacity().unwrap_or(usize::MAX);
        self.events.len() <= capacity / 2
    }

    /// Takes the next token from the model's `logits`. `true` if that was the last. Whatever is
    /// counted is counted before the reader hears of it.
    pub(super) fn advance(&mut self, logits: &[f32], counters: &Counters) -> bool {
        let id = match self.request.sampling.choose(logits, &self.history) {
            Ok(id) => id,
            Err(error) => {
                self.fail(error.into(), counters);
                return true;
            }
        };
        let count = self.request.logprobs;
        let logprobs = count.map(|count| Logprobs::of(logits, id, count));
        self.history.push(id);
        self.answered += 1;
        self.next = Some(id);
        counters.answer_tokens.add(1);
        self.send(Update::Token { id, logprobs });
        let finish = if self.request.ends.contains(&id) {
            Finish::End
        } else if self.answered >= self.request.max_tokens {
            Finish::Length
        } else {
            return false;
        };
        self.finish(finish, counters);
        true
    }

    /// The prompt is computed, its last token with these `logits`. `true` if nothing more is wanted.
    pub(super) fn prompt_is_computed(&mut self, logits: &[f32], counters: &Counters) -> bool {
        let logprobs = std::mem::take(&mut self.prompt_logprobs);
        let reused = self.reused;
        self.send(Update::Prompt { logprobs, reused });
        if self.request.max_tokens == 0 {
            self.finish(Finish::Length, counters);
            return true;
        }
        self.advance(logits, counters)
    }

    fn finish(&self, finish: Finish, counters: &Counters) {
        counters.finished.add(1);
        self.send(Update::Finished(finish));
    }

    pub(super) fn fail(&self, error: AnswerError, counters: &Counters) {
        counters.failed.add(1);
        self.send(Update::Failed(error));
    }

    fn send(&self, update: Update) {
        // There is room: `is_ready` was asked. A reader that is gone wants nothing.
        let choice = self.choice;
        let _ = self.events.try_send(Event { choice, update });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.begin();
    }
}
