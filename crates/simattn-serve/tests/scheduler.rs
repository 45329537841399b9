//! One request gives the same bytes alone, beside others, after a prefix was found again, after it
//! was set aside, and on any number of threads; and requests that end or wait leave no trace.

mod common;

use burn::tensor::Device;
use common::{Gated, InPool, collected, requests};
use simattn::decoding::{
    CacheForm, DeviceOptions, NumberType, Running, RunningOnDevice, RunningOptions,
};
use simattn::{AttentionConfig, Decoder, ModelConfig};
use simattn_random::stream;
use simattn_serve::engine::{BLOCK, Cached, Engine, OnDevice, Recompute, Toy};
use simattn_serve::sampling::SamplingError;
use simattn_serve::scheduler::{
    AnswerError, Figures, Finish, Limits, Request, Scheduler, SubmitError, Update,
};

/// Each answer by itself, on a model that does nothing else and keeps nothing.
fn alone(engine: impl Engine, requests: &[Request]) -> Vec<Vec<Update>> {
    let limits = Limits {
        rows: 1,
        store: 0,
        ..Limits::default()
    };
    let scheduler = Scheduler::start(engine, limits).expect("a thread");
    let answer = |request: &Request| {
        let answers = scheduler.submit(vec![request.clone()]);
        collected(&mut answers.expect("taken")).remove(0)
    };
    requests.iter().map(answer).collect()
}

/// All answers together, with others that leave half-way, in so little memory that they are set
/// aside; three rounds, so that the later ones find what the first has kept.
fn together(
    engine: impl Engine,
    limits: Limits,
    requests: &[Request],
    expected: &[Vec<Update>],
) -> Figures {
    let scheduler = Scheduler::start(engine, limits).expect("a thread");
    let mut dice = stream(9, "leaving");
    for round in 0..3 {
        let order: Vec<usize> = {
            let mut order: Vec<usize> = (0..requests.len()).collect();
            dice.shuffle(&mut order);
            order
        };
        let all = order.iter().map(|&index| requests[index].clone()).collect();
        let mut answers = scheduler.submit(all).expect("taken");
        let leaving: Vec<_> = (0..8)
            .map(|_| {
                let index = dice.below(requests.len() as u64) as usize;
                let mut leaving = scheduler
                    .submit(vec![requests[index].clone()])
                    .expect("taken");
                for _ in 0..dice.below(3) {
                    leaving.wait();
                }
                leaving
            })
            .collect();
        drop(leaving);
        for (&index, updates) in order.iter().zip(collected(&mut answers)) {
            assert_eq!(updates, expected[index], "round {round}, request {index}");
        }
    }
    scheduler.counters().figures()
}

fn assert_the_promise_was_tried(figures: Figures) {
    let rows = figures.rows as f64 / figures.steps as f64;
    eprintln!("{rows:.1} rows a step; {figures:?}");
    assert!(rows >= 4.0, "{rows}");
    assert!(
        figures.prefix_hits > 0 && figures.preemptions > 0,
        "{figures:?}"
    );
}

#[test]
fn an_answer_does_not_depend_on_what_runs_beside_it() {
    let engine = || Toy::new(400, 120);
    let requests = requests(120, 400, 120, 1);
    let expected = alone(engine(), &requests);
    assert!(
        expected
            .iter()
            .all(|updates| matches!(updates.last(), Some(Update::Finished(_))))
    );
    let limits = Limits {
        rows: 12,
        queue: 400,
        // Some three of the largest.
        memory: engine().bytes(400) * 3,
        store: engine().stored_bytes(2_000),
        ..Limits::default()
    };
    assert_the_promise_was_tried(together(engine(), limits, &requests, &expected));
}

fn decoder(attention: &str) -> Decoder {
    let attention: AttentionConfig = serde_json::from_str(attention).expect("a configuration");
    let mut config = ModelConfig::neox(160, 1, 16, attention);
    config.vocabulary = 60;
    Decoder::new(&config, 5, &Device::flex()).expect("a model")
}

const GROUPED: &str = r#"{ "kind": "gqa", "heads": 2, "kv_heads": 1, "head_dim": 8 }"#;
const SIMULATED: &str = r#"{ "kind": "sas", "heads": 2, "head_dim": 4, "expanded_heads": 4,
    "expanded_head_dim": 6, "kernel_size": 3 }"#;

#[test]
fn neither_does_that_of_a_decoder_on_any_number_of_threads() {
    for (attention, cache) in [(GROUPED, NumberType::F32), (SIMULATED, NumberType::Bf16)] {
        let options = RunningOptions {
            cache,
            ..RunningOptions::default()
        };
        let running = Running::new(&decoder(attention), options);
        let engine = |threads| InPool::new(Cached::new(running.clone()), threads);
        let requests = requests(60, 160, 60, 2);
        let expected = alone(engine(1), &requests);
        for threads in [2, 3] {
            let limits = Limits {
                rows: 8,
                memory: engine(1).bytes(160) * 4,
                store: engine(1).stored_bytes(8 * BLOCK),
                ..Limits::default()
            };
            let figures = together(engine(threads), limits, &requests, &expected);
            assert_the_promise_was_tried(figures);
        }
    }
}

#[test]
fn nor_that_of_one_whose_caches_are_on_a_device() {
    for (attention, form) in [
        (GROUPED, CacheForm::Expanded),
        (SIMULATED, CacheForm::Expanded),
        (SIMULATED, CacheForm::Compact),
    ] {
        let options = DeviceOptions {
            form,
            ..DeviceOptions::default()
        };
        let engine = || OnDevice::new(RunningOnDevice::new(decoder(attention), options));
        let requests = requests(40, 160, 60, 4);
        let expected = alone(engine(), &requests);
        let limits = Limits {
            rows: 10,
            memory: engine().bytes(160) * 7,
            store: engine().stored_bytes(8 * BLOCK),
            ..Limits::default()
        };
        let figures = together(engine(), limits, &requests, &expected);
        assert_the_promise_was_tried(figures);
    }
}

#[test]
fn nor_that_of_one_that_computes_everything_anew() {
    let engine = || Recompute::new(decoder(SIMULATED));
    let mut requests = requests(8, 160, 60, 3);
    for request in &mut requests {
        request.max_tokens = request.max_tokens.min(6);
    }
    let expected = alone(engine(), &requests);
    let limits = Limits {
        rows: 8,
        memory: engine().bytes(160) * 3,
        store: engine().stored_bytes(4 * BLOCK),
        ..Limits::default()
    };
    let figures = together(engine(), limits, &requests, &expected);
    assert!(
        figures.prefix_hits > 0 && figures.preemptions > 0,
        "{figures:?}"
    );
}

fn of_length(prompt: usize, max_tokens: usize) -> Request {
    Request {
        prompt: (0..prompt as u32).map(|id| id % 50).collect(),
        max_tokens,
        ..Request::default()
    }
}

#[test]
fn whoever_leaves_frees_a_place_within_a_step() {
    let (engine, permit) = Gated::new(Toy::new(500, 50));
    let limits = Limits {
        rows: 1,
        ..Limits::default()
    };
    let scheduler = Scheduler::start(engine, limits).expect("a thread");
    let step = || permit.send(()).expect("it waits");
    let mut first = scheduler.submit(vec![of_length(10, 400)]).expect("taken");
    let mut second = scheduler.submit(vec![of_length(10, 400)]).expect("taken");
    // The prompt, and five tokens with that.
    (0..5).for_each(|_| step());
    for _ in 0..6 {
        assert!(first.wait().is_some());
    }
    assert_eq!(scheduler.waiting(), 1);
    // The thread is now within, or before, the next step.
    drop(first);
    step();
    // The next thing that it computes is the other one's prompt.
    step();
    assert!(matches!(
        second.wait().expect("an event").update,
        Update::Prompt { .. }
    ));
    let figures = scheduler.counters().figures();
    // Four, one that had begun, and the other one's first.
    assert!(figures.steps <= 6, "{figures:?}");
    // One that leaves while it waits never runs.
    let third = scheduler.submit(vec![of_length(10, 400)]).expect("taken");
    drop((second, third));
    drop(permit);
    let mut last = scheduler.submit(vec![of_length(10, 1)]).expect("taken");
    while last.wait().is_some() {}
    let figures = scheduler.counters().figures();
    assert_eq!((figures.cancelled, figures.finished), (3, 1), "{figures:?}");
    assert_eq!(figures.prompt_tokens, 30, "{figures:?}");
}

#[test]
fn a_slow_reader_slows_nobody_else() {
    let limits = Limits {
        rows: 1,
        ..Limits::default()
    };
    let engine = Toy::new(4000, 50);
    let scheduler = Scheduler::start(engine.clone(), limits).expect("a thread");
    let mut slow = scheduler.submit(vec![of_length(5, 3000)]).expect("taken");
    assert!(slow.wait().is_some());
    for _ in 0..3 {
        let mut quick = scheduler.submit(vec![of_length(7, 200)]).expect("taken");
        let updates = collected(&mut quick).remove(0);
        assert_eq!(updates.last(), Some(&Update::Finished(Finish::Length)));
    }
    let mut tokens = Vec::new();
    while let Some(event) = slow.wait() {
        if let Update::Token { id, .. } = event.update {
            tokens.push(id);
        }
    }
    let expected = alone(engine, &[of_length(5, 3000)]).remove(0);
    let expected: Vec<u32> = expected
        .iter()
        .filter_map(|update| match update {
            Update::Token { id, .. } => Some(*id),
            _ => None,
        })
        .collect();
    assert_eq!(tokens, expected);
}

#[test]
fn a_running_answer_waits_for_no_more_than_its_share_of_prompts() {
    let (engine, permit) = Gated::new(Toy::new(4000, 50));
    let limits = Limits {
        prefill: BLOCK,
        ..Limits::default()
    };
    let scheduler = Scheduler::start(engine, limits).expect("a thread");
    let step = || permit.send(()).expect("it waits");
    let mut stream = scheduler.submit(vec![of_length(10, 100)]).expect("taken");
    step();
    assert!(matches!(
        stream.wait().expect("an event").update,
        Update::Prompt { .. }
    ));
    let _long = scheduler.submit(vec![of_length(2048, 1)]).expect("taken");
    assert!(matches!(
        stream.wait().expect("an event").update,
        Update::Token { .. }
    ));
    for _ in 0..20 {
        // A step, and a block of the long prompt.
        step();
        step();
        assert!(matches!(
            stream.wait().expect("an event").update,
            Update::Token { .. }
        ));
    }
}

#[test]
fn what_cannot_be_done_is_refused_before_it_begins() {
    let limits = Limits {
        queue: 3,
        memory: Toy::new(100, 50).bytes(80),
        ..Limits::default()
    };
    let (engine, permit) = Gated::new(Toy::new(100, 50));
    let scheduler = Scheduler::start(engine, limits).expect("a thread");
    let refusal = |request: Request| scheduler.submit(vec![request]).expect_err("a refusal");
    assert_eq!(refusal(of_length(0, 1)), SubmitError::Empty);
    let unknown = Request {
        prompt: vec![50],
        ..Request::default()
    };
    assert_eq!(
        refusal(unknown),
        SubmitError::UnknownToken {
            id: 50,
            vocabulary: 50
        }
    );
    assert!(matches!(
        refusal(of_length(60, 41)),
        SubmitError::TooLong { context: 100, .. }
    ));
    assert!(matches!(
        refusal(of_length(60, usize::MAX)),
        SubmitError::TooLong { .. }
    ));
    assert!(matches!(
        refusal(of_length(60, 21)),
        SubmitError::TooLarge { most: 80, .. }
    ));
    assert_eq!(scheduler.context_length(), 80);
    let too_many = scheduler
        .submit(vec![of_length(1, 1); 4])
        .expect_err("a refusal");
    assert_eq!(too_many, SubmitError::TooMany { count: 4, most: 3 });
    let mut kept = scheduler.submit(vec![of_length(1, 1); 3]).expect("taken");
    drop(permit);
    assert_eq!(collected(&mut kept).len(), 3);
    scheduler.drain();
    assert_eq!(refusal(of_length(1, 1)), SubmitError::Draining);
}

#[test]
fn a_model_that_panics_fails_its_answers_and_is_dead() {
    let scheduler = Scheduler::start(Toy::new(100, 50).panicking_at(7), Limits::default());
    let scheduler = scheduler.expect("a thread");
    let mut answers = scheduler
        .submit(vec![of_length(9, 5), of_length(3, 90)])
        .expect("taken");
    for updates in collected(&mut answers) {
        assert_eq!(updates.last(), Some(&Update::Failed(AnswerError::Dead)));
    }
    assert!(!scheduler.is_alive());
    let refusal = scheduler.submit(vec![of_length(1, 1)]);
    assert_eq!(refusal.expect_err("a refusal"), SubmitError::Dead);
}

#[test]
fn a_prompt_alone_can_be_asked_for() {
    let scheduler = Scheduler::start(Toy::new(300, 50), Limits::default()).expect("a thread");
    let request = Request {
        prompt_logprobs: Some(1),
        ..of_length(200, 0)
    };
    for _ in 0..2 {
        let mut answers = scheduler.submit(vec![request.clone()]).expect("taken");
        let updates = collected(&mut answers).remove(0);
        let [
            Update::Prompt { logprobs, .. },
            Update::Finished(Finish::Length),
        ] = &updates[..]
        else {
            panic!("{updates:?}");
        };
        let ids: Vec<u32> = logprobs.iter().map(|known| known.chosen.id).collect();
        assert_eq!(ids, request.prompt[1..]);
    }
    // What is scored is computed, whatever is kept of it.
    assert_eq!(scheduler.counters().figures().prompt_tokens, 400);
    let biased = Request {
        sampling: simattn_serve::sampling::Sampling {
            logit_bias: vec![(50, 1.0)],
            ..Default::default()
        },
        ..of_length(3, 1)
    };
    let refusal = scheduler.submit(vec![biased]).expect_err("a refusal");
    assert!(matches!(
        refusal,
        SubmitError::Sampling(SamplingError::UnknownToken { .. })
    ));
}
