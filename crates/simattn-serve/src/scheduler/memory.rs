//! What is in memory: sequences that run, and those that wait in less of it.

use super::counters::Counters;
use super::job::Job;
use super::limits::Limits;
use super::prefixes::PrefixId;
use crate::engine::Engine;

/// Where the state of an answer is.
pub(super) enum State<E: Engine> {
    /// It has none yet.
    Waiting,
    /// It can be continued.
    Running(E::Sequence),
    /// It was set aside, with so many tokens.
    Aside(E::Stored, usize),
}

/// An answer and its state.
pub(super) struct Slot<E: Engine> {
    pub(super) job: Job,
    pub(super) state: State<E>,
    /// The kept blocks that its prompt begins with, as far as they can be followed.
    pub(super) prefix: Option<PrefixId>,
    /// Whether blocks of its prompt can still be kept.
    pub(super) keeps_prefix: bool,
    pub(super) done: bool,
}

impl<E: Engine> Slot<E> {
    pub(super) fn new(job: Job) -> Self {
        Self {
            job,
            state: State::Waiting,
            prefix: None,
            keeps_prefix: true,
            done: false,
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Running(_)) && !self.done
    }

    /// Tokens that the model has seen.
    pub(super) fn tokens(&self, engine: &E) -> usize {
        match &self.state {
            State::Waiting => 0,
            State::Running(sequence) => engine.len(sequence),
            State::Aside(_, tokens) => *tokens,
        }
    }

    /// Whether its whole prompt is computed.
    pub(super) fn is_answering(&self) -> bool {
        self.job.next.is_some()
    }
}

/// Answers in the order in which they came, and the memory that they have.
pub(super) struct Slots<'e, E: Engine> {
    pub(super) engine: &'e E,
    pub(super) limits: Limits,
    pub(super) counters: &'e Counters,
    pub(super) list: Vec<Slot<E>>,
}

impl<E: Engine> Slots<'_, E> {
    /// Bytes of running sequences, each with its whole prompt.
    pub(super) fn running_bytes(&self) -> u64 {
        let running = self.list.iter().filter(|slot| slot.is_running());
        running.map(|slot| self.held(slot)).sum()
    }

    fn held(&self, slot: &Slot<E>) -> u64 {
        let prompt = slot.job.request.prompt.len();
        self.engine.bytes(slot.tokens(self.engine).max(prompt))
    }

    /// Bytes of sequences that were set aside.
    pub(super) fn aside_bytes(&self) -> u64 {
        let aside = |slot: &Slot<E>| match slot.state {
            State::Aside(_, tokens) => self.engine.stored_bytes(tokens),
            _ => 0,
        };
        self.list.iter().map(aside).sum()
    }

    /// Sets answers aside until the one at `index` can have `tokens` tokens: those whose readers
    /// are slow first, then, if `any`, the youngest ones. `false` if it does not fit even so; of
    /// those that run, the one at `index` is never set aside.
    pub(super) fn make_room(&mut self, index: usize, tokens: usize, any: bool) -> bool {
        loop {
            let running: Vec<usize> = (0..self.list.len())
                .filter(|&other| other != index && self.list[other].is_running())
                .collect();
            let others: u64 = running
                .iter()
                .map(|&other| self.held(&self.list[other]))
                .sum();
            if others + self.engine.bytes(tokens) <= self.limits.memory {
                return true;
            }
            let slow = running
                .iter()
                .rev()
                .find(|&&other| !self.list[other].job.is_ready());
            let youngest = running.last().filter(|_| any);
            match slow.or(youngest) {
                Some(&victim) => self.set_aside(victim),
                None => return false,
            }
        }
    }

    /// Puts a running answer into less memory.
    pub(super) fn set_aside(&mut self, index: usize) {
        let slot = &mut self.list[index];
        if let State::Running(sequence) = &slot.state {
            let tokens = self.engine.len(sequence);
            slot.state = State::Aside(self.engine.set_aside(sequence), tokens);
            self.counters.preemptions.add(1);
        }
    }

    /// Lets an answer that was set aside go on.
    pub(super) fn restore(&mut self, index: usize) {
        let slot = &mut self.list[index];
        if let State::Aside(stored, _) = &slot.state {
            slot.state = State::Running(self.engine.restore(stored));
            self.counters.restorations.add(1);
        }
    }
}
