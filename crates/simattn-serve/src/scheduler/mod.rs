//! Many requests on one model.
//!
//! The model runs in a thread of its own. Every turn of it takes what has come, drops what nobody
//! waits for any more, admits what fits, gives every running answer one more token in a single step
//! ([`Engine::step`]), and computes some blocks of prompts. An [`Answers`] is the other end: it
//! gives the tokens as they come, and dropping it ends the work on them.

mod answers;
mod counters;
mod job;
mod limits;
mod memory;
mod prefill;
mod prefixes;
mod request;
mod turn;

pub use answers::Answers;
pub use counters::{Counters, Figures};
pub use limits::Limits;
pub use request::{AnswerError, Event, Finish, Request, SubmitError, Update};

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use async_channel::{Receiver, Sender};

use crate::engine::Engine;
use job::Job;
use turn::Turns;

/// What reaches the thread of the model.
pub(crate) enum Command {
    /// New work.
    Submit(Vec<Job>),
    /// Something was read or given up.
    Wake,
}

/// What the thread and the handles share.
#[derive(Debug)]
struct Shared {
    counters: Counters,
    /// Answers that were submitted and have not begun.
    waiting: Arc<AtomicUsize>,
    alive: AtomicBool,
    draining: AtomicBool,
    limits: Limits,
    context: usize,
    vocabulary: usize,
    /// Tokens for which there is memory.
    most_tokens: usize,
}

/// A running model, to give requests to.
#[derive(Clone, Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    commands: Sender<Command>,
}

/// Says that the thread has ended, however it did.
struct Alive(Arc<Shared>);

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.alive.store(false, Ordering::SeqCst);
    }
}

impl Scheduler {
    /// Starts the thread of a model. It ends when every handle and every [`Answers`] is dropped.
    ///
    /// # Errors
    /// A system that gives no thread.
    pub fn start<E: Engine>(engine: E, limits: Limits) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            counters: Counters::default(),
            waiting: Arc::new(AtomicUsize::new(0)),
            alive: AtomicBool::new(true),
            draining: AtomicBool::new(false),
            limits,
            context: engine.context_length(),
            vocabulary: engine.vocabulary(),
            most_tokens: most_tokens(&engine, limits.memory),
        });
        let (commands, received) = async_channel::unbounded();
        let of_thread = shared.clone();
        thread::Builder::new()
            .name("simattn-engine".to_owned())
            .spawn(move || run(&engine, &of_thread, &received))?;
        Ok(Self { shared, commands })
    }

    /// Gives requests whose answers belong together; their order numbers the choices.
    ///
    /// # Errors
    /// What the model cannot do, or [`SubmitError::QueueFull`] and others while it does too much.
    pub fn submit(&self, requests: Vec<Request>) -> Result<Answers, SubmitError> {
        let shared = &self.shared;
        self.check_count(requests.len())?;
        for request in &requests {
            self.check(request)?;
        }
        if shared.draining.load(Ordering::SeqCst) {
            return Err(SubmitError::Draining);
        }
        if !self.is_alive() {
            return Err(SubmitError::Dead);
        }
        let (count, most) = (requests.len(), shared.limits.queue);
        let room = |waiting: usize| (waiting + count <= most).then_some(waiting + count);
        let reserved = (shared.waiting).fetch_update(Ordering::SeqCst, Ordering::SeqCst, room);
        if reserved.is_err() {
            shared.counters.refused.add(1);
            return Err(SubmitError::QueueFull { count, most });
        }
        let (answers, jobs) = Answers::of(requests, self.commands.clone(), &shared.waiting);
        // A thread that has ended meanwhile drops the jobs, which their reader notices.
        let _ = self.commands.try_send(Command::Submit(jobs));
        Ok(answers)
    }

    /// Whether a request can be done at all.
    ///
    /// # Errors
    /// As [`Scheduler::submit`].
    pub fn check(&self, request: &Request) -> Result<(), SubmitError> {
        let shared = &self.shared;
        request.check(shared.context, shared.vocabulary, shared.most_tokens)
    }

    /// Whether so many answers can be asked for at once.
    ///
    /// # Errors
    /// [`SubmitError::TooMany`].
    pub fn check_count(&self, count: usize) -> Result<(), SubmitError> {
        let most = self.shared.limits.queue;
        if count > most {
            return Err(SubmitError::TooMany { count, most });
        }
        Ok(())
    }

    /// Whether the thread of the model runs.
    pub fn is_alive(&self) -> bool {
        self.shared.alive.load(Ordering::SeqCst)
    }

    /// Takes no more requests; those it has are finished.
    pub fn drain(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
    }

    /// Whether it takes no more requests.
    pub fn is_draining(&self) -> bool {
        self.shared.draining.load(Ordering::SeqCst)
    }

    /// What it has done.
    pub fn counters(&self) -> &Counters {
        &self.shared.counters
    }

    /// Answers that wait for their turn to begin.
    pub fn waiting(&self) -> usize {
        self.shared.waiting.load(Ordering::SeqCst)
    }

    /// Tokens that prompt and answer together may have.
    pub fn context_length(&self) -> usize {
        self.shared.context.min(self.shared.most_tokens)
    }

    /// Ids that the model has.
    pub fn vocabulary(&self) -> usize {
        self.shared.vocabulary
    }
}

fn run<E: Engine>(engine: &E, shared: &Arc<Shared>, commands: &Receiver<Command>) {
    let mut turns = Turns::new(engine, shared.limits, &shared.counters);
    // Dropped before the answers are, so that whoever misses one finds the thread dead.
    let _alive = Alive(shared.clone());
    loop {
        // Nothing can be done before something comes.
        if turns.are_idle() {
            match commands.recv_blocking() {
                Ok(command) => turns.take(command),
                Err(_) => return,
            }
        }
        while let Ok(command) = commands.try_recv() {
            turns.take(command);
        }
        turns.turn();
    }
}

/// The most tokens of one sequence that fit into `memory`.
fn most_tokens<E: Engine>(engine: &E, memory: u64) -> usize {
    let (mut fits, mut too_many) = (0, engine.context_length() + 1);
    while too_many - fits > 1 {
        let middle = fits + (too_many - fits) / 2;
        if engine.bytes(middle) <= memory {
            fits = middle;
        } else {
            too_many = middle;
        }
    }
    fits
}
