//! What a scheduler has done.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that threads read while another changes it.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! counters {
    ($($(#[doc = $about:literal])+ $name:ident),+ $(,)?) => {
        /// Counters of a scheduler.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[doc = $about])+ pub $name: Counter,)+
        }

        /// The values of [`Counters`] at one time.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Figures {
            $($(#[doc = $about])+ pub $name: u64,)+
        }

        impl Counters {
            /// All values.
            pub fn figures(&self) -> Figures {
                Figures { $($name: self.$name.get(),)+ }
            }
        }
    };
}

counters! {
    /// Turns of the thread.
    turns,
    /// Steps: computations of one more token for every running answer.
    steps,
    /// Tokens that steps computed, over all answers.
    rows,
    /// Tokens of prompts that were computed.
    prompt_tokens,
    /// Tokens of prompts that were found again.
    reused_tokens,
    /// Prompts whose beginning was found again.
    prefix_hits,
    /// Tokens that were chosen.
    answer_tokens,
    /// Answers that were set aside for want of memory or because their reader was slow.
    preemptions,
    /// Answers that were restored.
    restorations,
    /// Answers that were completed.
    finished,
    /// Answers that nobody waited for.
    cancelled,
    /// Answers that failed.
    failed,
    /// Requests that found the queue full.
    refused,
    /// Answers that run now.
    running,
    /// Answers that are set aside now.
    aside,
    /// Bytes of running sequences now.
    memory,
    /// Bytes of kept prefixes now.
    prefix_bytes,
    /// Bytes of sequences that are set aside now.
    aside_bytes,
}
