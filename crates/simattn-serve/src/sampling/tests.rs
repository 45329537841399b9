use proptest::prelude::*;

use super::*;

fn drawn(sampling: &Sampling, logits: &[f32], draws: usize) -> Vec<usize> {
    let mut counts = vec![0; logits.len()];
    let mut history = History::of_prompt(&[]);
    for _ in 0..draws {
        counts[sampling.choose(logits, &history).expect("finite") as usize] += 1;
        // Another position, and no penalty that would change the distribution.
        history.push(0);
    }
    counts
}

#[test]
fn what_is_drawn_follows_the_softmax() {
    let logits = [0.0, 1.0, 2.0, -40.0];
    let counts = drawn(&Sampling::default(), &logits, 20_000);
    let total: f64 = logits.iter().map(|logit| f64::from(*logit).exp()).sum();
    for (count, logit) in counts.iter().zip(logits) {
        let expected = f64::from(logit).exp() / total;
        let share = *count as f64 / 20_000.0;
        assert!((share - expected).abs() < 0.015, "{counts:?}");
    }
    let cold = Sampling {
        temperature: 0.25,
        ..Sampling::default()
    };
    let counts = drawn(&cold, &logits, 5_000);
    // e⁴ to one.
    assert!((counts[1] as f64 / counts[2] as f64 - 0.0183).abs() < 0.01);
}

#[test]
fn filters_keep_what_transformers_keeps() {
    // Probabilities 0.5, 0.25, 0.125, 0.125.
    let logits = [8.0_f32.ln(), 4.0_f32.ln(), 2.0_f32.ln(), 2.0_f32.ln()];
    let kept = |sampling: &Sampling| -> Vec<usize> {
        let counts = drawn(sampling, &logits, 400);
        (0..4).filter(|&id| counts[id] > 0).collect()
    };
    let with = |change: fn(&mut Sampling)| {
        let mut sampling = Sampling::default();
        change(&mut sampling);
        kept(&sampling)
    };
    assert_eq!(with(|s| s.top_k = 2), [0, 1]);
    // What is as likely as the last one stays.
    assert_eq!(with(|s| s.top_k = 3), [0, 1, 2, 3]);
    assert_eq!(with(|s| s.top_p = 0.74), [0, 1]);
    assert_eq!(with(|s| s.top_p = 0.8), [0, 1, 2]);
    assert_eq!(with(|s| s.top_p = 0.0), [0]);
    assert_eq!(with(|s| s.min_p = 0.3), [0, 1]);
    assert_eq!(with(|s| s.min_p = 1.0), [0]);
    // Top-p sees what top-k has left: 0.5 and 0.25 are two thirds and one.
    let both = |s: &mut Sampling| {
        s.top_k = 2;
        s.top_p = 0.6;
    };
    assert_eq!(with(both), [0]);
    // Top-p comes after temperature.
    let hot = |s: &mut Sampling| {
        s.temperature = 100.0;
        s.top_p = 0.6;
    };
    assert_eq!(with(hot), [0, 1, 2]);
}

#[test]
fn penalties_and_bias_change_the_tokens_they_name() {
    let logits = [2.0, 1.9, -1.0, 0.0];
    let mut history = History::of_prompt(&[0]);
    let choose = |sampling: &Sampling, history: &History| sampling.choose(&logits, history);
    let mut sampling = Sampling::greedy();
    assert_eq!(choose(&sampling, &history), Ok(0));
    sampling.repetition_penalty = 1.1;
    assert_eq!(choose(&sampling, &history), Ok(1));
    sampling.repetition_penalty = 1.0;
    // The prompt is no answer.
    sampling.presence_penalty = 0.2;
    assert_eq!(choose(&sampling, &history), Ok(0));
    history.push(0);
    assert_eq!(choose(&sampling, &history), Ok(1));
    sampling.presence_penalty = 0.0;
    sampling.frequency_penalty = 0.06;
    assert_eq!(choose(&sampling, &history), Ok(0));
    history.push(0);
    assert_eq!(choose(&sampling, &history), Ok(1));
    sampling.logit_bias = vec![(3, 100.0)];
    assert_eq!(choose(&sampling, &history), Ok(3));
    let mut multiplied = [-1.0, 3.0];
    sampling = Sampling {
        repetition_penalty: 2.0,
        ..Sampling::greedy()
    };
    History::of_prompt(&[0, 1]).penalise(&mut multiplied, &sampling);
    assert_eq!(multiplied, [-2.0, 1.5]);
}

#[test]
fn equals_give_the_smallest_id_and_nan_is_an_error() {
    let history = History::of_prompt(&[5, 6]);
    let greedy = Sampling::greedy();
    assert_eq!(greedy.choose(&[1.0, 3.0, 3.0], &history), Ok(1));
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for sampling in [&greedy, &Sampling::default()] {
            let chosen = sampling.choose(&[1.0, wrong, 3.0], &history);
            assert_eq!(chosen, Err(SamplingError::NotFinite { tokens: 2 }));
        }
    }
}

#[test]
fn fields_outside_their_range_are_named() {
    let wrong = |change: fn(&mut Sampling)| {
        let mut sampling = Sampling::default();
        change(&mut sampling);
        sampling.validate(10).expect_err("a refusal").to_string()
    };
    assert!(wrong(|s| s.temperature = -0.1).starts_with("temperature = -0.1"));
    assert!(wrong(|s| s.temperature = f64::NAN).contains("temperature"));
    assert!(wrong(|s| s.top_p = 1.5).contains("top_p"));
    assert!(wrong(|s| s.min_p = -1.0).contains("min_p"));
    assert!(wrong(|s| s.repetition_penalty = 0.0).contains("repetition_penalty"));
    assert!(wrong(|s| s.presence_penalty = 3.0).contains("presence_penalty"));
    assert!(wrong(|s| s.frequency_penalty = -3.0).contains("frequency_penalty"));
    assert!(wrong(|s| s.logit_bias = vec![(1, 200.0)]).contains("logit_bias"));
    assert!(wrong(|s| s.logit_bias = vec![(10, 1.0)]).contains("ids 0 to 9"));
    assert_eq!(Sampling::default().validate(10), Ok(()));
}

#[test]
fn logprobs_are_those_of_the_raw_logits() {
    let logits = [1.0, 3.0, 3.0, -80.0];
    let found = Logprobs::of(&logits, 0, 3);
    let ids: Vec<u32> = found.top.iter().map(|token| token.id).collect();
    assert_eq!(ids, [1, 2, 0]);
    // One float, wherever it is printed.
    assert_eq!(found.chosen, found.top[2]);
    let sum = (2.0 * 2.0_f64.exp() + 1.0).ln();
    assert!((f64::from(found.chosen.logprob) + sum).abs() < 1e-6);
    assert!(Logprobs::of(&logits, 3, 0).top.is_empty());
}

proptest! {
    #[test]
    fn a_draw_depends_on_seed_choice_and_position_alone(
        logits in proptest::collection::vec(-20.0_f32..20.0, 1..60),
        seed: u64,
        choice in 0_usize..4,
        prompt in proptest::collection::vec(0_u32..9, 0..5),
        temperature in prop_oneof![Just(0.0), Just(1e-9), 0.1_f64..3.0],
        top_k in 0_usize..70,
        top_p in 0.0_f64..=1.0,
        min_p in 0.0_f64..=1.0,
    ) {
        let sampling = Sampling { temperature, top_k, top_p, min_p, seed, choice,
            ..Sampling::default() };
        let history = History::of_prompt(&prompt);
        let chosen = sampling.choose(&logits, &history).unwrap();
        prop_assert!((chosen as usize) < logits.len());
        prop_assert_eq!(sampling.choose(&logits, &history).unwrap(), chosen);
        let largest = likeliest(&logits);
        if temperature == 0.0 || min_p == 1.0 {
            prop_assert_eq!(logits[chosen as usize], logits[largest as usize]);
        }
    }
}
