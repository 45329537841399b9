//! The reading end of a request.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender};
use futures_core::Stream;

use super::Command;
use super::job::{Job, Reader};
use super::request::{AnswerError, Event, Request, Update};

/// The answers to requests that were submitted together. Dropping it ends the work on them; a
/// reader that is slow only slows itself.
#[derive(Debug)]
pub struct Answers {
    events: Pin<Box<Receiver<Event>>>,
    readers: Vec<Arc<Reader>>,
    commands: Sender<Command>,
    /// Choices whose end has not been read.
    unfinished: Vec<bool>,
}

impl Answers {
    pub(super) fn of(
        requests: Vec<Request>,
        commands: Sender<Command>,
        waiting: &Arc<AtomicUsize>,
    ) -> (Self, Vec<Job>) {
        let count = requests.len();
        let (sender, events) = async_channel::bounded(Job::capacity(count));
        let readers: Vec<Arc<Reader>> = (0..count).map(|_| Arc::default()).collect();
        let jobs = requests.into_iter().zip(&readers).enumerate();
        let jobs = jobs.map(|(choice, (request, reader))| {
            Job::new(
                choice,
                request,
                reader.clone(),
                sender.clone(),
                waiting.clone(),
            )
        });
        let jobs = jobs.collect();
        let answers = Self {
            events: Box::pin(events),
            unfinished: vec![true; count],
            readers,
            commands,
        };
        (answers, jobs)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.readers.len()
    }

    /// Waits for the next event; `None` after the last.
    pub fn wait(&mut self) -> Option<Event> {
        while self.unfinished.contains(&true) {
            let event = self.events.recv_blocking().ok();
            if let Some(event) = self.read(event) {
                return Some(event);
            }
        }
        None
    }

    /// The same for a task.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        while self.unfinished.contains(&true) {
            let Poll::Ready(event) = self.events.as_mut().poll_next(context) else {
                return Poll::Pending;
            };
            if let Some(event) = self.read(event) {
                return Poll::Ready(Some(event));
            }
        }
        Poll::Ready(None)
    }

    /// Ends the work on one choice, as a text that stops it does.
    pub fn stop(&mut self, choice: usize) {
        if std::mem::take(&mut self.unfinished[choice]) {
            self.readers[choice].gone.store(true, Ordering::SeqCst);
            self.wake();
        }
    }

    /// An event, unless its choice was stopped.
    fn read(&mut self, event: Option<Event>) -> Option<Event> {
        let event = event.unwrap_or_else(|| {
            // The senders are gone and an answer is not complete.
            let choice = self.unfinished.iter().position(|&unfinished| unfinished);
            Event {
                choice: choice.unwrap_or(0),
                update: Update::Failed(AnswerError::Dead),
            }
        });
        let wanted = self.unfinished[event.choice];
        if matches!(event.update, Update::Finished(_) | Update::Failed(_)) {
            self.unfinished[event.choice] = false;
        }
        let mut paused = false;
        for reader in &self.readers {
            paused |= reader.paused.swap(false, Ordering::SeqCst);
        }
        if paused {
            self.wake();
        }
        wanted.then_some(event)
    }

    fn wake(&self) {
        // Where nobody takes it, nobody works either.
        let _ = self.commands.try_send(Command::Wake);
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        for reader in &self.readers {
            reader.gone.store(true, Ordering::SeqCst);
        }
        self.wake();
    }
}
