//! Prompts: what is known of them already, and the rest of them block by block.

use std::cmp::Ordering;

use super::memory::State;
use super::turn::{Turns, fail};
use crate::engine::{BLOCK, Engine, Logits};
use crate::sampling::Logprobs;

impl<E: Engine> Turns<'_, E> {
    /// Gives an answer that waited its state, with what is kept of its prompt's beginning.
    pub(super) fn begin(&mut self, index: usize) {
        let engine = self.slots.engine;
        let slot = &mut self.slots.list[index];
        slot.job.begin();
        // Scores of the prompt are of all its tokens. The last token is computed in any case, for
        // the answer follows from it.
        let prompt = &slot.job.request.prompt;
        let known = match slot.job.request.prompt_logprobs {
            Some(_) => 0,
            None => (prompt.len() - 1) / BLOCK,
        };
        for tokens in prompt.chunks_exact(BLOCK).take(known) {
            match self.prefixes.find(slot.prefix, tokens) {
                Some(id) => slot.prefix = Some(id),
                None => break,
            }
        }
        let kept = slot.prefix.and_then(|id| self.prefixes.get(id));
        let sequence = kept.map_or_else(|| engine.start(), |stored| engine.restore(stored));
        if let Some(id) = slot.prefix {
            self.prefixes.touch(id);
            slot.job.reused = engine.len(&sequence);
            self.slots.counters.prefix_hits.add(1);
            self.slots
                .counters
                .reused_tokens
                .add(slot.job.reused as u64);
        }
        slot.state = State::Running(sequence);
    }

    /// Computes blocks of prompts, the oldest first, until the turn has had enough of them.
    pub(super) fn prefill(&mut self) {
        let mut left = self.slots.limits.prefill.max(BLOCK);
        for index in 0..self.slots.list.len() {
            loop {
                let slot = &self.slots.list[index];
                let computes = slot.is_running() && !slot.is_answering() && slot.job.is_ready();
                if !computes || slot.job.is_abandoned() {
                    break;
                }
                let computed = slot.tokens(self.slots.engine);
                let count = (slot.job.request.prompt.len() - computed).min(BLOCK);
                if count > left {
                    return;
                }
                if !self.has_room_for(index, computed + count) {
                    break;
                }
                left -= count;
                self.compute_block(index, computed, count);
            }
        }
    }

    /// Whether a prompt can go on, once younger answers are set aside. If there are none, it is set
    /// aside itself.
    fn has_room_for(&mut self, index: usize, tokens: usize) -> bool {
        let slots = &mut self.slots;
        loop {
            if slots.make_room(index, tokens, false) {
                return true;
            }
            let youngest = (0..slots.list.len())
                .rev()
                .find(|&other| slots.list[other].is_running());
            match youngest.map(|youngest| (youngest, youngest.cmp(&index))) {
                Some((youngest, Ordering::Greater)) => slots.set_aside(youngest),
                _ => {
                    slots.set_aside(index);
                    return false;
                }
            }
        }
    }

    fn compute_block(&mut self, index: usize, computed: usize, count: usize) {
        let (engine, counters) = (self.slots.engine, self.slots.counters);
        let aside = self.slots.aside_bytes();
        let slot = &mut self.slots.list[index];
        let State::Running(sequence) = &mut slot.state else {
            return;
        };
        let request = &slot.job.request;
        let ids = &request.prompt[computed..computed + count];
        let is_last = computed + count == request.prompt.len();
        let wanted = match request.prompt_logprobs {
            Some(_) => Logits::All,
            None if is_last && request.max_tokens > 0 => Logits::Last,
            None => Logits::None,
        };
        let logits = match engine.extend(sequence, ids, wanted) {
            Ok(logits) => logits,
            Err(error) => {
                fail(&slot.job, &error, counters);
                slot.done = true;
                return;
            }
        };
        counters.prompt_tokens.add(count as u64);
        if count == BLOCK && slot.keeps_prefix {
            let spare = self.slots.limits.store.saturating_sub(aside);
            let (bytes, blocks) = (engine.stored_bytes(BLOCK), computed / BLOCK + 1);
            let prefix = || engine.prefix(sequence, blocks);
            let kept = self.prefixes.insert(slot.prefix, ids, bytes, spare, prefix);
            slot.keeps_prefix = kept.is_some();
            slot.prefix = kept.or(slot.prefix);
        }
        let vocabulary = engine.vocabulary();
        if let Some(likeliest) = request.prompt_logprobs {
            let followers = &request.prompt[computed + 1..];
            let rows = logits.chunks_exact(vocabulary).zip(followers);
            let logprobs = rows.map(|(row, &id)| Logprobs::of(row, id, likeliest));
            slot.job.prompt_logprobs.extend(logprobs);
        }
        if is_last {
            let last = logits.len().saturating_sub(vocabulary);
            slot.done = slot.job.prompt_is_computed(&logits[last..], counters);
        }
    }
}
