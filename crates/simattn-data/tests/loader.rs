//! The loader gives every window once an epoch, in an order that can be continued from anywhere.

use proptest::prelude::*;
use simattn_data::{Batch, DataError, Loader, Position, TokenSet, ValidationSample};
use std::collections::HashMap;
use std::sync::Arc;

/// Token i is i, so that a row says where it was cut.
fn counting(tokens: usize) -> Arc<TokenSet> {
    Arc::new(TokenSet {
        ids: (0..tokens as u32).collect(),
        bytes: tokens as u64,
        documents: 1,
    })
}

fn rows(batch: &Batch) -> Vec<&[i32]> {
    assert_eq!(batch.inputs.len(), batch.batch * batch.context);
    assert_eq!(batch.targets.len(), batch.inputs.len());
    // In counting tokens what follows is one more.
    assert!(
        batch
            .inputs
            .iter()
            .zip(&batch.targets)
            .all(|(input, target)| input + 1 == *target)
    );
    batch.inputs.chunks(batch.context).collect()
}

fn starts(batch: &Batch) -> Vec<i32> {
    rows(batch)
        .into_iter()
        .map(|row| {
            assert!(row.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            row[0]
        })
        .collect()
}

proptest! {
    #[test]
    fn every_window_once_an_epoch(
        windows in 1_usize..200,
        context in 1_usize..20,
        rest in 0_usize..20,
        batch in 1_usize..9,
        seed: u64,
    ) {
        let tokens = windows * context + 1 + rest.min(context - 1);
        let mut loader = Loader::new(counting(tokens), batch, context, seed).unwrap();
        prop_assert_eq!(loader.windows(), windows as u64);
        // As many batches as make whole epochs.
        let mut seen: HashMap<i32, usize> = HashMap::new();
        for _ in 0..windows {
            for start in starts(&loader.next_batch()) {
                *seen.entry(start).or_default() += 1;
            }
        }
        prop_assert_eq!(seen.len(), windows);
        for (start, times) in seen {
            prop_assert_eq!(start as usize % context, 0);
            prop_assert_eq!(times, batch);
        }
        let at = loader.position();
        prop_assert_eq!(at.epoch * windows as u64 + at.window, (windows * batch) as u64);
    }

    #[test]
    fn seeking_continues_identically(
        tokens in 30_usize..400,
        context in 1_usize..12,
        batch in 1_usize..7,
        before in 0_usize..60,
        shifted: bool,
        seed: u64,
    ) {
        let make = || {
            let loader = Loader::new(counting(tokens), batch, context, seed).unwrap();
            if shifted { loader.shifted_each_epoch() } else { loader }
        };
        let mut straight = make();
        for _ in 0..before {
            straight.next_batch();
        }
        let saved = serde_json::to_string(&straight.position()).unwrap();
        let mut resumed = make();
        resumed.seek(serde_json::from_str::<Position>(&saved).unwrap()).unwrap();
        for _ in 0..30 {
            prop_assert_eq!(straight.next_batch(), resumed.next_batch());
        }
    }

    #[test]
    fn shifted_epochs_use_disjoint_windows(tokens in 30_usize..300, context in 1_usize..12, seed: u64) {
        let mut loader = Loader::new(counting(tokens), 1, context, seed).unwrap().shifted_each_epoch();
        for epoch in 0..4 {
            loader.seek(Position { epoch, window: 0 }).unwrap();
            let mut cuts: Vec<i32> =
                (0..loader.windows()).map(|_| starts(&loader.next_batch())[0]).collect();
            cuts.sort_unstable();
            prop_assert!((cuts[0] as usize) < context);
            prop_assert!(cuts.windows(2).all(|pair| pair[1] - pair[0] == context as i32));
            // What is left over at the end fills no window.
            prop_assert!(tokens - 1 - (*cuts.last().unwrap() as usize + context) < context);
        }
    }

    #[test]
    fn validation_windows_are_spread_evenly(
        available in 1_usize..100,
        context in 1_usize..8,
        batch in 1_usize..6,
        wanted in 1_usize..150,
    ) {
        let tokens = counting(available * context + 1);
        let sample = ValidationSample::new(&tokens, batch, context, wanted).unwrap();
        prop_assert_eq!(sample.windows(), wanted.min(available));
        prop_assert_eq!(sample.tokens(), sample.windows() * context);
        let cuts: Vec<i32> = sample.batches.iter().flat_map(starts).collect();
        let (least, most) = (available / sample.windows(), available.div_ceil(sample.windows()));
        for pair in cuts.windows(2) {
            let gap = (pair[1] - pair[0]) as usize / context;
            prop_assert!((least..=most).contains(&gap));
        }
        let (last, full) = sample.batches.split_last().unwrap();
        prop_assert!(full.iter().all(|each| each.batch == batch) && last.batch <= batch);
    }
}

#[test]
fn epochs_and_seeds_have_orders_of_their_own() {
    let order = |seed, epoch| -> Vec<i32> {
        let mut loader = Loader::new(counting(501), 1, 5, seed).unwrap();
        loader.seek(Position { epoch, window: 0 }).unwrap();
        (0..100).map(|_| starts(&loader.next_batch())[0]).collect()
    };
    assert_eq!(order(1, 0), order(1, 0));
    assert_ne!(order(1, 0), order(1, 1));
    assert_ne!(order(1, 0), order(2, 0));
    assert!(!order(1, 0).is_sorted());
}

#[test]
fn what_cannot_be_loaded_is_refused() {
    let error = Loader::new(counting(8), 2, 8, 0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the text has 8 tokens, but one window of context 8 needs 9; give more text or a shorter context"
    );
    assert!(Loader::new(counting(9), 2, 8, 0).is_ok());
    for (batch, context) in [(0, 8), (2, 0)] {
        let error = Loader::new(counting(9), batch, context, 0).unwrap_err();
        assert!(matches!(error, DataError::EmptyShape { .. }));
    }
    assert!(Loader::new(Arc::new(TokenSet::default()), 1, usize::MAX, 0).is_err());
    assert!(ValidationSample::new(&counting(9), 2, 8, 0).is_err());

    let mut loader = Loader::new(counting(21), 1, 5, 0).unwrap();
    let error = loader
        .seek(Position {
            epoch: 3,
            window: 5,
        })
        .unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("window 5 of epoch 3: that epoch has only 4 windows")
    );
    // A refused position changes nothing.
    assert_eq!(loader.position(), Position::default());
}
