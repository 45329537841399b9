//! The loader gives every token once an epoch, in an order that can be continued from anywhere.

use proptest::prelude::*;
use simattn_data::{
    BackgroundLoader, Batch, Cursor, DataError, Loader, OtherWindows, Position, Share, TokenSet,
    TokenSource, ValidationSample, Weighted,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Token i is i, so that a row says where it was cut.
fn counting(tokens: usize) -> Arc<TokenSet> {
    from(0, tokens)
}

fn from(first: usize, tokens: usize) -> Arc<TokenSet> {
    Arc::new(TokenSet {
        ids: (first as u32..(first + tokens) as u32).collect(),
        bytes: tokens as u64,
        documents: 1,
    })
}

/// The targets of each row, which follow each other around the ring of `tokens`.
fn rows(batch: &Batch, tokens: usize) -> Vec<&[i32]> {
    assert_eq!(batch.inputs.len(), batch.batch * batch.context);
    assert_eq!(batch.targets.len(), batch.inputs.len());
    let follows = |(before, after): (&i32, &i32)| (before + 1) % tokens as i32 == *after;
    assert!(batch.inputs.iter().zip(&batch.targets).all(follows));
    let rows: Vec<&[i32]> = batch.targets.chunks(batch.context).collect();
    assert!(
        rows.iter()
            .all(|row| row.windows(2).all(|pair| follows((&pair[0], &pair[1]))))
    );
    rows
}

fn single(epoch: u64, window: u64) -> Position {
    Position {
        sources: vec![Cursor {
            epoch,
            window,
            rows: 0,
        }],
    }
}

proptest! {
    #[test]
    fn every_token_is_a_target_once_an_epoch(
        tokens in 2_usize..600,
        context in 1_usize..40,
        batch in 1_usize..9,
        epochs in 1_u64..6,
        seed: u64,
    ) {
        prop_assume!(tokens > context);
        let mut loader = Loader::new(counting(tokens), 1, context, seed).unwrap();
        let mut times = vec![0_u64; tokens];
        // As many windows as begin in these epochs; the last one may reach into the next epoch's
        // first tokens.
        let windows = (epochs * tokens as u64).div_ceil(context as u64);
        for _ in 0..windows {
            for &target in rows(&loader.next_batch().unwrap(), tokens)[0] {
                times[target as usize] += 1;
            }
        }
        let beyond = windows as usize * context - epochs as usize * tokens;
        prop_assert!(beyond < context);
        for (token, &count) in times.iter().enumerate() {
            prop_assert_eq!(count, epochs + u64::from(token < beyond), "token {}", token);
        }
        let at = loader.position().sources[0];
        prop_assert_eq!(at.rows, windows);
        prop_assert_eq!(at.epoch, epochs - 1);
        // Rows come in the same order whatever the batch.
        let mut one = Loader::new(counting(tokens), 1, context, seed).unwrap();
        let mut many = Loader::new(counting(tokens), batch, context, seed).unwrap();
        for row in many.next_batch().unwrap().targets.chunks(context) {
            prop_assert_eq!(row, &one.next_batch().unwrap().targets[..]);
        }
    }

    #[test]
    fn seeking_continues_identically(
        tokens in 30_usize..400,
        context in 1_usize..12,
        batch in 1_usize..7,
        before in 0_usize..60,
        weights in proptest::collection::vec(0.01_f64..9.0, 1..4),
        seed: u64,
    ) {
        let make = || {
            let sources = weights.iter().enumerate().map(|(index, &weight)| Weighted {
                source: from(1000 * index, tokens + index),
                weight,
            });
            Loader::mixed(sources.collect(), batch, context, seed).unwrap()
        };
        let mut straight = make();
        for _ in 0..before {
            straight.next_batch().unwrap();
        }
        let saved = serde_json::to_string(&straight.position()).unwrap();
        let mut resumed = make();
        resumed.seek(&serde_json::from_str(&saved).unwrap()).unwrap();
        let mut ahead = BackgroundLoader::new(make());
        ahead.next_batch().unwrap();
        ahead.seek(&straight.position()).unwrap();
        for _ in 0..30 {
            let next = straight.next_batch().unwrap();
            prop_assert_eq!(&resumed.next_batch().unwrap(), &next);
            prop_assert_eq!(&ahead.next_batch().unwrap(), &next);
            prop_assert_eq!(ahead.position(), &straight.position());
        }
    }

    #[test]
    fn shares_of_a_step_are_read_apart_and_leave_one_position(
        of in 1_usize..7,
        edges in (0.0_f64..1.0, 0.0_f64..1.0),
        batch in 1_usize..4,
        weights in proptest::collection::vec(0.1_f64..4.0, 1..3),
        before in 0_usize..3,
    ) {
        let first = (edges.0 * of as f64) as usize;
        let count = 1 + (edges.1 * (of - first) as f64) as usize;
        let share = Share { first, count: count.min(of - first), of };
        let sources = weights.iter().enumerate().map(|(index, &weight)| Weighted {
            source: from(1000 * index, 53),
            weight,
        });
        let sources: Vec<_> = sources.collect();
        let all = Loader::mixed(sources, batch, 5, 11).unwrap();
        let mut whole = all.clone();
        for _ in 0..before * of {
            whole.next_batch().unwrap();
        }
        let mut ahead = BackgroundLoader::new(all.clone()).with_share(share).unwrap();
        ahead.seek(&whole.position()).unwrap();
        let mut part = whole.clone().with_share(share);
        // More than an epoch of 53 tokens.
        for _ in 0..8 {
            let step: Vec<Batch> = (0..of).map(|_| whole.next_batch().unwrap()).collect();
            for expected in &step[share.first..share.first + share.count] {
                prop_assert_eq!(&part.next_batch().unwrap(), expected);
                prop_assert_eq!(&ahead.next_batch().unwrap(), expected);
            }
            prop_assert_eq!(part.position(), whole.position());
            prop_assert_eq!(ahead.position(), &whole.position());
        }
    }

    #[test]
    fn sources_keep_their_shares(
        weights in proptest::collection::vec(0.01_f64..9.0, 1..6),
        batches in 1_usize..200,
    ) {
        let sources = weights.iter().enumerate().map(|(index, &weight)| Weighted {
            source: from(1000 * index, 50),
            weight,
        });
        let mut loader = Loader::mixed(sources.collect(), 1, 7, 3).unwrap();
        let total: f64 = weights.iter().sum();
        let mut given = vec![0.0; weights.len()];
        for rows in 1..=batches {
            let batch = loader.next_batch().unwrap();
            given[batch.targets[0] as usize / 1000] += 1.0;
            for (given, weight) in given.iter().zip(&weights) {
                let share = weight / total * rows as f64;
                prop_assert!((given - share).abs() <= weights.len() as f64, "{} {}", given, share);
            }
        }
    }

    #[test]
    fn validation_windows_are_spread_evenly(
        available in 1_usize..100,
        context in 1_usize..8,
        batch in 1_usize..6,
        wanted in 1_usize..150,
    ) {
        let tokens = available * context + 1;
        let sample = ValidationSample::new(&*counting(tokens), batch, context, wanted).unwrap();
        prop_assert_eq!(sample.windows(), wanted.min(available));
        prop_assert_eq!(sample.tokens(), sample.windows() * context);
        let cuts: Vec<i32> = sample
            .batches
            .iter()
            .flat_map(|batch| rows(batch, tokens).into_iter().map(|row| row[0]))
            .collect();
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
        let mut loader = Loader::new(counting(500), 1, 5, seed).unwrap();
        loader.seek(&single(epoch, 0)).unwrap();
        let mut first = || loader.next_batch().unwrap().targets[0];
        (0..100).map(|_| first()).collect()
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
        "the training part has 8 tokens, but one window of context 8 needs 9; give more text, or choose a shorter context"
    );
    assert!(Loader::new(counting(9), 2, 8, 0).is_ok());
    for (batch, context) in [(0, 8), (2, 0)] {
        let error = Loader::new(counting(9), batch, context, 0).unwrap_err();
        assert!(matches!(error, DataError::EmptyShape { .. }));
    }
    assert!(Loader::new(Arc::new(TokenSet::default()), 1, usize::MAX, 0).is_err());
    assert!(ValidationSample::new(&*counting(9), 2, 8, 0).is_err());
    assert!(Loader::mixed(Vec::new(), 1, 1, 0).is_err());
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let source = counting(9);
        let error = Loader::mixed(vec![Weighted { source, weight }], 1, 1, 0).unwrap_err();
        assert!(matches!(error, DataError::Weight { .. }));
    }

    let mut loader = Loader::new(counting(20), 1, 5, 0).unwrap();
    let before = loader.position();
    let error = loader.seek(&single(3, 5)).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("window 5 of epoch 3: that epoch has only 4 windows")
    );
    assert!(loader.seek(&Position::default()).is_err());
    // Far beyond any run, but no overflow.
    loader.seek(&single(u64::MAX, 0)).unwrap();
    loader.next_batch().unwrap();
    loader.seek(&before).unwrap();
    // A refused position changes nothing.
    assert!(loader.seek(&single(3, 5)).is_err());
    assert_eq!(loader.position(), before);
}

/// Fails at one of its reads.
#[derive(Debug)]
struct Failing {
    left: AtomicI64,
    tokens: Arc<TokenSet>,
}

impl TokenSource for Failing {
    fn tokens(&self) -> u64 {
        self.tokens.tokens()
    }
    fn read(&self, start: u64, ids: &mut [u32]) -> Result<(), DataError> {
        match self.left.fetch_sub(1, Ordering::SeqCst) {
            0 => Err(DataError::NoText),
            _ => self.tokens.read(start, ids),
        }
    }
    fn bytes(&self) -> u64 {
        self.tokens.bytes
    }
    fn documents(&self) -> u64 {
        1
    }
    fn digest(&self) -> Result<[u8; 32], DataError> {
        self.tokens.digest()
    }
}

#[test]
fn a_failing_read_is_reported_and_can_be_tried_again() {
    let source = Arc::new(Failing {
        left: AtomicI64::new(11),
        tokens: counting(101),
    });
    let mut plain = Loader::new(source.tokens.clone(), 2, 5, 9).unwrap();
    let mut ahead = BackgroundLoader::new(Loader::new(source, 2, 5, 9).unwrap());
    for _ in 0..4 {
        assert_eq!(ahead.next_batch().unwrap(), plain.next_batch().unwrap());
    }
    let mut failures = 0;
    for _ in 0..20 {
        let next = plain.next_batch().unwrap();
        let got = ahead.next_batch().or_else(|error| {
            assert!(matches!(error, DataError::NoText));
            failures += 1;
            ahead.next_batch()
        });
        assert_eq!(got.unwrap(), next);
    }
    assert_eq!(failures, 1);
}

#[test]
fn a_position_of_other_windows_goes_on_at_the_same_share_of_the_epoch() {
    let before = |tokens| OtherWindows {
        context: 10,
        tokens,
    };
    // 100 windows of 10 tokens were 40 of 100; of 25 tokens they are 16 of 40.
    let mut loader = Loader::new(counting(1000), 1, 25, 7).unwrap();
    let at = Position {
        sources: vec![Cursor {
            epoch: 0,
            window: 40,
            rows: 40,
        }],
    };
    loader.seek_share(&at, &before(vec![Some(1000)])).unwrap();
    let cursor = loader.position().sources[0];
    assert_eq!((cursor.epoch, cursor.window, cursor.rows), (0, 16, 40));
    // A window beyond the epoch ends it.
    let beyond = single(3, 5000);
    loader
        .seek_share(&beyond, &before(vec![Some(1000)]))
        .unwrap();
    let cursor = loader.position().sources[0];
    assert_eq!((cursor.epoch, cursor.window), (3, loader.windows()[0]));
    loader.next_batch().unwrap();
    assert_eq!(loader.position().sources[0].epoch, 4);
    // Where nothing is known of the tokens the next epoch begins, and is whole.
    loader.seek_share(&at, &before(vec![None])).unwrap();
    let cursor = loader.position().sources[0];
    assert_eq!((cursor.epoch, cursor.window, cursor.rows), (1, 0, 40));
    // The same windows: the same place.
    let same = OtherWindows {
        context: 25,
        tokens: vec![Some(1000)],
    };
    loader.seek_share(&single(2, 13), &same).unwrap();
    assert_eq!(loader.position(), single(2, 13));
    let sources = loader.seek_share(&at, &before(vec![None, None]));
    assert!(matches!(sources, Err(DataError::SourcesDiffer { .. })));
    assert_eq!(loader.position(), single(2, 13), "it stays where it was");
}

#[test]
fn no_source_makes_up_for_weights_of_the_past() {
    let sources = [1.0, 1.0].map(|weight| Weighted {
        source: from(0, 500),
        weight,
    });
    let mut loader = Loader::mixed(sources.to_vec(), 4, 10, 3).unwrap();
    let at = |window, rows| Cursor {
        epoch: 0,
        window,
        rows,
    };
    let position = Position {
        sources: vec![at(36, 36), at(4, 4)],
    };
    let before = OtherWindows {
        context: 10,
        tokens: vec![Some(500); 2],
    };
    loader.seek_share(&position, &before).unwrap();
    loader.next_batch().unwrap();
    let windows: Vec<u64> = loader.position().sources.iter().map(|s| s.window).collect();
    assert_eq!(windows, [38, 6], "half of the rows from each");
    let rows: u64 = loader.position().sources.iter().map(|s| s.rows).sum();
    assert_eq!(rows, 44);
}

#[test]
fn a_loader_in_the_background_goes_on_as_the_loader_does() {
    let before = OtherWindows {
        context: 10,
        tokens: vec![Some(1000)],
    };
    let mut loader = Loader::new(counting(1000), 2, 25, 7).unwrap();
    let mut background = BackgroundLoader::new(loader.clone());
    background.next_batch().unwrap();
    loader.seek_share(&single(0, 40), &before).unwrap();
    background.seek_share(&single(0, 40), &before).unwrap();
    assert_eq!(*background.position(), loader.position());
    assert_eq!(
        background.next_batch().unwrap(),
        loader.next_batch().unwrap()
    );
}
