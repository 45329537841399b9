//! A turn: who takes part in it, and one more token for every running answer.

use rayon::prelude::*;

use super::Command;
use super::counters::Counters;
use super::job::Job;
use super::limits::Limits;
use super::memory::{Slot, Slots, State};
use super::prefixes::Prefixes;
use super::request::AnswerError;
use crate::engine::{BLOCK, Engine};

/// What the thread of a model does, over and over.
pub(super) struct Turns<'e, E: Engine> {
    pub(super) slots: Slots<'e, E>,
    pub(super) prefixes: Prefixes<E::Stored>,
}

impl<'e, E: Engine> Turns<'e, E> {
    pub(super) fn new(engine: &'e E, limits: Limits, counters: &'e Counters) -> Self {
        Self {
            slots: Slots {
                engine,
                limits,
                counters,
                list: Vec::new(),
            },
            prefixes: Prefixes::new(),
        }
    }

    pub(super) fn take(&mut self, command: Command) {
        match command {
            Command::Submit(jobs) => self.slots.list.extend(jobs.into_iter().map(Slot::new)),
            Command::Wake => {}
        }
    }

    /// Whether there is nothing to do until something comes: readers that are slow say when they
    /// have read something.
    pub(super) fn are_idle(&self) -> bool {
        let busy = |slot: &Slot<E>| slot.job.is_abandoned() || slot.job.is_ready();
        !self.slots.list.iter().any(busy)
    }

    pub(super) fn turn(&mut self) {
        self.drop_abandoned();
        self.admit();
        self.step();
        self.prefill();
        self.slots.list.retain(|slot| !slot.done);
        let spare = self
            .slots
            .limits
            .store
            .saturating_sub(self.slots.aside_bytes());
        self.prefixes.shrink_to(spare);
        self.publish();
    }

    fn drop_abandoned(&mut self) {
        let before = self.slots.list.len();
        self.slots.list.retain(|slot| !slot.job.is_abandoned());
        let gone = before - self.slots.list.len();
        self.slots.counters.cancelled.add(gone as u64);
    }

    /// Lets answers begin or go on, in the order in which they came, as far as there is room.
    fn admit(&mut self) {
        let takes_part = |slot: &Slot<E>| slot.is_running() && slot.job.is_ready();
        let mut rows = self
            .slots
            .list
            .iter()
            .filter(|slot| takes_part(slot))
            .count();
        let most = self.slots.limits.rows.max(1);
        for index in 0..self.slots.list.len() {
            let slot = &self.slots.list[index];
            if slot.is_running() || !slot.job.is_ready() {
                continue;
            }
            let (request, seen) = (&slot.job.request, slot.tokens(self.slots.engine));
            let whole = request.prompt.len() + request.max_tokens;
            // Some of the answer too, so that it is not set aside again at once.
            let tokens = (seen.max(request.prompt.len()) + BLOCK).min(whole);
            if rows >= most || !self.slots.make_room(index, tokens, rows == 0) {
                return;
            }
            match self.slots.list[index].state {
                State::Waiting => self.begin(index),
                _ => self.slots.restore(index),
            }
            rows += 1;
        }
    }

    /// Computes one more token for every answer that has one.
    fn step(&mut self) {
        let mut rows = self.answering();
        // The oldest of them fits by itself: no request is taken that does not.
        while let Some(&last) = rows.last()
            && !self.fits_one_more(&rows)
        {
            let slots = &mut self.slots;
            let running: Vec<usize> = (0..slots.list.len())
                .filter(|&index| slots.list[index].is_running())
                .collect();
            if running.len() < 2 {
                break;
            }
            let slow = running
                .iter()
                .rev()
                .find(|&&index| !slots.list[index].job.is_ready());
            let victim = slow.or(running.last()).copied().unwrap_or(last);
            slots.set_aside(victim);
            rows.retain(|&row| row != victim);
        }
        if rows.is_empty() {
            return;
        }
        let (mut sequences, mut jobs, mut ids) = (Vec::new(), Vec::new(), Vec::new());
        let mut ends = Vec::new();
        for (index, slot) in self.slots.list.iter_mut().enumerate() {
            if rows.binary_search(&index).is_err() {
                continue;
            }
            if let (State::Running(sequence), Some(id)) = (&mut slot.state, slot.job.next) {
                sequences.push(sequence);
                ids.push(id);
                jobs.push(&mut slot.job);
                ends.push(&mut slot.done);
            }
        }
        let counters = self.slots.counters;
        counters.steps.add(1);
        counters.rows.add(ids.len() as u64);
        let vocabulary = self.slots.engine.vocabulary();
        match self.slots.engine.step(&mut sequences, &ids) {
            Ok(logits) => {
                let answers = jobs.par_iter_mut().zip(ends.par_iter_mut());
                answers
                    .zip(logits.par_chunks(vocabulary))
                    .for_each(|((job, done), row)| **done = job.advance(row, counters));
            }
            Err(error) => {
                for (job, done) in jobs.iter_mut().zip(&mut ends) {
                    fail(job, &error, counters);
                    **done = true;
                }
            }
        }
    }

    /// Answers that take part in a step.
    fn answering(&self) -> Vec<usize> {
        let list = &self.slots.list;
        let answering = |&index: &usize| {
            let slot = &list[index];
            slot.is_running() && slot.is_answering() && slot.job.is_ready()
        };
        (0..list.len()).filter(answering).collect()
    }

    fn fits_one_more(&self, rows: &[usize]) -> bool {
        let slots = &self.slots;
        let more = rows.iter().map(|&row| {
            let tokens = slots.list[row].tokens(slots.engine);
            slots.engine.bytes(tokens + 1) - slots.engine.bytes(tokens)
        });
        slots.running_bytes() + more.sum::<u64>() <= slots.limits.memory
    }

    fn publish(&self) {
        let slots = &self.slots;
        let count = |wanted: fn(&Slot<E>) -> bool| {
            slots.list.iter().filter(|slot| wanted(slot)).count() as u64
        };
        slots.counters.running.set(count(Slot::is_running));
        slots
            .counters
            .aside
            .set(count(|slot| matches!(slot.state, State::Aside(..))));
        slots.counters.memory.set(slots.running_bytes());
        slots.counters.aside_bytes.set(slots.aside_bytes());
        slots.counters.prefix_bytes.set(self.prefixes.bytes());
        slots.counters.turns.add(1);
    }
}

/// Ends an answer that the model failed on.
pub(super) fn fail(job: &Job, error: &impl std::fmt::Display, counters: &Counters) {
    let problem = error.to_string();
    job.fail(AnswerError::Engine { problem }, counters);
}
