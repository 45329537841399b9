//! What decoding promises, for every variant and every kind of cache.

mod texts;
mod variants;

use burn::tensor::Device;
use proptest::prelude::*;
use rayon::ThreadPoolBuilder;
use simattn::decoding::{
    CacheForm, DecodeError, Logits, NumberType, PAGE, Running, RunningOptions, Sequence,
};
use simattn::{Decoder, ModelConfig};
use texts::{VOCABULARY, all_models, full_pass, ids, is_sas, relative, same_bits};

const TYPES: [NumberType; 3] = [NumberType::F32, NumberType::Bf16, NumberType::Int8];

fn decoder(config: &ModelConfig, seed: u64) -> Decoder {
    Decoder::new(config, seed, &Device::flex()).expect("a valid model")
}

fn options(cache: NumberType, form: CacheForm) -> RunningOptions {
    RunningOptions {
        cache,
        form,
        ..RunningOptions::default()
    }
}

/// Logits of every place, one token after another.
fn stepwise(model: &Running, ids: &[u32]) -> Vec<f32> {
    let mut text = model.start();
    let step = |&id: &u32| model.step(&mut [&mut text], &[id]).expect("a token");
    ids.iter().flat_map(step).collect()
}

/// Logits of every place, in calls that end at `cuts`.
fn in_pieces(model: &Running, ids: &[u32], cuts: &[usize]) -> Vec<f32> {
    let mut text = model.start();
    let mut logits = Vec::new();
    let mut done = 0;
    for &cut in cuts.iter().chain([&ids.len()]) {
        let end = cut.clamp(done, ids.len());
        let piece = model.extend(&mut text, &ids[done..end], Logits::All);
        logits.extend(piece.expect("tokens"));
        done = end;
    }
    assert_eq!(text.len(), ids.len());
    logits
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    /// Token by token and in pieces: the full pass but for rounding, and each other bit for bit.
    #[test]
    fn every_way_through_a_text_gives_the_same_logits(
        seed in 0u64..1000,
        len in 1usize..150,
        cuts in prop::collection::vec(0usize..150, 0..5),
    ) {
        let ids = ids(len, seed);
        let mut cuts = cuts;
        cuts.sort_unstable();
        for (name, config) in all_models() {
            let decoder = decoder(&config, seed);
            let expected = full_pass(&decoder, &ids);
            let model = Running::new(&decoder, RunningOptions::default());
            let found = stepwise(&model, &ids);
            let off = relative(&found, &expected);
            prop_assert!(off < 1e-5, "{name}, {len} tokens: {off:e}");
            same_bits(&in_pieces(&model, &ids, &cuts), &found, &name);
        }
    }

    /// What SAS keeps of a token is rounded before it is expanded, so that it does not matter when
    /// that happens.
    #[test]
    fn compact_and_expanded_caches_give_the_same_bits(seed in 0u64..1000, len in 1usize..140) {
        let ids = ids(len, seed);
        for (name, config) in all_models().into_iter().filter(|(_, config)| is_sas(config)) {
            let decoder = decoder(&config, seed);
            for cache in TYPES {
                let form = |form| Running::new(&decoder, options(cache, form));
                let (expanded, compact) = (form(CacheForm::Expanded), form(CacheForm::Compact));
                let what = format!("{name}, {cache}");
                let found = in_pieces(&compact, &ids, &[len / 2, len / 2 + 1]);
                same_bits(&found, &in_pieces(&expanded, &ids, &[]), &what);
                assert!(compact.page_bytes() < expanded.page_bytes(), "{what}");
                assert_eq!(compact.page_bytes(), expanded.stored_page_bytes(), "{what}");
            }
        }
    }
}

/// Sequences of different lengths, one of them longer than a split of keys.
fn texts(model: &Running, count: usize) -> Vec<Sequence> {
    let lens = [3, 70, 1, 64, 300, 63, 65, 128, 17, 5, 256, 2, 90, 33, 12, 8];
    let start = |(number, &len): (usize, &usize)| {
        let mut text = model.start();
        let ids = ids(len, number as u64);
        model.extend(&mut text, &ids, Logits::None).expect("tokens");
        text
    };
    lens.iter().enumerate().take(count).map(start).collect()
}

#[test]
fn a_row_of_a_step_does_not_depend_on_its_neighbours() {
    for (name, config) in all_models().into_iter().step_by(2) {
        let decoder = decoder(&config, 5);
        for (weights, cache) in TYPES.into_iter().zip([TYPES[2], TYPES[0], TYPES[1]]) {
            let options = RunningOptions {
                weights,
                ..options(cache, CacheForm::Expanded)
            };
            let model = Running::new(&decoder, options);
            let texts = texts(&model, 16);
            let next = ids(16, 77);
            let alone: Vec<Vec<f32>> = texts
                .iter()
                .zip(&next)
                .map(|(text, &id)| {
                    model
                        .step(&mut [&mut text.clone()], &[id])
                        .expect("a token")
                })
                .collect();
            for rows in [2, 3, 7, 12, 16] {
                let mut beside = texts[..rows].to_vec();
                let mut beside: Vec<&mut Sequence> = beside.iter_mut().collect();
                let found = model.step(&mut beside, &next[..rows]).expect("tokens");
                let what = format!("{name}, {weights} {cache}, {rows} rows");
                same_bits(&found, &alone[..rows].concat(), &what);
            }
        }
    }
}

#[test]
fn a_sequence_is_the_same_after_it_was_shared_or_set_aside() {
    let (len, more) = (150, 20);
    let ids = ids(len + more, 3);
    for (name, config) in all_models().into_iter().step_by(2) {
        let decoder = decoder(&config, 9);
        for cache in TYPES {
            let model = Running::new(&decoder, options(cache, CacheForm::Expanded));
            let expected = in_pieces(&model, &ids, &[]);
            let behind = |from: usize| &expected[from * VOCABULARY..];
            let mut text = model.start();
            model
                .extend(&mut text, &ids[..len], Logits::None)
                .expect("tokens");

            let stored = model.set_aside(&text);
            let mut restored = model.restore(&stored);
            let mut shared = text.prefix(2);
            let mut of_stored = model.restore(&stored.prefix(1));
            let mut beside = text.clone();
            // What a copy writes must not reach the original.
            model.step(&mut [&mut beside], &[1]).expect("a token");
            for (text, what) in [
                (&mut restored, "restored"),
                (&mut shared, "shared"),
                (&mut of_stored, "restored in part"),
                (&mut text, "itself"),
            ] {
                let from = text.len();
                let found = model
                    .extend(text, &ids[from..], Logits::All)
                    .expect("tokens");
                same_bits(&found, behind(from), &format!("{name}, {cache}, {what}"));
            }
            assert_eq!(
                stored.bytes(),
                3 * model.stored_page_bytes(),
                "{name}, {cache}"
            );
            assert_eq!(text.bytes(), 3 * model.page_bytes(), "{name}, {cache}");
        }
    }
}

#[test]
fn the_number_of_threads_does_not_matter() {
    let ids = ids(90, 4);
    for (name, config) in all_models().into_iter().step_by(2) {
        let model = Running::new(&decoder(&config, 2), RunningOptions::default());
        let on = |threads| {
            let pool = ThreadPoolBuilder::new().num_threads(threads).build();
            pool.expect("threads").install(|| {
                let mut logits = in_pieces(&model, &ids[..80], &[]);
                let mut texts = texts(&model, 5);
                let mut texts: Vec<&mut Sequence> = texts.iter_mut().collect();
                logits.extend(model.step(&mut texts, &ids[..5]).expect("tokens"));
                logits
            })
        };
        let one = on(1);
        for threads in [2, 3] {
            same_bits(&on(threads), &one, &format!("{name}, {threads} threads"));
        }
    }
}

#[test]
fn narrow_numbers_are_near() {
    let ids = ids(80, 8);
    for (name, config) in all_models() {
        let decoder = decoder(&config, 6);
        let exact = full_pass(&decoder, &ids);
        for (number_type, bound) in [(NumberType::Bf16, 0.03), (NumberType::Int8, 0.08)] {
            for (weights, cache) in [
                (number_type, NumberType::F32),
                (NumberType::F32, number_type),
            ] {
                let model = Running::new(
                    &decoder,
                    RunningOptions {
                        weights,
                        cache,
                        form: CacheForm::Expanded,
                    },
                );
                let off = relative(&in_pieces(&model, &ids, &[]), &exact);
                let what = format!("{name}, weights {weights}, cache {cache}: {off:e}");
                assert!(off < bound && off > 1e-6, "{what}");
            }
        }
    }
}

#[test]
fn tokens_that_cannot_be_are_refused_and_change_nothing() {
    let (_, mut config) = all_models().remove(0);
    config.context = 70;
    let model = Running::new(&decoder(&config, 1), RunningOptions::default());
    let mut text = model.start();
    model
        .extend(&mut text, &ids(69, 1), Logits::None)
        .expect("tokens");
    let unknown = model.extend(&mut text, &[3, 31], Logits::Last);
    let expected = DecodeError::UnknownToken {
        id: 31,
        vocabulary: VOCABULARY,
    };
    assert_eq!(unknown, Err(expected));
    let full = model.extend(&mut text, &[3, 4], Logits::Last);
    let expected = DecodeError::Full {
        held: 69,
        more: 2,
        context: 70,
    };
    assert_eq!(full, Err(expected.clone()));
    assert_eq!(
        expected.to_string(),
        "69 tokens and 2 more do not fit the model's context of 70"
    );
    let mut other = model.start();
    assert!(model.step(&mut [&mut other, &mut text], &[1, 31]).is_err());
    assert_eq!((text.len(), other.len()), (69, 0));
    assert_eq!(model.extend(&mut text, &[3], Logits::None), Ok(Vec::new()));
    assert_eq!(model.extend(&mut text, &[], Logits::Last), Ok(Vec::new()));
    assert_eq!(text.len().div_ceil(PAGE) * model.page_bytes(), text.bytes());
}
