//! Engines and requests for tests.

// Every test file compiles this for itself and uses a part of it.
#![allow(dead_code)]

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use simattn_random::{Stream, stream};
use simattn_serve::engine::{Engine, Logits};
use simattn_serve::sampling::Sampling;
use simattn_serve::scheduler::{Answers, Event, Request, Update};

/// An engine that computes in a rayon pool of its own.
pub struct InPool<E> {
    engine: E,
    pool: rayon::ThreadPool,
}

impl<E> InPool<E> {
    pub fn new(engine: E, threads: usize) -> Self {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        Self {
            engine,
            pool: pool.expect("threads"),
        }
    }
}

/// An engine that waits for a permit before every computation.
pub struct Gated<E> {
    engine: E,
    permits: Mutex<Receiver<()>>,
}

impl<E> Gated<E> {
    /// The engine, and what lets it compute; once that is dropped it no longer waits.
    pub fn new(engine: E) -> (Self, Sender<()>) {
        let (permit, permits) = channel();
        let permits = Mutex::new(permits);
        (Self { engine, permits }, permit)
    }

    fn wait(&self) {
        let _ = self.permits.lock().expect("no panic").recv();
    }
}

/// The methods that only pass a call on.
macro_rules! passed_on {
    () => {
        type Sequence = E::Sequence;
        type Stored = E::Stored;
        type Error = E::Error;
        fn context_length(&self) -> usize {
            self.engine.context_length()
        }
        fn vocabulary(&self) -> usize {
            self.engine.vocabulary()
        }
        fn start(&self) -> E::Sequence {
            self.engine.start()
        }
        fn len(&self, sequence: &E::Sequence) -> usize {
            self.engine.len(sequence)
        }
        fn set_aside(&self, sequence: &E::Sequence) -> E::Stored {
            self.engine.set_aside(sequence)
        }
        fn restore(&self, stored: &E::Stored) -> E::Sequence {
            self.engine.restore(stored)
        }
        fn prefix(&self, sequence: &E::Sequence, blocks: usize) -> E::Stored {
            self.engine.prefix(sequence, blocks)
        }
        fn bytes(&self, tokens: usize) -> u64 {
            self.engine.bytes(tokens)
        }
        fn stored_bytes(&self, tokens: usize) -> u64 {
            self.engine.stored_bytes(tokens)
        }
    };
}

impl<E: Engine + Sync> Engine for InPool<E>
where
    E::Error: Send,
{
    passed_on!();

    fn extend(
        &self,
        sequence: &mut E::Sequence,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, E::Error> {
        self.pool
            .install(|| self.engine.extend(sequence, ids, wanted))
    }

    fn step(&self, rows: &mut [&mut E::Sequence], ids: &[u32]) -> Result<Vec<f32>, E::Error> {
        self.pool.install(|| self.engine.step(rows, ids))
    }
}

impl<E: Engine> Engine for Gated<E> {
    passed_on!();

    fn extend(
        &self,
        sequence: &mut E::Sequence,
        ids: &[u32],
        wanted: Logits,
    ) -> Result<Vec<f32>, E::Error> {
        self.wait();
        self.engine.extend(sequence, ids, wanted)
    }

    fn step(&self, rows: &mut [&mut E::Sequence], ids: &[u32]) -> Result<Vec<f32>, E::Error> {
        self.wait();
        self.engine.step(rows, ids)
    }
}

/// Requests of all kinds, some of which begin alike for several blocks.
pub fn requests(count: usize, context: usize, vocabulary: u32, seed: u64) -> Vec<Request> {
    let mut dice = stream(seed, "requests");
    let common: Vec<u32> = (0..context)
        .map(|_| dice.below(vocabulary.into()) as u32)
        .collect();
    (0..count)
        .map(|number| request(&mut dice, number, context, vocabulary, &common))
        .collect()
}

fn request(
    dice: &mut Stream,
    number: usize,
    context: usize,
    vocabulary: u32,
    common: &[u32],
) -> Request {
    let below = |dice: &mut Stream, bound: usize| dice.below(bound as u64) as usize;
    let shared = below(dice, context * 3 / 4);
    let mut prompt = match number % 3 {
        0 => Vec::new(),
        _ => common[..shared].to_vec(),
    };
    for _ in 0..=below(dice, context / 8) {
        prompt.push(dice.below(vocabulary.into()) as u32);
    }
    let room = context - prompt.len();
    Request {
        max_tokens: 1 + below(dice, room.min(40)),
        sampling: Sampling {
            temperature: [1.0, 0.7, 0.0][number % 3],
            top_k: [0, 20][number % 2],
            top_p: [1.0, 0.9][number / 2 % 2],
            frequency_penalty: [0.0, 0.5][number / 3 % 2],
            repetition_penalty: [1.0, 1.2][number / 5 % 2],
            seed: number as u64,
            choice: number % 4,
            ..Sampling::default()
        },
        ends: [1, 2].into(),
        logprobs: Some(number % 4),
        prompt_logprobs: number.is_multiple_of(11).then_some(1),
        prompt,
    }
}

/// The updates of each answer but for what was reused, which says how and not what.
pub fn collected(answers: &mut Answers) -> Vec<Vec<Update>> {
    let mut updates = vec![Vec::new(); answers.count()];
    while let Some(Event { choice, update }) = answers.wait() {
        updates[choice].push(match update {
            Update::Prompt { logprobs, .. } => Update::Prompt {
                logprobs,
                reused: 0,
            },
            other => other,
        });
    }
    updates
}
